"""Learners as data: one loop, and what an iteration of it does as an argument.

A new learner is a module with `iterate` and a line in `_LEARNERS`; the contract test then covers
it.
"""

from qllm_jax.errors import unknown_name
from qllm_jax.learning import local_values, sample_actions
from qllm_jax.training import mixed_critic, pqn, step
from qllm_jax.training.state import Algorithm

_LEARNERS = {
    "dqn": Algorithm(name="dqn", iterate=step.iterate, uses_replay=True, uses_target=True),
    "mixed_critic": Algorithm(
        name="mixed_critic",
        iterate=mixed_critic.iterate,
        uses_replay=False,
        uses_target=False,
        num_extra_outputs=1,
        act=sample_actions,
        agent_values=local_values,
    ),
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
