"""Who plays the agents that are not controlled: small trained networks, and scripts.

The networks are recurrent Q-networks of our own trainer, played greedily; the weights and the
command that made them: `python benchmarks/train_opponents.py prey` (or `adversary`).
"""

import functools
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from qllm_jax.envs.jaxmarl_adapter import Opponent

_WEIGHTS = Path(__file__).with_name("weights")
_X, _Y = 0, 1


@functools.cache
def opponent_weights(name: str) -> Mapping[str, np.ndarray]:
    """The checked-in weights of an opponent, by parameter name, float32."""
    with np.load(_WEIGHTS / f"{name}.npz") as arrays:
        return {key: arrays[key].astype(np.float32) for key in arrays.files}


def recurrent_opponent(weights: Mapping[str, np.ndarray], agent: str) -> Opponent:
    """Greedy play of one agent by a recurrent Q-network.

    Args:
        weights: As `benchmarks/train_opponents.py` saves them: `embed`, `embed_bias`,
            `gru_input`, `gru_input_bias`, `gru_hidden`, `gru_hidden_bias`, `head`, `head_bias`.
        agent: Whom it plays.
    """
    width = weights["gru_hidden_bias"].shape[0]

    def act(key, memory, inner, obs):
        del key, inner
        values, memory = _recurrent_q(weights, memory, obs[agent])
        return {agent: jnp.argmax(values).astype(jnp.int32)}, memory

    return Opponent(init=lambda: jnp.zeros((width,), jnp.float32), act=act)


def _recurrent_q(weights, hidden: jax.Array, obs: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Dense, ReLU, GRU (reset gate after the recurrent product), dense: `[O] -> [A]`."""
    width = hidden.shape[0]
    embedded = jax.nn.relu(obs @ weights["embed"] + weights["embed_bias"])
    inputs = embedded @ weights["gru_input"] + weights["gru_input_bias"]
    recurrent = hidden @ weights["gru_hidden"]
    r, z = jnp.split(jax.nn.sigmoid(inputs[: 2 * width] + recurrent[: 2 * width]), 2)
    n = jnp.tanh(inputs[2 * width :] + r * (recurrent[2 * width :] + weights["gru_hidden_bias"]))
    hidden = n + z * (hidden - n)
    return hidden @ weights["head"] + weights["head_bias"], hidden


def walk_towards(offset: jax.Array) -> jax.Array:
    """The particle worlds' action that pushes along the longer side of `offset` [2]; [] int32."""
    sideways = jnp.where(offset[_X] < 0, 1, 2)
    upwards = jnp.where(offset[_Y] < 0, 3, 4)
    return jnp.where(jnp.abs(offset[_X]) > jnp.abs(offset[_Y]), sideways, upwards)
