"""A TFCAF with a learned correction: what does learning add to a language model's function?"""

import dataclasses

import jax
import jax.numpy as jnp

from qllm_jax.config import MixerConfig
from qllm_jax.networks.mixer import Mixer, MixerHyper, TeamSizes
from qllm_jax.networks.mixers import tfcaf
from qllm_jax.networks.mlp import Mlp
from qllm_jax.types import Params, TfcafFunction


def make(config: MixerConfig, sizes: TeamSizes, tfcafs: tuple[TfcafFunction, ...]) -> Mixer:
    """q_tot = scale · f(q, s) + Σ_i w_i(s) q_i + b(s), with w and b exactly 0 at the start.

    w_i(s) is what learning adds to agent i's credit in state s; it may be negative, so that IGM is
    not kept by construction. Our own control experiment for "QLLM: Do We Really Need a Mixing
    Network for Credit Assignment in Multi-Agent Reinforcement Learning?",
    https://arxiv.org/abs/2504.12961; after "Residual Policy Learning",
    https://arxiv.org/abs/1812.06298, eq. 1, whose last layer starts at zero too.

    Raises:
        UserError: No function was given.
    """
    base = tfcaf.make(config, sizes, tfcafs)
    correction = Mlp((config.residual_hidden_dim, sizes.num_agents + 1), zero_output=True)

    def init(key: jax.Array) -> Params:
        return correction.init(key, jnp.zeros((sizes.state_dim,)))["params"]

    def apply(
        params: Params, agent_qs: jax.Array, state: jax.Array, hyper: MixerHyper
    ) -> jax.Array:
        learned = jnp.asarray(correction.apply({"params": params}, state))
        added = jnp.sum(learned[:-1] * agent_qs) + learned[-1]
        return base.apply({}, agent_qs, state, hyper) + added

    return dataclasses.replace(base, name="tfcaf_residual", init=init, apply=apply)
