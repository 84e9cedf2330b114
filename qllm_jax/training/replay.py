"""A circular memory of windows that stores each fact once, in the narrowest type that holds it."""

import jax
import jax.numpy as jnp
from flax import struct

from qllm_jax.envs.team import TeamEnv
from qllm_jax.training.rollout import Record
from qllm_jax.types import Window

_TERMINATED, _TRUNCATED = 1, 2  # bits of Replay.ends


@struct.dataclass
class Replay:
    """C windows of one run, window-major so that one is added or drawn as one block."""

    obs: jax.Array  # [C, T, N, ...] in the storage type
    state: jax.Array | None  # [C, T, D] in the storage type; None where it follows from obs
    avail_actions: jax.Array | None  # [C, T, N, ceil(A / 8)] uint8, packed; None where all are
    actions: jax.Array  # [C, T - 1, N] uint8, or uint16 beyond 256 actions
    reward: jax.Array  # [C, T - 1] float32
    ends: jax.Array  # [C, T - 1] uint8, bits: terminated, truncated


def init_replay(env: TeamEnv, capacity: int, window_length: int, dtype: str) -> Replay:
    """An empty memory.

    Args:
        env: Says what has to be stored.
        capacity: C windows.
        window_length: T slots.
        dtype: Storage type of observations and states.
    """
    num_agents, slots = env.num_agents, (capacity, window_length)
    acting_slots = (capacity, window_length - 1)
    return Replay(
        obs=jnp.zeros((*slots, num_agents, *env.obs_shape), dtype),
        state=jnp.zeros((*slots, env.state_dim), dtype) if env.state_from_obs is None else None,
        avail_actions=None
        if env.all_actions_available
        else jnp.zeros((*slots, num_agents, (env.num_actions + 7) // 8), jnp.uint8),
        actions=jnp.zeros((*acting_slots, num_agents), _action_dtype(env.num_actions)),
        reward=jnp.zeros(acting_slots, jnp.float32),
        ends=jnp.zeros(acting_slots, jnp.uint8),
    )


def add(replay: Replay, record: Record, index: jax.Array) -> Replay:
    """Store one window per environment, overwriting the oldest.

    Args:
        replay: The memory; C is a multiple of B.
        record: `[T, B, ...]`.
        index: `[]` int32, how many records were added before. The same in every run, so that the
            write stays a slice update under vmap.
    """
    capacity, num_envs = replay.reward.shape[0], record.reward.shape[1]
    assert capacity % num_envs == 0, "make_schedule lets only multiples through"
    start = (index * num_envs) % capacity
    avail = record.avail_actions
    facts = Replay(
        obs=record.obs,
        state=record.state,
        avail_actions=None if avail is None else jnp.packbits(avail, axis=-1),
        actions=record.actions,
        reward=record.reward,
        ends=record.terminated * jnp.uint8(_TERMINATED) + record.truncated * jnp.uint8(_TRUNCATED),
    )

    def write(memory: jax.Array, fact: jax.Array) -> jax.Array:
        block = jnp.swapaxes(fact, 0, 1).astype(memory.dtype)
        return jax.lax.dynamic_update_slice_in_dim(memory, block, start, axis=0)

    return jax.tree.map(write, replay, facts)


def sample(
    key: jax.Array, replay: Replay, num_filled: jax.Array, batch_size: int, env: TeamEnv
) -> Window:
    """Draw windows uniformly, with replacement.

    Args:
        key: Consumed.
        replay: The memory.
        num_filled: `[]` int32 in [1, C], windows that hold experience.
        batch_size: Windows to draw.
        env: Recomputes what was not stored.

    Returns:
        `[T, batch_size, ...]`, with rewards as they were received.
    """
    indices = jax.random.randint(key, (batch_size,), 0, num_filled)
    drawn = jax.tree.map(lambda memory: jnp.swapaxes(memory[indices], 0, 1), replay)
    obs = drawn.obs.astype(jnp.float32)
    if env.state_from_obs is None:
        state = drawn.state.astype(jnp.float32)
    else:
        state = jax.vmap(jax.vmap(env.state_from_obs))(obs)
    shape = (*obs.shape[:2], env.num_agents, env.num_actions)
    if env.all_actions_available:
        avail_actions = jnp.ones(shape, bool)
    else:
        unpacked = jnp.unpackbits(drawn.avail_actions, axis=-1, count=env.num_actions)
        avail_actions = unpacked.astype(bool)
    terminated = _pad_slot(drawn.ends & _TERMINATED != 0)
    truncated = _pad_slot(drawn.ends & _TRUNCATED != 0)
    first = jnp.ones((1, batch_size), bool)
    last = jnp.concatenate([~first, (terminated | truncated)[:-1]])
    return Window(
        obs=obs,
        state=state,
        avail_actions=avail_actions,
        actions=_pad_slot(drawn.actions.astype(jnp.int32)),
        reward=_pad_slot(drawn.reward),
        terminated=terminated,
        truncated=truncated,
        reset=jnp.concatenate([first, last[:-1]]),
        last=last,
    )


def replay_bytes(env: TeamEnv, capacity: int, window_length: int, dtype: str) -> int:
    """Bytes of one run's memory, without allocating it."""
    shapes = jax.eval_shape(lambda: init_replay(env, capacity, window_length, dtype))
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))


def _action_dtype(num_actions: int) -> type:
    return jnp.uint8 if num_actions <= 256 else jnp.uint16


def _pad_slot(array: jax.Array) -> jax.Array:
    """`[T - 1, ...]` → `[T, ...]` with zeros in the slot that nobody acts in."""
    return jnp.concatenate([array, jnp.zeros_like(array[:1])])
