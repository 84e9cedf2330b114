import jax
import jax.numpy as jnp


ALLIES = 5
ENEMIES = 5
UNITS = ALLIES + ENEMIES
UNIT = 10  # health, x, y, cooldown, six type bits


def tfcaf(agent_qs, state):
    """Credit for the living and loaded; value from numbers and health."""
    units = jnp.reshape(state[:UNITS * UNIT], (UNITS, UNIT))
    ours, theirs = units[:ALLIES], units[ALLIES:]
    alive = (ours[:, 0] > 0.0).astype(jnp.float32)
    standing = (theirs[:, 0] > 0.0).astype(jnp.float32)
    loaded = jax.nn.sigmoid(-4.0 * (jnp.maximum(ours[:, 3], 0.0) - 0.5))
    weights = 0.3 + alive * (0.6 + 0.2 * loaded)
    strength = 0.5 * (jnp.mean(alive) + jnp.mean(ours[:, 0]))
    threat = 0.5 * (jnp.mean(standing) + jnp.mean(theirs[:, 0]))
    win = jax.nn.sigmoid(4.0 * (strength - threat))
    value = 0.5 * win * (jnp.mean(theirs[:, 0]) + 1.0)
    return jnp.sum(weights * agent_qs, axis=0) + value
