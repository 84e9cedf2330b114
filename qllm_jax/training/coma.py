"""Counterfactual multi-agent policy gradients."""

from collections.abc import Callable
from typing import Any

import jax

from qllm_jax.learning import coma_loss, prepare_coma_batch
from qllm_jax.training.on_policy import iterate_actor_critic
from qllm_jax.training.runs import Hyper
from qllm_jax.training.state import Program, RunState
from qllm_jax.training.step import UpdateMetrics, joint_critic


def iterate(
    program: Program, hyper: Hyper, key: jax.Array, iteration: jax.Array, state: RunState
) -> tuple[RunState, UpdateMetrics]:
    """Collect with the policies, then improve them by their counterfactual advantages.

    "Counterfactual Multi-Agent Policy Gradients", https://arxiv.org/abs/1705.08926, algorithm 1.
    Returns are worked out once per iteration, before its steps, which takes the place of the
    paper's target network.
    """
    return iterate_actor_critic(
        program,
        hyper,
        key,
        iteration,
        state,
        critic=_critic(program, hyper),
        prepare=prepare_coma_batch,
        loss=coma_loss,
    )


def _critic(program: Program, hyper: Hyper) -> Callable[..., Any]:
    apply = joint_critic(program, hyper)
    return lambda params, state, actions: apply(params, state, actions).reshape(actions.shape)
