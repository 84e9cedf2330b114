import jax
import jax.numpy as jnp


NUM_AGENTS = 3
BLOCK = 18
ASSIGNMENTS = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
COST_PER_STEP = 1.5  # (1 - local_ratio) * NUM_AGENTS
HORIZON = 6.0
SOFTNESS = 0.1
FLOOR = 0.5


def tfcaf(agent_qs, state):
    """Credit to the soft nearest agents; baseline from the cheapest assignment to landmarks."""
    blocks = jnp.reshape(state, (NUM_AGENTS, BLOCK))
    to_landmarks = jnp.reshape(blocks[:, 4:10], (NUM_AGENTS, 3, 2))
    distance = jnp.sqrt(jnp.sum(jnp.square(to_landmarks), axis=-1) + 1e-6)
    costs = jnp.stack([distance[0, a] + distance[1, b] + distance[2, c] for a, b, c in ASSIGNMENTS])
    cheapest = jnp.min(costs)
    excess = jnp.mean(jnp.exp((cheapest - costs) / SOFTNESS))
    travel = cheapest - SOFTNESS * jnp.log(excess)
    nearest = jax.nn.softmax(-distance / 0.3, axis=0)
    weights = FLOOR + (1.0 - FLOOR) * jnp.sum(nearest, axis=1)
    return jnp.sum(weights * agent_qs, axis=-1) - COST_PER_STEP * HORIZON * travel
