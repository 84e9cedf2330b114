import jax
import jax.numpy as jnp


NUM_AGENTS = 3
NUM_FOODS = 3
FOODS = 3 * NUM_AGENTS  # foods begin after (row, col, level) of every agent


def tfcaf(agent_qs, state):
    """Value of food by the strength already beside it; equal credits."""
    agents = jnp.reshape(state[:FOODS], (NUM_AGENTS, 3))
    foods = jnp.reshape(state[FOODS:FOODS + 3 * NUM_FOODS], (NUM_FOODS, 3))
    left = (foods[:, 2] > 0.5).astype(jnp.float32)
    steps = jnp.sum(jnp.abs(agents[:, None, 0:2] - foods[None, :, 0:2]), axis=-1)
    beside = jax.nn.sigmoid(4.0 * (1.5 - steps))
    strength = jnp.sum(beside * agents[:, None, 2], axis=0)
    ready = jnp.clip(strength / jnp.maximum(foods[:, 2], 1.0), 0.0, 1.0)
    approach = jnp.mean(jnp.exp(-0.1 * steps), axis=0)
    value = jnp.sum(left * (0.5 * ready + 0.5 * approach)) / NUM_FOODS
    return jnp.sum(agent_qs, axis=0) + value
