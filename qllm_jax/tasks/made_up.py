"""Environment states to fill in, and the global states of those that random play does not reach."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def blank_state(raw: Any) -> Any:
    """A `MultiAgentEnv`'s own state of zeros, of NumPy arrays."""
    _, start = jax.eval_shape(raw.reset, jax.random.key(0))
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), start)


def observe_each(
    raw: Any, agents: Sequence[str], inner: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """The agents' concatenated observations of environment states, by name, each `[1, D]`.

    Args:
        raw: A `MultiAgentEnv` with `get_obs`.
        agents: Whose observations make up the state.
        inner: The environment's own states by name, all of one structure.
    """

    @jax.jit
    @jax.vmap
    def observe(state):
        obs = raw.get_obs(state)
        return jnp.concatenate([obs[agent].reshape(-1) for agent in agents]).astype(jnp.float32)

    states = np.asarray(observe(jax.tree.map(lambda *leaves: jnp.stack(leaves), *inner.values())))
    return {name: states[i : i + 1] for i, name in enumerate(inner)}
