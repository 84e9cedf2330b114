"""The registry of learners. Each is an `Algorithm`: what an iteration does, as data for one loop.

A new learner is a module with `iterate` and an entry of `_LEARNERS`; the contract test then covers
it.
"""

import dataclasses

from qllm_jax.errors import unknown_name
from qllm_jax.learning import local_values, sample_actions, sample_from_logits
from qllm_jax.networks import critics
from qllm_jax.training import coma, dqn, maddpg, mixed_critic, pqn
from qllm_jax.training.state import Algorithm

_MIXED_CRITIC = Algorithm(
    name="mixed_critic",
    iterate=mixed_critic.iterate,
    uses_replay=False,
    uses_target=False,
    num_extra_outputs=1,
    act=sample_actions,
    agent_values=local_values,
)
_LEARNERS = {
    algorithm.name: algorithm
    for algorithm in (
        Algorithm(
            name="coma",
            iterate=coma.iterate,
            uses_replay=False,
            uses_target=False,
            act=sample_from_logits,
            make_critic=critics.counterfactual,
        ),
        Algorithm(name="dqn", iterate=dqn.iterate, uses_replay=True, uses_target=True),
        dataclasses.replace(_MIXED_CRITIC, name="ippo", make_critic=critics.no_critic),
        Algorithm(
            name="maddpg",
            iterate=maddpg.iterate,
            uses_replay=True,
            uses_target=True,
            act=sample_from_logits,
            make_critic=critics.joint_value,
        ),
        dataclasses.replace(_MIXED_CRITIC, name="mappo", make_critic=critics.state_value),
        _MIXED_CRITIC,
        Algorithm(name="pqn", iterate=pqn.iterate, uses_replay=False, uses_target=False),
    )
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
