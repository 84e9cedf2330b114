"""An actor-critic whose agents' own critics are mixed into one, by any mixer.

Collect with the policy, then improve policy and critics on the newest windows.

V_tot(s) = f(V_1 … V_N, s), with f the mixer's `apply`; the advantage of V_tot trains every agent's
policy. With `mixer=iql` every agent keeps its own critic: independent PPO.

"Value-Decomposition Multi-Agent Actor-Critics", https://arxiv.org/abs/2007.12306, eq. 6–9, with the
clipped loss of "Is Independent Learning All You Need in the StarCraft Multi-Agent Challenge?",
https://arxiv.org/abs/2011.09533, §3.
"""

import functools

from qllm_jax.learning import policy_loss, prepare_policy_batch
from qllm_jax.learning.policy import CriticApply
from qllm_jax.training.on_policy import iterate_actor_critic
from qllm_jax.training.runs import Hyper
from qllm_jax.training.state import Program


def _critic(program: Program, hyper: Hyper) -> CriticApply:
    return lambda params, values, state, reset: program.mixer.mixed(
        params, values, state, reset, hyper.mixer
    )


iterate = functools.partial(
    iterate_actor_critic,
    critic=_critic,
    prepare=prepare_policy_batch,
    loss=policy_loss,
    coefficients=("clip_epsilon", "value_coef", "entropy_coef"),
)
