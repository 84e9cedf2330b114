import jax.numpy as jnp


NUM_AGENTS = 2
TEMPERATURE = 8.0  # in units of reward; the payoffs span about 40


def tfcaf(agent_qs, state):
    """Half the sum, half N times a smooth minimum: credits in (0.5, 1.5), sum N."""
    lowest = jnp.min(agent_qs, axis=-1)
    spread = jnp.mean(jnp.exp(-(agent_qs - lowest) / TEMPERATURE), axis=-1)
    smooth_min = lowest - TEMPERATURE * jnp.log(spread)
    return 0.5 * jnp.sum(agent_qs, axis=-1) + 0.5 * NUM_AGENTS * smooth_min
