"""What decides a training's numbers, and the versions they were computed with.

`runner` hands the fingerprint to the checkpoints, which refuse to go on under another one; the
versions go into `TrainingOutput`.
"""

import platform
from importlib.metadata import version
from typing import Any

import jax
import numpy as np

from qllm_jax.config import Config, config_to_mapping
from qllm_jax.networks import Mixer
from qllm_jax.tasks.spec import TaskSpec
from qllm_jax.training.runs import Runs


def fingerprint(spec: TaskSpec, mixer: Mixer, config: Config, runs: Runs) -> dict[str, Any]:
    """What decides a run's numbers; how many devices there are does not."""
    settings = config_to_mapping(config)
    runner = settings["runner"]
    hyper = jax.tree.map(lambda leaf: np.asarray(leaf).tolist(), runs.hyper)
    return {
        "task": {"name": spec.name, "env_kwargs": str(dict(spec.env_kwargs))},
        "mixer": {**settings["mixer"], "name": mixer.name},
        "agent": settings["agent"],
        "learner": settings["learner"],
        "runner": {
            name: runner[name]
            for name in (
                "num_env_steps",
                "num_evaluations",
                "num_eval_episodes",
                "matmul_precision",
            )
        },
        "seed_ids": np.asarray(runs.seed_ids).tolist(),
        "hyper": str(hyper),
    }


def versions() -> dict[str, str]:
    """Of Python, JAX and the packages that numbers depend on."""
    packages = ("jax", "jaxlib", "flax", "optax", "numpy", "jaxmarl")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}
