"""Residual Q-networks: the sum, of values that an auxiliary network corrects while learning."""

import dataclasses

import jax
import jax.numpy as jnp

from qllm_jax.config import MixerConfig
from qllm_jax.networks.mixer import Mixer, TeamSizes
from qllm_jax.networks.mixers import vdn
from qllm_jax.networks.mlp import Mlp
from qllm_jax.types import Params, TfcafFunction


def make(config: MixerConfig, sizes: TeamSizes, tfcafs: tuple[TfcafFunction, ...]) -> Mixer:
    """q_tot,t = Σ_i (q_i,t + r_i), r = g(mean_t q_1 … mean_t q_N, max_t q_1 … max_t q_N).

    The residual r_i is one number per agent and trajectory: it shifts all of an agent's values
    alike, so that its preferences stay, and it is left out of targets and of play.

    "Residual Q-Networks for Value Function Factorizing in Multi-Agent Reinforcement Learning",
    https://arxiv.org/abs/2205.15245, §IV; mean, maximum and the plain target as in the authors'
    published program. Here a trajectory is a window.
    """
    num_agents = sizes.num_agents
    network = Mlp((config.rqn_hidden_dim, num_agents))

    def init(key: jax.Array) -> Params:
        return network.init(key, jnp.zeros((2 * num_agents,)))["params"]

    def transform(params: Params, agent_qs: jax.Array, acting: jax.Array) -> jax.Array:
        weight = acting[:, None].astype(agent_qs.dtype)
        count = jnp.maximum(jnp.sum(weight), 1.0)
        mean = jnp.sum(jnp.where(acting[:, None], agent_qs, 0.0), axis=0) / count
        largest = jnp.max(jnp.where(acting[:, None], agent_qs, -jnp.inf), axis=0)
        largest = jnp.where(jnp.any(acting), largest, 0.0)
        residual = network.apply({"params": params}, jnp.concatenate([mean, largest]))
        return agent_qs + jnp.asarray(residual)[None]

    plain = vdn.make(config, sizes, tfcafs)
    return dataclasses.replace(plain, name="rqn", init=init, transform=transform)
