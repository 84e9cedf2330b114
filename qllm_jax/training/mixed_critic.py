"""An actor-critic whose agents' own critics are mixed into one, by any mixer."""

import jax

from qllm_jax.learning import PolicyBatch, policy_loss, prepare_policy_batch
from qllm_jax.learning.policy import CriticApply
from qllm_jax.training.on_policy import iterate_on_policy
from qllm_jax.training.runs import Hyper
from qllm_jax.training.state import LearnerState, Program, RunState
from qllm_jax.training.step import UpdateMetrics, take_step
from qllm_jax.types import Window


def iterate(
    program: Program, hyper: Hyper, key: jax.Array, iteration: jax.Array, state: RunState
) -> tuple[RunState, UpdateMetrics]:
    """Collect with the policy, then improve policy and critics on the newest windows.

    V_tot(s) = f(V_1 … V_N, s), with f the mixer's `apply`; the advantage of V_tot trains every
    agent's policy. With `mixer=iql` every agent keeps its own critic: independent PPO.

    "Value-Decomposition Multi-Agent Actor-Critics", https://arxiv.org/abs/2007.12306, eq. 6–9, with
    the clipped loss of "Is Independent Learning All You Need in the StarCraft Multi-Agent
    Challenge?", https://arxiv.org/abs/2011.09533, §3.
    """
    return iterate_on_policy(program, hyper, key, iteration, state, prepare=_prepare, step=_step)


def _prepare(program: Program, hyper: Hyper, learner: LearnerState, window: Window) -> PolicyBatch:
    return prepare_policy_batch(
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
    grads, metrics = jax.grad(policy_loss, has_aux=True)(
        learner.params,
        batch,
        program.agent.apply,
        _critic(program, hyper),
        clip_epsilon=program.learner.clip_epsilon,
        value_coef=program.learner.value_coef,
        entropy_coef=program.learner.entropy_coef,
    )
    return take_step(program, lr, learner, grads, metrics)


def _critic(program: Program, hyper: Hyper) -> CriticApply:
    return lambda params, values, state: program.mixer.apply(params, values, state, hyper.mixer)
