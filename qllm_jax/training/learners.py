"""Learners as data: one loop, and what an iteration of it does as an argument.

A new learner is a module with `iterate` and a line in `_LEARNERS`; the contract test then covers
it.
"""

from typing import Any

from qllm_jax.errors import unknown_name
from qllm_jax.learning import local_values, sample_actions, sample_from_logits
from qllm_jax.networks import critics
from qllm_jax.training import coma, dqn, maddpg, mixed_critic, pqn
from qllm_jax.training.state import Algorithm

_PPO: dict[str, Any] = {
    "iterate": mixed_critic.iterate,
    "uses_replay": False,
    "uses_target": False,
    "num_extra_outputs": 1,
    "act": sample_actions,
    "agent_values": local_values,
}
_LEARNERS = {
    "coma": Algorithm(
        name="coma",
        iterate=coma.iterate,
        uses_replay=False,
        uses_target=False,
        act=sample_from_logits,
        make_critic=critics.counterfactual,
    ),
    "dqn": Algorithm(name="dqn", iterate=dqn.iterate, uses_replay=True, uses_target=True),
    "ippo": Algorithm(name="ippo", make_critic=critics.no_critic, **_PPO),
    "maddpg": Algorithm(
        name="maddpg",
        iterate=maddpg.iterate,
        uses_replay=True,
        uses_target=True,
        act=sample_from_logits,
        make_critic=critics.joint_value,
    ),
    "mappo": Algorithm(name="mappo", make_critic=critics.state_value, **_PPO),
    "mixed_critic": Algorithm(name="mixed_critic", **_PPO),
    "pqn": Algorithm(name="pqn", iterate=pqn.iterate, uses_replay=False, uses_target=False),
}


def learner_names() -> list[str]:
    """The registered learners, sorted."""
    return sorted(_LEARNERS)


def get_learner(name: str) -> Algorithm:
    """The learner that `learner.name` names.

    Raises:
        UserError: There is none; says which there are.
    """
    if name not in _LEARNERS:
        raise unknown_name("learner", name, learner_names())
    return _LEARNERS[name]
