import jax.numpy as jnp

NUM_AGENTS = 3
BLOCK = 16
REACH = 0.4
PAY = 10.0  # one touch


def tfcaf(agent_qs, state):
    """Credit for standing in the prey's way; value of a ring around it."""
    blocks = jnp.reshape(state, (NUM_AGENTS, BLOCK))
    to_prey = blocks[:, 12:14]
    prey_velocity = blocks[:, 14:16]
    distance = jnp.sqrt(jnp.sum(jnp.square(to_prey), axis=-1) + 1e-6)
    side = -to_prey / distance[:, None]
    approach = jnp.sum(prey_velocity * side, axis=-1)
    near = jnp.exp(-distance / REACH)
    weights = 1.0 + 0.25 * jnp.tanh(2.0 * approach * jnp.sqrt(near))
    lean = jnp.mean(side, axis=0)
    ring = 1.0 - jnp.sqrt(jnp.sum(jnp.square(lean)) + 1e-6)
    return jnp.sum(weights * agent_qs, axis=-1) + PAY * jnp.mean(near) * (0.3 + 0.7 * ring)
