"""From what was recorded to what the loss reads."""

import jax
import jax.numpy as jnp

from qllm_jax.envs.team import TeamEnv
from qllm_jax.training.rollout import Record
from qllm_jax.types import Window


def complete(record: Record, env: TeamEnv) -> Window:
    """Work out everything that a record leaves out because it follows from the rest.

    Args:
        record: `[T, B, ...]`, rewards as they were received.
        env: Says how observations and states follow from what was recorded.

    Returns:
        `[T, B, ...]`; in the final slot, in which nobody acts, actions and rewards are zeros.
    """
    avail_actions, state = record.avail_actions, record.state
    obs = record.seen
    if env.obs_code is not None:
        obs = jax.vmap(jax.vmap(env.obs_code.decode))(record.seen)
    if state is None:
        assert env.state_from_obs is not None, "states are left out only where they follow"
        state = jax.vmap(jax.vmap(env.state_from_obs))(obs)
    if avail_actions is None:
        avail_actions = jnp.ones((*obs.shape[:2], env.num_agents, env.num_actions), bool)
    terminated, truncated = _pad_slot(record.terminated), _pad_slot(record.truncated)
    first = jnp.ones((1, obs.shape[1]), bool)
    last = jnp.concatenate([~first, (terminated | truncated)[:-1]])
    return Window(
        obs=obs,
        state=state,
        avail_actions=avail_actions,
        actions=_pad_slot(record.actions),
        reward=_pad_slot(record.reward),
        terminated=terminated,
        truncated=truncated,
        reset=jnp.concatenate([first, last[:-1]]),
        last=last,
    )


def _pad_slot(array: jax.Array) -> jax.Array:
    """`[T - 1, ...]` → `[T, ...]` with zeros in the slot that nobody acts in."""
    return jnp.concatenate([array, jnp.zeros_like(array[:1])])
