import jax
import jax.numpy as jnp

ALLIES = 6
ENEMIES = 8
UNITS = ALLIES + ENEMIES
UNIT = 10  # health, x, y, cooldown, six type bits
REACH = 5.0
STRIKE = 3.0  # a zealot strikes at 2; one more unit is a step of walking


def tfcaf(agent_qs, state):
    """Credit for allies that can fire or must run; value from numbers and health."""
    units = jnp.reshape(state[:UNITS * UNIT], (UNITS, UNIT))
    ours, theirs = units[:ALLIES], units[ALLIES:]
    alive = (ours[:, 0] > 0.0).astype(jnp.float32)
    standing = (theirs[:, 0] > 0.0).astype(jnp.float32)
    gap = ours[:, None, 1:3] - theirs[None, :, 1:3]
    distance = jnp.sqrt(jnp.sum(jnp.square(gap), axis=-1) + 1e-6)
    distance = jnp.where(standing[None] > 0.5, distance, 45.0)
    closest = jnp.min(distance, axis=1)
    loaded = jax.nn.sigmoid(-4.0 * (jnp.maximum(ours[:, 3], 0.0) - 0.5))
    can_fire = loaded * jax.nn.sigmoid((REACH - closest) / 0.5)
    must_run = jax.nn.sigmoid((STRIKE - closest) / 0.5)
    weights = 0.3 + alive * (0.5 + 0.25 * can_fire + 0.25 * must_run)
    strength = 0.5 * (jnp.mean(alive) + jnp.mean(ours[:, 0]))
    threat = 0.5 * (jnp.mean(standing) + jnp.mean(theirs[:, 0]))
    win = jax.nn.sigmoid(4.0 * (strength - threat))
    value = 0.5 * win * (jnp.mean(theirs[:, 0]) + 1.0)
    return jnp.sum(weights * agent_qs, axis=0) + value
