import jax.numpy as jnp

ROWS, COLUMNS, KINDS = 6, 9, 3
CHANNELS = 25 + 5 * KINDS
HELD, LIES, SHOWN = 5, 20 + 3 * KINDS, 22 + 4 * KINDS  # each: plate, cooked, then the counts
POT, TIMER = 16 + 2 * KINDS, CHANNELS - 1


def tfcaf(agent_qs, state):
    """Plain sum plus the stages of the soup, things on their way included."""
    views = jnp.reshape(state, (2, ROWS * COLUMNS, CHANNELS))
    held = jnp.sum(views[:, :, HELD:HELD + 2 + KINDS], axis=1)
    kitchen = views[0]
    recipe = jnp.max(kitchen[:, SHOWN + 2:SHOWN + 2 + KINDS], axis=0)
    counts = kitchen[:, LIES + 2:LIES + 2 + KINDS]
    spoilt = jnp.sum(jnp.maximum(counts - recipe, 0.0), axis=1) > 0.0
    pot = jnp.where(spoilt, 0.0, kitchen[:, POT])
    in_pot = jnp.max(pot * jnp.sum(counts, axis=1))
    ready = jnp.max(pot * kitchen[:, LIES + 1])
    wrong = jnp.sum(jnp.abs(held[:, 2:] - recipe), axis=1)
    soup = jnp.where(wrong > 0.0, 0.0, held[:, 1])
    open_pot = pot * (1.0 - kitchen[:, LIES + 1]) * (kitchen[:, TIMER] == 0.0)
    missing = jnp.max(open_pot[:, None] * jnp.clip(recipe - counts, 0.0, 1.0), axis=0)
    brings = jnp.sum(held[:, 2:] * missing, axis=1) * (1.0 - held[:, 1])
    fetches = held[:, 0] * (1.0 - held[:, 1]) * jnp.where(in_pot >= 3.0, 1.0, 0.0)
    coming = jnp.minimum(jnp.sum(brings), 3.0 - in_pot) + jnp.minimum(jnp.sum(fetches), 1.0)
    progress = jnp.maximum(in_pot + ready + 0.5 * coming, 5.0 * jnp.max(soup))
    return jnp.sum(agent_qs, axis=0) + 1.4 * progress
