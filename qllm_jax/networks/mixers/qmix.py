"""QMIX: a monotone network whose weights are written by the state."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from qllm_jax.config import MixerConfig
from qllm_jax.networks.mixer import Mixer, MixerHyper, TeamSizes
from qllm_jax.types import Params, TfcafFunction


class MonotoneMixing(nn.Module):
    """q_tot = elu(q |W_1(s)| + b_1(s)) · |w_2(s)| + b_2(s).

    W_1, w_2 and b_2 come from two-layer hypernetworks, b_1 from one layer. All four read the same
    state, so their first layers are one product.

    Attributes:
        num_agents: N.
        embedding_dim: E, width of the mixing layer and of b_2's hypernetwork.
        hypernet_hidden_dim: Width of W_1's and w_2's hypernetworks.
        init_scale: Of every orthogonal initialisation.
    """

    num_agents: int
    embedding_dim: int
    hypernet_hidden_dim: int
    init_scale: float

    @nn.compact
    def __call__(self, agent_qs: jax.Array, state: jax.Array) -> jax.Array:
        """Mix `agent_qs [N]` in `state [D]` into `q_tot []`."""
        hyper, embed = self.hypernet_hidden_dim, self.embedding_dim
        widths = (hyper, hyper, embed, embed)
        orthogonal = nn.initializers.orthogonal(self.init_scale)

        def first_kernel(key: jax.Array, num_features: int) -> jax.Array:
            keys = jax.random.split(key, len(widths))
            blocks = [orthogonal(k, (num_features, w)) for k, w in zip(keys, widths, strict=True)]
            return jnp.concatenate(blocks, axis=1)

        kernel = self.param("first", first_kernel, state.shape[-1])
        bias = self.param("first_bias", nn.initializers.zeros_init(), (sum(widths),))
        first = state @ kernel + bias
        b_1 = first[-embed:]
        hidden = nn.relu(first[:-embed])

        def second(name: str, inputs: jax.Array, width: int) -> jax.Array:
            return nn.Dense(width, kernel_init=orthogonal, name=name)(inputs)

        w_1 = jnp.abs(second("w_1", hidden[:hyper], self.num_agents * embed))
        w_2 = jnp.abs(second("w_2", hidden[hyper : 2 * hyper], embed))
        b_2 = second("b_2", hidden[2 * hyper :], 1)
        # Sums of products rather than matrix products: under vmap the latter become one tiny
        # product per row.
        mixed = jnp.sum(agent_qs[:, None] * w_1.reshape(self.num_agents, embed), axis=0)
        return jnp.sum(nn.elu(mixed + b_1) * w_2) + b_2[0]


def make(config: MixerConfig, sizes: TeamSizes, tfcafs: tuple[TfcafFunction, ...]) -> Mixer:
    """Monotone mixing by hypernetworks.

    "QMIX: Monotonic Value Function Factorisation for Deep Multi-Agent Reinforcement Learning",
    https://arxiv.org/abs/1803.11485, §4.1 and fig. 2.
    """
    network = MonotoneMixing(
        num_agents=sizes.num_agents,
        embedding_dim=config.embedding_dim,
        hypernet_hidden_dim=config.hypernet_hidden_dim,
        init_scale=config.init_scale,
    )

    def init(key: jax.Array) -> Params:
        return network.init(key, jnp.zeros((sizes.num_agents,)), jnp.zeros((sizes.state_dim,)))[
            "params"
        ]

    def apply(
        params: Params, agent_qs: jax.Array, state: jax.Array, hyper: MixerHyper
    ) -> jax.Array:
        q_tot = jnp.asarray(network.apply({"params": params}, agent_qs, state))
        return q_tot[None]

    return Mixer(name="qmix", init=init, apply=apply, igm=True)
