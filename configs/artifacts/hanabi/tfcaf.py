import jax.numpy as jnp

NUM_AGENTS = 2
BLOCK = 176
CARDS = 5
COLOURS = 5
RANKS = 5
FIREWORKS = 352


def tfcaf(agent_qs, state):
    """Credit by turn; value of the playable cards in hand, known ones twice."""
    blocks = jnp.reshape(state[:NUM_AGENTS * BLOCK], (NUM_AGENTS, BLOCK))
    weights = 0.4 + 1.2 * blocks[:, 0]
    cards = jnp.reshape(blocks[:, 1:126], (NUM_AGENTS, CARDS, COLOURS, RANKS))
    hints = jnp.reshape(blocks[:, 126:176], (NUM_AGENTS, CARDS, COLOURS + RANKS))
    gap = jnp.arange(RANKS)[None] - state[FIREWORKS:FIREWORKS + COLOURS][:, None]
    wanted = jnp.exp(-8.0 * jnp.square(gap))
    playable = jnp.sum(cards * wanted[None, None], axis=(2, 3))
    known = jnp.clip(0.5 * jnp.sum(hints, axis=2), 0.0, 1.0)
    value = jnp.sum(playable * (1.0 + known), axis=(0, 1)) / 3.0
    return jnp.sum(weights * agent_qs, axis=-1) + value
