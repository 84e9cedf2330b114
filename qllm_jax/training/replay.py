"""A circular memory of windows that stores each fact once, in the narrowest type that holds it."""

import jax
import jax.numpy as jnp
from flax import struct

from qllm_jax.envs.team import TeamEnv
from qllm_jax.training.rollout import Record
from qllm_jax.training.window import complete
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


@jax.named_scope("replay_add")
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


@jax.named_scope("replay_sample")
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
    record = Record(
        obs=drawn.obs.astype(jnp.float32),
        state=None if drawn.state is None else drawn.state.astype(jnp.float32),
        avail_actions=None
        if drawn.avail_actions is None
        else jnp.unpackbits(drawn.avail_actions, axis=-1, count=env.num_actions).astype(bool),
        actions=drawn.actions.astype(jnp.int32),
        reward=drawn.reward,
        terminated=drawn.ends & _TERMINATED != 0,
        truncated=drawn.ends & _TRUNCATED != 0,
    )
    return complete(record, env)


def replay_bytes(env: TeamEnv, capacity: int, window_length: int, dtype: str) -> int:
    """Bytes of one run's memory, without allocating it."""
    shapes = jax.eval_shape(lambda: init_replay(env, capacity, window_length, dtype))
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))


def _action_dtype(num_actions: int) -> type:
    return jnp.uint8 if num_actions <= 256 else jnp.uint16
