"""A circular memory of windows that stores each fact once, in the narrowest type that holds it."""

import math

import jax
import jax.numpy as jnp
from flax import struct
from jax.typing import DTypeLike

from qllm_jax.envs.team import TeamEnv
from qllm_jax.training.rollout import Record
from qllm_jax.training.window import complete
from qllm_jax.types import Window

_TERMINATED, _TRUNCATED = 1, 2  # bits of Replay.ends


@struct.dataclass
class Replay:
    """C windows of one run. A window is one row of each leaf, so that it is added or drawn as one
    block of memory; a row is a window's `[T, ...]` or `[T - 1, ...]`, flat.
    """

    seen: jax.Array  # [C, T·prod(seen_shape)] in the storage type
    state: jax.Array | None  # [C, T·D] in the storage type; None where it follows from obs
    avail_actions: jax.Array | None  # [C, T·N·ceil(A / 8)] uint8, packed; None where all are
    actions: jax.Array  # [C, (T - 1)·N] uint8, or uint16 beyond 256 actions
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
    shapes = _window_shapes(env, window_length)

    def rows(name: str, row_dtype: DTypeLike) -> jax.Array:
        return jnp.zeros((capacity, math.prod(shapes[name])), row_dtype)

    return Replay(
        seen=rows("seen", dtype),
        state=rows("state", dtype) if "state" in shapes else None,
        avail_actions=rows("avail_actions", jnp.uint8) if "avail_actions" in shapes else None,
        actions=rows("actions", _action_dtype(env.num_actions)),
        reward=rows("reward", jnp.float32),
        ends=rows("ends", jnp.uint8),
    )


def _window_shapes(env: TeamEnv, window_length: int) -> dict[str, tuple[int, ...]]:
    """Shape of one window's part of every leaf that is stored, before it is made a row."""
    slots, acting, agents = window_length, window_length - 1, env.num_agents
    shapes: dict[str, tuple[int, ...]] = {
        "seen": (slots, *env.seen_shape),
        "actions": (acting, agents),
        "reward": (acting,),
        "ends": (acting,),
    }
    if env.state_from_obs is None:
        shapes["state"] = (slots, env.state_dim)
    if not env.all_actions_available:
        shapes["avail_actions"] = (slots, agents, (env.num_actions + 7) // 8)
    return shapes


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
        seen=record.seen,
        state=record.state,
        avail_actions=None if avail is None else jnp.packbits(avail, axis=-1),
        actions=record.actions,
        reward=record.reward,
        ends=record.terminated * jnp.uint8(_TERMINATED) + record.truncated * jnp.uint8(_TRUNCATED),
    )

    def write(memory: jax.Array, fact: jax.Array) -> jax.Array:
        block = jnp.swapaxes(fact, 0, 1).reshape(num_envs, -1).astype(memory.dtype)
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
    window_length = replay.reward.shape[1] + 1
    drawn = {
        name: jnp.swapaxes(getattr(replay, name)[indices].reshape(batch_size, *shape), 0, 1)
        for name, shape in _window_shapes(env, window_length).items()
    }
    state, avail, ends = drawn.get("state"), drawn.get("avail_actions"), drawn["ends"]
    record = Record(
        seen=drawn["seen"].astype(jnp.float32),
        state=None if state is None else state.astype(jnp.float32),
        avail_actions=None
        if avail is None
        else jnp.unpackbits(avail, axis=-1, count=env.num_actions).astype(bool),
        actions=drawn["actions"].astype(jnp.int32),
        reward=drawn["reward"],
        terminated=ends & _TERMINATED != 0,
        truncated=ends & _TRUNCATED != 0,
    )
    return complete(record, env)


def replay_bytes(env: TeamEnv, capacity: int, window_length: int, dtype: str) -> int:
    """Bytes of one run's memory, without allocating it."""
    shapes = jax.eval_shape(lambda: init_replay(env, capacity, window_length, dtype))
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))


def _action_dtype(num_actions: int) -> type:
    return jnp.uint8 if num_actions <= 256 else jnp.uint16
