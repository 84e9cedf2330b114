"""Random play: states to verify on, and what random play scores."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from qllm_jax.envs.team import TeamEnv
from qllm_jax.errors import UserError
from qllm_jax.tasks.spec import TaskSpec
from qllm_jax.types import EnvState, TimeStep

_LEAST_ENVS = 8


@struct.dataclass
class Rollout:
    """T slots of B environments, time-major; a slot after the end of an episode is a reset."""

    env_states: EnvState  # [T, B, ...]
    steps: TimeStep  # [T, B, ...]
    actions: jax.Array  # [T, B, N] int32, chosen in the slot; meaningless in a last slot


def random_actions(key: jax.Array, avail_actions: jax.Array) -> jax.Array:
    """One legal action per agent, uniformly: `[N, A] bool -> [N] int32`."""
    logits = jnp.where(avail_actions, 0.0, -jnp.inf)
    return jax.random.categorical(key, logits).astype(jnp.int32)


def _random_policy(key: jax.Array, env_state: EnvState, step: TimeStep) -> jax.Array:
    del env_state
    return random_actions(key, step.avail_actions)


@functools.lru_cache(maxsize=64)
def _rollout_fn(env: TeamEnv, policy: Callable, num_envs: int, num_slots: int):
    def one_slot(carry, key):
        env_states, steps = carry
        key_action, key_step, key_reset = jax.random.split(key, 3)
        actions = jax.vmap(policy)(jax.random.split(key_action, num_envs), env_states, steps)
        stepped = jax.vmap(env.step)(jax.random.split(key_step, num_envs), env_states, actions)
        fresh = jax.vmap(env.reset)(jax.random.split(key_reset, num_envs))
        over = steps.terminated | steps.truncated

        def choose(new, old):
            return jnp.where(over.reshape(over.shape + (1,) * (old.ndim - 1)), new, old)

        return jax.tree.map(choose, fresh, stepped), Rollout(env_states, steps, actions)

    @jax.jit
    def run(key):
        key_reset, key_slots = jax.random.split(key)
        first = jax.vmap(env.reset)(jax.random.split(key_reset, num_envs))
        return jax.lax.scan(one_slot, first, jax.random.split(key_slots, num_slots))[1]

    return run


def rollout(
    env: TeamEnv,
    key: jax.Array,
    num_envs: int,
    num_slots: int,
    policy: Callable[[jax.Array, Any, TimeStep], jax.Array] = _random_policy,
) -> Rollout:
    """Play `num_slots` slots in `num_envs` environments; ended episodes are reset.

    Args:
        env: The stacked environment.
        key: Consumed.
        num_envs: B.
        num_slots: T; an episode of L steps takes L + 1 slots.
        policy: `(key, env_state, TimeStep) -> actions [N]`; random legal actions by default.
    """
    return _rollout_fn(env, policy, num_envs, num_slots)(key)


@dataclasses.dataclass(frozen=True)
class Finished:
    """The episodes that ended inside a rollout.

    Attributes:
        returns: Sum of team rewards, `[K]`.
        lengths: Steps, `[K]`.
        outcomes: The task's second measure, `[K]`; zeros where it has none.
        first: Whether it is its environment's first episode, `[K]` bool. Means are over these: of
            the later ones a rollout holds more short ones than long ones.
    """

    returns: np.ndarray
    lengths: np.ndarray
    outcomes: np.ndarray
    first: np.ndarray


def finished_episodes(spec: TaskSpec, played: Rollout) -> Finished:
    """Returns, lengths and outcomes of the episodes that ended inside a rollout.

    Slot t's reward is what led to slot t, so an episode's return is the sum over its slots but
    the first, whose reward is 0.
    """
    rewards = np.asarray(played.steps.reward, np.float64)
    outcomes = np.zeros_like(rewards)
    if spec.outcome is not None:
        by_step = jax.jit(jax.vmap(jax.vmap(spec.outcome.step_fn)))
        outcomes = np.asarray(by_step(played.env_states, played.steps.reward), np.float64)
    over = np.asarray(played.steps.terminated | played.steps.truncated)
    rows = []
    for env in range(rewards.shape[1]):
        start = 0
        for slot in np.flatnonzero(over[:, env]).tolist():
            steps = slice(start + 1, slot + 1)
            sums = rewards[steps, env].sum(), slot - start, outcomes[steps, env].sum()
            rows.append((*sums, start == 0))
            start = slot + 1
    returns, lengths, totals, first = np.asarray(rows, np.float64).reshape(-1, 4).T
    return Finished(returns, lengths.astype(int), totals, first.astype(bool))


def rollout_states(spec: TaskSpec, key: jax.Array, num_states: int) -> np.ndarray:
    """Global states that random legal play visits, `[num_states, D]` float32.

    Whole episodes are played and slots drawn from them without repetition, so that starts, ends
    and what lies between occur in proportion.

    Args:
        spec: The task.
        key: Consumed.
        num_states: K.

    Raises:
        UserError: fewer than one state is asked for.
    """
    if num_states < 1:
        raise UserError(f"num_states is {num_states}; ask for at least 1.")
    key_play, key_draw = jax.random.split(key)
    num_slots = spec.env.episode_length + 1
    num_envs = max(_LEAST_ENVS, -(-num_states // num_slots))
    states = rollout(spec.env, key_play, num_envs, num_slots).steps.state
    drawn = jax.random.permutation(key_draw, num_slots * num_envs)[:num_states]
    return np.asarray(states.reshape(-1, states.shape[-1])[drawn], np.float32)
