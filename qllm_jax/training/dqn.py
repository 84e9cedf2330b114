"""Deep Q-learning on mixed values: "Human-level control through deep reinforcement learning",
https://doi.org/10.1038/nature14236, with the mixer's value as what is regressed.
"""

import functools

import jax

from qllm_jax.learning import MixerApply, td_loss
from qllm_jax.networks import JointFunction
from qllm_jax.training.off_policy import iterate_off_policy
from qllm_jax.training.runs import Hyper
from qllm_jax.training.state import LearnerState, Program
from qllm_jax.training.step import UpdateMetrics, move_soft_target, take_step
from qllm_jax.types import Window


def gradient_step(
    program: Program, hyper: Hyper, lr: jax.Array, learner: LearnerState, window: Window
) -> tuple[LearnerState, UpdateMetrics]:
    """One step down the loss of a batch of windows `[T, B, ...]`."""
    mixer = program.mixer

    def with_hyper(function: JointFunction) -> MixerApply:
        return lambda params, agent_qs, state, joint: function(
            params, agent_qs, state, hyper.mixer, joint
        )

    grads, loss_metrics = jax.grad(td_loss, has_aux=True)(
        learner.params,
        learner.target_params,
        window,
        program.agent.apply,
        with_hyper(mixer.regressed),
        discount=hyper.discount,
        td_lambda=hyper.td_lambda,
        double_q=program.learner.double_q,
        extra_loss=None if mixer.extra_loss is None else with_hyper(mixer.extra_loss),
        transform=mixer.transform,
    )
    updated, metrics = take_step(program, lr, learner, grads, loss_metrics)
    return move_soft_target(program, hyper, updated), metrics


def q_learning_step(
    program: Program,
    hyper: Hyper,
    lr: jax.Array,
    learner: LearnerState,
    window: Window,
    key: jax.Array,
) -> tuple[LearnerState, UpdateMetrics]:
    """`gradient_step` as a `ReplayStep`; it draws nothing."""
    return gradient_step(program, hyper, lr, learner, window)


iterate = functools.partial(iterate_off_policy, step=q_learning_step)
