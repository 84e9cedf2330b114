import jax
import jax.numpy as jnp

ALLIES = 8
ENEMIES = 8
UNITS = ALLIES + ENEMIES
UNIT = 10  # health, x, y, cooldown, six type bits
RANGE = 5.0  # map units, of a marine


def tfcaf(agent_qs, state):
    """Credit for living allies that can strike now; value of the battle by numbers and health."""
    units = jnp.reshape(state[:UNITS * UNIT], (UNITS, UNIT))
    ours, theirs = units[:ALLIES], units[ALLIES:]
    alive = (ours[:, 0] > 0.0).astype(jnp.float32)
    standing = (theirs[:, 0] > 0.0).astype(jnp.float32)
    gap = ours[:, None, 1:3] - theirs[None, :, 1:3]
    distance = jnp.sqrt(jnp.sum(jnp.square(gap), axis=-1) + 1e-6)
    distance = jnp.where(standing[None] > 0.5, distance, 45.0)
    loaded = jax.nn.sigmoid(-4.0 * (jnp.maximum(ours[:, 3], 0.0) - 0.5))
    can_strike = loaded * jax.nn.sigmoid((RANGE + 0.5 - jnp.min(distance, axis=1)) / 0.5)
    weights = 0.3 + alive * (0.6 + 0.3 * can_strike)
    ours_left, theirs_left = jnp.sum(ours[:, 0]), jnp.sum(theirs[:, 0])
    odds = (
        jnp.log(jnp.sum(alive) * ours_left + 1.0) - jnp.log(jnp.sum(standing) * theirs_left + 1.0)
    )
    win = jax.nn.sigmoid(0.5 * odds)
    value = 0.5 * win * (theirs_left / ENEMIES + 1.0)
    return jnp.sum(weights * agent_qs, axis=0) + value
