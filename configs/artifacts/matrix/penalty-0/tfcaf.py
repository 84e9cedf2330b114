import jax
import jax.numpy as jnp

HORIZON = 1.5  # steps


def tfcaf(agent_qs, state):
    """Plain sum, plus one and a half steps of the reward of opposite outer actions."""
    first, second = state[0], state[1]
    opposite = jnp.exp(-4.0 * jnp.square(jnp.abs(first - second) - 2.0))
    started = jax.nn.sigmoid(20.0 * (jnp.minimum(first, second) + 0.5))
    return jnp.sum(agent_qs, axis=-1) + HORIZON * 10.0 * opposite * started
