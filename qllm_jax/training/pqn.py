"""Parallelised Q-learning: no replay, no target network; normalised networks keep it stable."""

import jax

from qllm_jax.training.dqn import gradient_step
from qllm_jax.training.on_policy import iterate_on_policy
from qllm_jax.training.runs import Hyper
from qllm_jax.training.state import LearnerState, Program, RunState
from qllm_jax.training.step import UpdateMetrics
from qllm_jax.types import Window


def iterate(
    program: Program, hyper: Hyper, key: jax.Array, iteration: jax.Array, state: RunState
) -> tuple[RunState, UpdateMetrics]:
    """Collect with ε-greedy play, then regress on λ-returns of the newest windows.

    The loss is `td_loss` without target networks:
    G_t = r_t + γ [(1 − λ) max_a q_{t+1} + λ G_{t+1}], no gradient flowing through it.

    "Simplifying Deep Temporal Difference Learning", https://arxiv.org/abs/2407.04811, alg. 1; the
    returns are recomputed in every minibatch, as a recurrent network must be, and windows are
    whole episodes from their reset.
    """
    return iterate_on_policy(
        program, hyper, key, iteration, state, prepare=_windows, step=gradient_step
    )


def _windows(program: Program, hyper: Hyper, learner: LearnerState, window: Window) -> Window:
    return window
