"""The agents' shared network, recurrent or not, as a frozen bundle of pure functions.

Its outputs are the A actions' values in Q-learning and their logits where a learner has policies;
V more may follow, such as the agent's own estimate of the return. Made by `training.chunk`, and by
`critics` for a critic with a memory.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from qllm_jax.config import AgentConfig
from qllm_jax.errors import require
from qllm_jax.networks.gru_weights import GruWeights
from qllm_jax.networks.recurrent import gru_sequence, gru_step
from qllm_jax.types import Params


@dataclasses.dataclass(frozen=True)
class Agent:
    """One network for all N agents, in two views with the same parameters.

    Attributes:
        init: `key -> params`; the key is consumed. Orthogonal initialisation is a QR
            decomposition, which can hang in a vmapped program on the CPU: call it seed by seed.
        apply: `(params, obs [T, B, N, ...], reset [T, B]) -> outputs [T, B, N, A + V]`, from a
            zero hidden state that is cleared again where `reset`.
        step: `(params, hidden [B, N, H], obs [B, N, ...], reset [B]) -> (hidden, outputs
            [B, N, A + V])`, one slot of `apply`.
        initial_hidden: `num_envs -> hidden [B, N, H]`, zeros.
    """

    init: Callable[[jax.Array], Params]
    apply: Callable[[Params, jax.Array, jax.Array], jax.Array]
    step: Callable[[Params, jax.Array, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]
    initial_hidden: Callable[[int], jax.Array]


@dataclasses.dataclass(frozen=True)
class _Sizes:
    """What both networks are made of.

    Attributes:
        num_actions: A.
        num_values: V, further outputs after the actions'.
        num_ids: N where a one-hot agent id is appended to the observation, else 0.
        config: Widths, number of layers, initial scale.
    """

    num_actions: int
    num_values: int
    num_ids: int
    config: AgentConfig


class FeedForwardNetwork(nn.Module):
    """Embedding, dense, ReLU, head: without memory, so that resets mean nothing.

    Attributes:
        sizes: Numbers of inputs and outputs, and the configured rest.
        convolutions: Filters of the layers before, for images `[..., X, Y, C]`; none for vectors.
    """

    sizes: _Sizes
    convolutions: tuple[int, ...] = ()

    @nn.compact
    def __call__(
        self, obs: jax.Array, reset: jax.Array, hidden: jax.Array | None
    ) -> tuple[jax.Array | None, jax.Array]:
        """As `RecurrentNetwork`; the hidden state is handed on."""
        for index, filters in enumerate(self.convolutions):
            size = (5, 5) if index == 0 else (3, 3)
            obs = nn.relu(nn.Conv(filters, size)(obs))
        if self.convolutions:
            obs = obs.reshape(*obs.shape[:-3], -1)
        embedded = _embed(self, obs)
        output = nn.relu(nn.Dense(self.sizes.config.hidden_dim)(embedded))
        return hidden, _head(self.sizes, output)


class RecurrentNetwork(nn.Module):
    """Dense, ReLU, GRU, head, over rows that are agents of environments.

    Attributes:
        sizes: Numbers of inputs and outputs, and the configured rest.
    """

    sizes: _Sizes

    @nn.compact
    def __call__(
        self, obs: jax.Array, reset: jax.Array, hidden: jax.Array | None
    ) -> tuple[jax.Array, jax.Array]:
        """Map observations to outputs.

        Args:
            obs: `[T, B, N, O]`, or `[B, N, O]` with `hidden`.
            reset: `[T, B]` or `[B]` bool.
            hidden: `[B, N, H]` for one slot; None for a sequence from zeros.

        Returns:
            The hidden state after the slot(s) and `outputs [..., N, A + V]`.
        """
        width = self.sizes.config.hidden_dim
        embedded = _embed(self, obs)
        zeros, blocks = nn.initializers.zeros_init(), (width, 3)
        weights = GruWeights(
            input=self.param("gru_input", _blocks(nn.initializers.lecun_normal()), blocks),
            input_bias=self.param("gru_input_bias", zeros, (3 * width,)),
            hidden=self.param("gru_hidden", _blocks(nn.initializers.orthogonal()), blocks),
            hidden_bias=self.param("gru_hidden_bias", zeros, (width,)),
        )
        keep = jnp.broadcast_to(~reset[..., None], embedded.shape[:-1]).astype(embedded.dtype)
        if hidden is None:
            rows = (embedded.shape[0], -1)
            flat = gru_sequence(embedded.reshape(*rows, width), keep.reshape(rows), weights)
            output = flat.reshape(embedded.shape)
        else:
            output = gru_step(embedded, hidden * keep[..., None], weights)
        return output, _head(self.sizes, output)


def _head(sizes: _Sizes, hidden: jax.Array) -> jax.Array:
    """The last layers of both networks: `[..., H]` to `[..., A + V]`."""
    config = sizes.config
    for index in range(config.num_head_layers):
        gain = nn.initializers.orthogonal(math.sqrt(2.0))
        hidden = nn.relu(
            nn.Dense(config.hidden_dim, kernel_init=gain, name=f"head_{index}")(hidden)
        )

    def kernel_init(key: jax.Array, shape: tuple[int, int], dtype: Any) -> jax.Array:
        kernel = nn.initializers.orthogonal()(key, shape, dtype)
        return kernel.at[:, : sizes.num_actions].multiply(config.head_init_scale)

    width = sizes.num_actions + sizes.num_values
    return nn.Dense(width, kernel_init=kernel_init, name="head")(hidden)


def _embed(network: Any, obs: jax.Array) -> jax.Array:
    """The first layer of both networks: `[..., N, O]` and the agents' ids to `[..., N, H]`."""
    # [obs, one_hot(i)] W = obs W[:O] + W[O + i]: the id costs an addition, not a wider input.
    sizes, width, num_features = network.sizes, network.sizes.config.hidden_dim, obs.shape[-1]
    shape = (num_features + sizes.num_ids, width)
    kernel = network.param("embed", nn.initializers.orthogonal(), shape)
    bias = network.param("embed_bias", nn.initializers.zeros_init(), (width,))
    embedded = obs @ kernel[:num_features] + (
        kernel[num_features:] + bias if sizes.num_ids else bias
    )
    if sizes.config.layer_norm:
        embedded = nn.LayerNorm(name="embed_norm")(embedded)
    return nn.relu(embedded)


_CONVOLUTIONS = (32, 32, 32)


def make_agent(
    config: AgentConfig,
    num_agents: int,
    num_actions: int,
    obs_shape: tuple[int, ...],
    num_values: int = 0,
) -> Agent:
    """Build the agents' network.

    Args:
        config: Kind, width, and whether agents see their id.
        num_agents: N.
        num_actions: A.
        obs_shape: One agent's observation; anything but a vector is flattened, but for `cnn`.
        num_values: V, further outputs after the actions'; `head_init_scale` does not scale them.

    Raises:
        UserError: `cnn` for observations that are no images.
    """
    num_ids = num_agents if config.append_agent_id else 0
    sizes = _Sizes(num_actions, num_values, num_ids, config)
    is_image = config.name == "cnn"
    require(
        not is_image or len(obs_shape) == 3,
        f"agent=cnn needs observations that are images [height, width, channels]; this task's "
        f"have shape {list(obs_shape)}. Use agent=rnn or agent=mlp.",
    )
    network: nn.Module
    if config.name == "rnn":
        network, memory = RecurrentNetwork(sizes), config.hidden_dim
    else:
        convolutions = _CONVOLUTIONS if is_image else ()
        network, memory = FeedForwardNetwork(sizes, convolutions), 0
    shape = obs_shape if is_image else (math.prod(obs_shape),)
    apply_network: Callable[..., tuple[jax.Array, jax.Array]] = network.apply  # type: ignore[assignment]

    def shaped(obs: jax.Array) -> jax.Array:
        return obs.reshape(*obs.shape[: obs.ndim - len(obs_shape)], *shape)

    def initial_hidden(num_envs: int) -> jax.Array:
        return jnp.zeros((num_envs, num_agents, memory), jnp.float32)

    def init(key: jax.Array) -> Params:
        obs = jnp.zeros((1, num_agents, *shape), jnp.float32)
        return network.init(key, obs, jnp.zeros((1,), bool), initial_hidden(1))["params"]

    def apply(params: Params, obs: jax.Array, reset: jax.Array) -> jax.Array:
        _, outputs = apply_network({"params": params}, shaped(obs), reset, None)
        return outputs

    def step(
        params: Params, hidden: jax.Array, obs: jax.Array, reset: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        return apply_network({"params": params}, shaped(obs), reset, hidden)

    return Agent(init=init, apply=apply, step=step, initial_hidden=initial_hidden)


def _blocks(initializer: Any) -> Callable[..., jax.Array]:
    """Initialise the square blocks of a fused kernel one by one, as separate gates would be."""

    def init(key: jax.Array, shape: tuple[int, int]) -> jax.Array:
        width, count = shape
        keys = jax.random.split(key, count)
        return jnp.concatenate([initializer(key, (width, width)) for key in keys], axis=1)

    return init
