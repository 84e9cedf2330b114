"""An actor-critic whose agents' own critics are mixed into one, by any mixer."""

import functools

import jax

from qllm_jax.learning import policy_loss, prepare_policy_batch
from qllm_jax.learning.policy import CriticApply
from qllm_jax.training.on_policy import iterate_actor_critic
from qllm_jax.training.runs import Hyper
from qllm_jax.training.state import Program, RunState
from qllm_jax.training.step import UpdateMetrics


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
    loss = functools.partial(policy_loss, clip_epsilon=program.learner.clip_epsilon)
    return iterate_actor_critic(
        program,
        hyper,
        key,
        iteration,
        state,
        critic=_critic(program, hyper),
        prepare=prepare_policy_batch,
        loss=loss,
    )


def _critic(program: Program, hyper: Hyper) -> CriticApply:
    return lambda params, values, state, reset: program.mixer.mixed(
        params, values, state, reset, hyper.mixer
    )
