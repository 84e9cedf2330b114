"""Counterfactual multi-agent policy gradients.

Collect with the policies, then improve them by their counterfactual advantages.

"Counterfactual Multi-Agent Policy Gradients", https://arxiv.org/abs/1705.08926, algorithm 1.
Returns are worked out once per iteration, before its steps, which takes the place of the paper's
target network.
"""

import functools
from collections.abc import Callable

import jax

from qllm_jax.learning import coma_loss, prepare_coma_batch
from qllm_jax.training.on_policy import iterate_actor_critic
from qllm_jax.training.runs import Hyper
from qllm_jax.training.state import Program
from qllm_jax.training.step import joint_critic


def _critic(program: Program, hyper: Hyper) -> Callable[..., jax.Array]:
    apply = joint_critic(program, hyper)
    return lambda params, state, actions: apply(params, state, actions).reshape(actions.shape)


iterate = functools.partial(
    iterate_actor_critic,
    critic=_critic,
    prepare=prepare_coma_batch,
    loss=coma_loss,
    coefficients=("value_coef", "entropy_coef"),
)
