"""Collecting windows: B environments, T slots, ε-greedy play; time-major."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from qllm_jax.envs.team import TeamEnv
from qllm_jax.learning import epsilon_greedy_actions
from qllm_jax.networks import Agent
from qllm_jax.types import EnvState, Params, TimeStep


@struct.dataclass
class Record:
    """The facts of one window per environment: what cannot be computed from the rest.

    The final slot of a window only lends its observation to the bootstrap of the slot before it,
    so actions, rewards and ends have T − 1 slots.
    """

    seen: jax.Array  # [T, B, *seen_shape] float32, observations or what they follow from
    state: jax.Array | None  # [T, B, D] float32; None where it follows from obs
    avail_actions: jax.Array | None  # [T, B, N, A] bool; None where all are always available
    actions: jax.Array  # [T - 1, B, N] int32
    reward: jax.Array  # [T - 1, B] float32
    terminated: jax.Array  # [T - 1, B] bool
    truncated: jax.Array  # [T - 1, B] bool


@struct.dataclass
class _Carry:
    env_state: EnvState
    timestep: TimeStep
    hidden: jax.Array  # [B, N, H]
    reset: jax.Array  # [B] bool, this slot is the first of an episode
    last: jax.Array  # [B] bool, this slot holds the end of an episode


@jax.named_scope("collect")
def collect(
    key: jax.Array,
    agent_params: Params,
    epsilon: jax.Array,
    env: TeamEnv,
    agent: Agent,
    num_envs: int,
    window_length: int,
    act: Callable[..., jax.Array] = epsilon_greedy_actions,
) -> Record:
    """Play one window in each of B environments, from a reset.

    In a `last` slot the environment is reset instead of stepped.

    Args:
        key: Consumed.
        agent_params: Of the acting network.
        epsilon: `[]` exploration rate.
        env: The task's environment.
        agent: The acting network.
        num_envs: B.
        window_length: T slots.
        act: `(noise, outputs, avail_actions, epsilon) -> actions`, as in `Algorithm`.
    """
    reset_key, step_key, noise_key = jax.random.split(key, 3)
    shape = (window_length, num_envs)
    # Randomness is drawn for the whole window at once: fewer, larger operations than in the scan.
    reset_keys = jax.random.split(reset_key, shape)
    step_keys = jax.random.split(step_key, shape)
    noise = jax.random.uniform(noise_key, (*shape, env.num_agents, env.num_actions + 1))
    one_episode = env.fixed_length and window_length == env.episode_length + 1

    def body(carry: _Carry, slot: tuple[jax.Array, ...]) -> tuple[_Carry, Record]:
        step_keys_t, reset_keys_t, noise_t = slot
        seen = carry.timestep
        with jax.named_scope("acting"):
            hidden, outputs = agent.step(agent_params, carry.hidden, seen.obs, carry.reset)
            actions = act(noise_t, outputs, seen.avail_actions, epsilon)
        with jax.named_scope("environment"):
            env_state, timestep = jax.vmap(env.step)(step_keys_t, carry.env_state, actions)
            if not one_episode:
                fresh = jax.vmap(env.reset)(reset_keys_t)
                env_state, timestep = _where_rows(carry.last, fresh, (env_state, timestep))
        record = dataclasses.replace(
            _record(env, carry.env_state, seen),
            actions=actions,
            reward=timestep.reward,
            terminated=timestep.terminated,
            truncated=timestep.truncated,
        )
        new_carry = _Carry(
            env_state=env_state,
            timestep=timestep,
            hidden=hidden,
            reset=jnp.zeros_like(carry.reset) if one_episode else carry.last,
            last=timestep.terminated | timestep.truncated,
        )
        return new_carry, record

    env_state, timestep = jax.vmap(env.reset)(reset_keys[0])
    start = _Carry(
        env_state=env_state,
        timestep=timestep,
        hidden=agent.initial_hidden(num_envs),
        reset=jnp.ones((num_envs,), bool),
        last=jnp.zeros((num_envs,), bool),
    )
    slots = jax.tree.map(lambda leaf: leaf[1:], (step_keys, reset_keys, noise))
    end, acted = jax.lax.scan(body, start, slots)
    final = _record(env, end.env_state, end.timestep)

    def append(slots: Any, last_slot: Any) -> Any:
        return jax.tree.map(lambda a, b: jnp.concatenate([a, b[None]]), slots, last_slot)

    return dataclasses.replace(
        acted,
        seen=append(acted.seen, final.seen),
        state=append(acted.state, final.state),
        avail_actions=append(acted.avail_actions, final.avail_actions),
    )


def _record(env: TeamEnv, env_state: EnvState, timestep: TimeStep) -> Record:
    """What a slot's observation contributes; the rest is filled in by acting."""
    nothing = jnp.zeros(())
    return Record(
        seen=timestep.obs if env.obs_code is None else jax.vmap(env.obs_code.encode)(env_state),
        state=timestep.state if env.state_from_obs is None else None,
        avail_actions=None if env.all_actions_available else timestep.avail_actions,
        actions=nothing,
        reward=nothing,
        terminated=nothing,
        truncated=nothing,
    )


def _where_rows(condition: jax.Array, if_true: Any, if_false: Any) -> Any:
    """Choose rows of trees by `condition [B]`."""

    def choose(a: jax.Array, b: jax.Array) -> jax.Array:
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            return jnp.where(condition.reshape(-1, *[1] * (a.ndim - 1)), a, b)
        return jnp.where(condition.reshape(-1, *[1] * (a.ndim - 1)), a, b.astype(a.dtype))

    return jax.tree.map(choose, if_true, if_false)
