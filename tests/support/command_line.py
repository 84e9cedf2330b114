"""The command line in processes of its own, as a person would run it."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

# A matrix game that trains in a second, for tests of what surrounds a training.
TINY = (
    "task=matrix/climbing",
    "mixer=vdn",
    "agent.hidden_dim=8",
    "learner.num_envs=2",
    "learner.batch_size=4",
    "learner.replay_capacity=32",
    "learner.learning_starts=100",
    "runner.num_seeds=2",
    "runner.num_eval_episodes=2",
)


def start(cache, *arguments, num_devices=None, stdout=subprocess.PIPE, **variables):
    """Start `qllm-jax ARGUMENTS`; both streams of output come as one text.

    Programs come from one compilation cache, so that starting again is quick.
    """
    environment = {
        **os.environ,
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "PYTHONPATH": str(ROOT),
        **variables,
    }
    if num_devices is not None:
        environment["JAX_PLATFORMS"] = "cpu"
        environment["XLA_FLAGS"] += f" --xla_force_host_platform_device_count={num_devices}"
    return subprocess.Popen(
        [sys.executable, "-m", "qllm_jax.cli", *map(str, arguments)],
        env=environment,
        stdout=stdout,
        stderr=subprocess.STDOUT,
        text=True,
    )
