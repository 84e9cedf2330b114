"""Value decomposition network: the sum."""

import jax
import jax.numpy as jnp

from qllm_jax.config import MixerConfig
from qllm_jax.networks.mixer import Mixer, MixerHyper, TeamSizes
from qllm_jax.types import Params, TfcafFunction


def make(config: MixerConfig, sizes: TeamSizes, tfcafs: tuple[TfcafFunction, ...]) -> Mixer:
    """q_tot = Σ_i q_i.

    "Value-Decomposition Networks For Cooperative Multi-Agent Learning",
    https://arxiv.org/abs/1706.05296, eq. 3.
    """

    def apply(
        params: Params, agent_qs: jax.Array, state: jax.Array, hyper: MixerHyper
    ) -> jax.Array:
        return jnp.sum(agent_qs, keepdims=True)

    return Mixer(name="vdn", init=lambda key: {}, apply=apply, igm=True)
