import jax.numpy as jnp

ROWS, COLUMNS, CHANNELS = 5, 9, 26
SELF, POT, IN_POT, SOUP, READY, PLATE, ONION = 0, 10, 16, 18, 21, 22, 23


def tfcaf(agent_qs, state):
    """Stages of the soups, things on their way included; a little credit for holding them."""
    views = jnp.reshape(state, (2, ROWS * COLUMNS, CHANNELS))
    here, kitchen = views[:, :, SELF], views[0]
    pots = jnp.sum(kitchen[:, POT])
    in_pot = jnp.sum(kitchen[:, IN_POT])
    cooking = jnp.sum(kitchen[:, POT] * kitchen[:, SOUP]) / 3.0
    holds_soup = jnp.sum(here * views[:, :, SOUP], axis=1) / 3.0
    holds_plate = jnp.sum(here * views[:, :, PLATE], axis=1)
    holds_onion = jnp.sum(here * views[:, :, ONION], axis=1)
    ready = jnp.sum(kitchen[:, POT] * kitchen[:, READY])
    room = jnp.maximum(3.0 * (pots - cooking) - in_pot, 0.0)
    onions = jnp.minimum(jnp.maximum(jnp.sum(kitchen[:, ONION]), 0.0), room)
    plates = jnp.minimum(jnp.maximum(jnp.sum(kitchen[:, PLATE]), 0.0), jnp.maximum(cooking, 0.0))
    carried = jnp.sum(holds_soup)
    progress = in_pot + 4.0 * cooking + ready + 6.0 * carried + 0.5 * onions + 0.5 * plates
    wanted_onion = jnp.minimum(room, 1.0) * holds_onion
    wanted_plate = jnp.clip(cooking, 0.0, 1.0) * holds_plate
    needed = holds_soup + wanted_onion + wanted_plate
    weights = 0.925 + 0.15 * jnp.clip(needed, 0.0, 1.0)
    return jnp.sum(weights * agent_qs, axis=0) + 1.4 * progress
