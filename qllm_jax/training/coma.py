"""Counterfactual multi-agent policy gradients."""

from collections.abc import Callable
from typing import Any

import jax

from qllm_jax.learning import PolicyBatch, coma_loss, prepare_coma_batch
from qllm_jax.training.on_policy import iterate_on_policy
from qllm_jax.training.runs import Hyper
from qllm_jax.training.state import LearnerState, Program, RunState
from qllm_jax.training.step import UpdateMetrics, joint_critic, take_step
from qllm_jax.types import Window


def iterate(
    program: Program, hyper: Hyper, key: jax.Array, iteration: jax.Array, state: RunState
) -> tuple[RunState, UpdateMetrics]:
    """Collect with the policies, then improve them by their counterfactual advantages.

    "Counterfactual Multi-Agent Policy Gradients", https://arxiv.org/abs/1705.08926, algorithm 1.
    Returns are worked out once per iteration, before its steps, which takes the place of the
    paper's target network.
    """
    return iterate_on_policy(program, hyper, key, iteration, state, prepare=_prepare, step=_step)


def _prepare(program: Program, hyper: Hyper, learner: LearnerState, window: Window) -> PolicyBatch:
    return prepare_coma_batch(
        learner.params,
        window,
        program.agent.apply,
        _critic(program, hyper),
        discount=hyper.discount,
        td_lambda=hyper.td_lambda,
    )


def _step(
    program: Program, hyper: Hyper, lr: jax.Array, learner: LearnerState, batch: PolicyBatch
) -> tuple[LearnerState, UpdateMetrics]:
    grads, metrics = jax.grad(coma_loss, has_aux=True)(
        learner.params,
        batch,
        program.agent.apply,
        _critic(program, hyper),
        value_coef=program.learner.value_coef,
        entropy_coef=program.learner.entropy_coef,
    )
    return take_step(program, lr, learner, grads, metrics)


def _critic(program: Program, hyper: Hyper) -> Callable[..., Any]:
    apply = joint_critic(program, hyper)
    return lambda params, state, actions: apply(params, state, actions).reshape(actions.shape)
