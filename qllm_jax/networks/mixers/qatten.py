"""Qatten: heads of attention over agents, weighted by the state."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from qllm_jax.config import MixerConfig
from qllm_jax.networks.mixer import Mixer, MixerHyper, TeamSizes
from qllm_jax.networks.mlp import Mlp
from qllm_jax.types import Params, TfcafFunction


class AttentionMixing(nn.Module):
    """q_tot = c(s) + Σ_h |w_h(s)| Σ_i softmax_i(k_{i,h} · query_h(s) / √E) q_i.

    The paper's keys are features of an agent cut out of the state. A state need not have such a
    part, so here a key is a learned vector per agent, and the state acts through the query.

    Attributes:
        num_agents: N.
        num_heads: H.
        embedding_dim: E, width of keys, queries and c's hidden layer.
        hidden_dim: Width of the hidden layers of query and w.
    """

    num_agents: int
    num_heads: int
    embedding_dim: int
    hidden_dim: int

    @nn.compact
    def __call__(self, agent_qs: jax.Array, state: jax.Array) -> jax.Array:
        """Mix `agent_qs [N]` in `state [D]` into `q_tot []`."""
        heads, width = self.num_heads, self.embedding_dim
        query = Mlp((self.hidden_dim, heads * width), name="query")(state)
        shape = (self.num_agents, heads, width)
        key = self.param("key", nn.initializers.normal(1.0), shape)
        scores = jnp.sum(key * query.reshape(1, heads, width), axis=-1) / jnp.sqrt(float(width))
        attention = jax.nn.softmax(scores, axis=0)  # [N, H], sums to 1 over agents
        head_qs = jnp.sum(attention * agent_qs[:, None], axis=0)
        head_weights = jnp.abs(Mlp((self.hidden_dim, heads), name="head_weight")(state))
        constant = Mlp((width, 1), name="constant")(state)[0]
        return jnp.sum(head_weights * head_qs) + constant


def make(config: MixerConfig, sizes: TeamSizes, tfcafs: tuple[TfcafFunction, ...]) -> Mixer:
    """Linear mixing by multi-head attention; every weight is ≥ 0.

    "Qatten: A General Framework for Cooperative Multiagent Reinforcement Learning",
    https://arxiv.org/abs/2002.03939, §3.2, with weighted heads.
    """
    network = AttentionMixing(
        num_agents=sizes.num_agents,
        num_heads=config.qatten_heads,
        embedding_dim=config.qatten_key_dim,
        hidden_dim=config.qatten_hidden_dim,
    )

    def init(key: jax.Array) -> Params:
        agent_qs, state = jnp.zeros((sizes.num_agents,)), jnp.zeros((sizes.state_dim,))
        return network.init(key, agent_qs, state)["params"]

    def apply(
        params: Params, agent_qs: jax.Array, state: jax.Array, hyper: MixerHyper
    ) -> jax.Array:
        return jnp.asarray(network.apply({"params": params}, agent_qs, state))[None]

    return Mixer(name="qatten", init=init, apply=apply, igm=True)
