"""Algorithms that JaxMARL and we both have, with the settings that make them the same work.

Read by `parity_jaxmarl.py`, which compares what they learn, and `throughput.py`, how fast.
"""

import dataclasses
from typing import Any

from qllm_jax.config import Config


@dataclasses.dataclass(frozen=True)
class Case:
    """An algorithm in both programs.

    Attributes:
        script: JaxMARL's, by kind of environment.
        ours: Overrides of our configuration.
        theirs: Our values, by the names of the script's settings that follow them.
        changed: Settings of the script that are neither published nor in `theirs`.
        equal: Our values, by the names of settings that must have them as published on MPE.
    """

    script: dict[str, str]
    ours: tuple[str, ...]
    theirs: dict[str, str] = dataclasses.field(default_factory=dict)
    changed: dict[str, object] = dataclasses.field(default_factory=dict)
    equal: dict[str, str] = dataclasses.field(default_factory=dict)


_WINDOWS = {"NUM_ENVS": "learner.num_envs"}
_COMMON = {
    "LR": "learner.lr",
    "LR_LINEAR_DECAY": "learner.lr_linear_decay",
    "GAMMA": "learner.discount",
    "MAX_GRAD_NORM": "learner.max_grad_norm",
    "EPS_START": "learner.epsilon_start",
    "EPS_FINISH": "learner.epsilon_finish",
    "EPS_DECAY": "learner.epsilon_decay_fraction",
}
_Q = {
    **_COMMON,
    "HIDDEN_SIZE": "agent.hidden_dim",
    "BUFFER_SIZE": "learner.replay_capacity",
    "BUFFER_BATCH_SIZE": "learner.batch_size",
    "NUM_EPOCHS": "learner.updates_per_window",
    "TARGET_UPDATE_INTERVAL": "learner.target_update_interval",
}
CASES = {
    # Learning starts in the same iteration, JaxMARL's 49th of 8 × 26 slots.
    **{
        name: Case(
            script={"mpe": f"{name}_rnn", "smax": f"{name}_rnn"},
            ours=("learner=dqn", f"mixer={name}", f"learner.learning_starts={49 * 200}"),
            theirs=_WINDOWS,
            equal=_Q,
        )
        for name in ("iql", "vdn", "qmix")
    },
    "pqn_vdn": Case(
        script={"mpe": "pqn_vdn_rnn", "smax": "pqn_vdn_rnn"},
        ours=("learner=pqn", "mixer=vdn"),
        theirs={**_WINDOWS, "HIDDEN_SIZE": "agent.hidden_dim"},
        changed={
            "NUM_MINIBATCHES": 4,
            "NUM_LAYERS": 1,
            "NORM_TYPE": "layer_norm",
            "NORM_INPUT": False,
        },
        equal={**_COMMON, "LAMBDA": "learner.td_lambda"},
    ),
    "mappo": Case(
        script={"mpe": "mappo_rnn_mpe", "smax": "mappo_rnn_smax"},
        ours=("learner=mappo", "mixer=vdn", "agent.hidden_dim=128", "agent.append_agent_id=false"),
        theirs=_WINDOWS,
        equal={
            "GRU_HIDDEN_DIM": "agent.hidden_dim",
            "LR": "learner.lr",
            "ANNEAL_LR": "learner.lr_linear_decay",
            "GAMMA": "learner.discount",
            "GAE_LAMBDA": "learner.td_lambda",
            "CLIP_EPS": "learner.clip_epsilon",
            "ENT_COEF": "learner.entropy_coef",
            "VF_COEF": "learner.value_coef",
            "MAX_GRAD_NORM": "learner.max_grad_norm",
        },
    ),
}


def their_settings(case: Case, config: Config, task: str, window: int) -> dict[str, Any]:
    """Settings of the script that are not as published.

    Args:
        case: The algorithm.
        config: Our configuration, which theirs follows.
        task: Such as `mpe/simple_spread` or `smax/3m`.
        window: T slots; MPE's `max_steps=25` ends an episode of theirs on call 26.
    """
    kind, scenario = task.split("/")
    settings = {name: value_of(config, path) for name, path in case.theirs.items()}
    settings |= {"NUM_STEPS": window, **case.changed}
    if kind == "smax":
        settings["MAP_NAME"] = scenario
        settings |= {name: value_of(config, path) for name, path in case.equal.items()}
    return settings


def check_equal(case: Case, config: Config, used: dict[str, Any]) -> None:
    """Compare what is said to be equal with the script's configuration `used`.

    Raises:
        ValueError: A setting differs.
    """
    for name, path in case.equal.items():
        if used[name] != value_of(config, path):
            raise ValueError(f"{name} is {used[name]}, {path} is {value_of(config, path)}")


def value_of(config: Config, path: str) -> object:
    """The value at a dotted path such as `learner.lr`."""
    section, key = path.split(".")
    return getattr(getattr(config, section), key)
