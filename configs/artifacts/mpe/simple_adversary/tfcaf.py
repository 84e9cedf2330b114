import jax.numpy as jnp

NUM_AGENTS = 2
BLOCK = 10
HORIZON = 8.0
SOFTNESS = 0.1


def tfcaf(agent_qs, state):
    """Plain sum plus eight steps of the present team reward, smooth where agents tie."""
    blocks = jnp.reshape(state, (NUM_AGENTS, BLOCK))
    goal, adversary = blocks[:, 0:2], blocks[:, 6:8]
    ours = jnp.sqrt(jnp.sum(jnp.square(goal), axis=-1) + 1e-6)
    theirs = jnp.sqrt(jnp.sum(jnp.square(goal - adversary), axis=-1) + 1e-6)
    nearest = jnp.min(ours)
    excess = jnp.mean(jnp.exp((nearest - ours) / SOFTNESS))
    reward = jnp.mean(theirs) - (nearest - SOFTNESS * jnp.log(excess))
    return jnp.sum(agent_qs, axis=-1) + HORIZON * reward
