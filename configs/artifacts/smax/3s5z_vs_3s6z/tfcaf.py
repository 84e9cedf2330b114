import jax
import jax.numpy as jnp

ALLIES = 8
ENEMIES = 9
UNITS = ALLIES + ENEMIES
UNIT = 10  # health, x, y, cooldown, six type bits
FULL = (45.0, 125.0, 160.0, 150.0, 35.0, 80.0)  # full health by type bit
RATE = (14.8, 9.3, 7.0, 9.3, 10.0, 20.3)  # damage per second: damage / cooldown
RANGE = (5.0, 6.0, 6.0, 2.0, 2.0, 5.0)


def tfcaf(agent_qs, state):
    """Credit for living allies that can strike now; value of the battle by strength of units."""
    units = jnp.reshape(state[:UNITS * UNIT], (UNITS, UNIT))
    ours, theirs = units[:ALLIES], units[ALLIES:]
    alive = (ours[:, 0] > 0.0).astype(jnp.float32)
    standing = (theirs[:, 0] > 0.0).astype(jnp.float32)
    gap = ours[:, None, 1:3] - theirs[None, :, 1:3]
    distance = jnp.sqrt(jnp.sum(jnp.square(gap), axis=-1) + 1e-6)
    distance = jnp.where(standing[None] > 0.5, distance, 45.0)
    closest = jnp.min(distance, axis=1)
    reach = jnp.sum(ours[:, 4:10] * jnp.array(RANGE), axis=1)
    loaded = jax.nn.sigmoid(-4.0 * (jnp.maximum(ours[:, 3], 0.0) - 0.5))
    can_strike = loaded * jax.nn.sigmoid((reach + 0.5 - closest) / 0.5)
    weights = 0.3 + alive * (0.6 + 0.3 * can_strike)
    full, rate = jnp.array(FULL), jnp.array(RATE)
    ours_left = jnp.sum(ours[:, 0] * jnp.sum(ours[:, 4:10] * full, axis=1))
    theirs_left = jnp.sum(theirs[:, 0] * jnp.sum(theirs[:, 4:10] * full, axis=1))
    ours_fire = jnp.sum(ours[:, 4:10] * rate)
    theirs_fire = jnp.sum(theirs[:, 4:10] * rate)
    our_side = jnp.maximum(ours_left * ours_fire, 0.0)
    their_side = jnp.maximum(theirs_left * theirs_fire, 0.0)
    odds = jnp.log(our_side + 1.0) - jnp.log(their_side + 1.0)
    win = jax.nn.sigmoid(0.5 * jnp.clip(odds, -8.0, 8.0))
    value = 0.5 * win * (jnp.mean(theirs[:, 0]) + 1.0)
    return jnp.sum(weights * agent_qs, axis=0) + value
