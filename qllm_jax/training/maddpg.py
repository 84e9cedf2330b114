"""Multi-agent deep deterministic policy gradients, for discrete actions."""

import functools

import jax

from qllm_jax.learning import maddpg_loss
from qllm_jax.training.off_policy import iterate_off_policy
from qllm_jax.training.runs import Hyper
from qllm_jax.training.state import LearnerState, Program
from qllm_jax.training.step import (
    UpdateMetrics,
    joint_critic,
    move_soft_target,
    take_step,
)
from qllm_jax.types import Window


def _step(
    program: Program,
    hyper: Hyper,
    lr: jax.Array,
    learner: LearnerState,
    window: Window,
    key: jax.Array,
) -> tuple[LearnerState, UpdateMetrics]:
    shape = (window.actions.shape[0] - 1, *window.avail_actions.shape[1:])
    assert learner.target_params is not None, "MADDPG has target networks"
    grads, metrics = jax.grad(maddpg_loss, has_aux=True)(
        learner.params,
        learner.target_params,
        window,
        jax.random.uniform(key, shape),
        program.agent.apply,
        joint_critic(program, hyper),
        discount=hyper.discount,
        td_lambda=hyper.td_lambda,
    )
    updated, sums = take_step(program, lr, learner, grads, metrics)
    return move_soft_target(program, hyper, updated), sums


iterate = functools.partial(iterate_off_policy, step=_step)
