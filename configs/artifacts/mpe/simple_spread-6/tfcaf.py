import jax.numpy as jnp

NUM_AGENTS = 6
BLOCK = 36
SOFTNESS = 0.2
ROUNDS = 8
COST_PER_STEP = 3.0  # (1 - local_ratio) * NUM_AGENTS
HORIZON = 5.0


def tfcaf(agent_qs, state):
    """Credit for what an agent has still to travel; baseline from a soft assignment."""
    blocks = jnp.reshape(state, (NUM_AGENTS, BLOCK))
    to_landmarks = jnp.reshape(blocks[:, 4:16], (NUM_AGENTS, NUM_AGENTS, 2))
    distance = jnp.sqrt(jnp.sum(jnp.square(to_landmarks), axis=-1) + 1e-6)
    closest = jnp.min(distance, axis=1, keepdims=True)
    shares = jnp.exp((closest - distance) / SOFTNESS) + 0.0001
    for _ in range(ROUNDS):
        shares = shares / jnp.sum(shares, axis=0, keepdims=True)
        shares = shares / jnp.sum(shares, axis=1, keepdims=True)
    travel = jnp.sum(shares * distance, axis=1)
    weights = 1.0 + 0.25 * jnp.tanh(travel - jnp.mean(travel))
    total = jnp.sum(travel)
    return jnp.sum(weights * agent_qs, axis=-1) - COST_PER_STEP * HORIZON * total
