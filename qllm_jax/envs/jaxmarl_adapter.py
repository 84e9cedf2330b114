"""From JaxMARL's dictionaries to stacked arrays: a `MultiAgentEnv` becomes a `TeamEnv`.

Nothing here looks at an environment's name: what differs between environments (team reward,
global state, legal actions, what counts as an ending) is passed in by the catalog.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from qllm_jax.envs.team import TeamEnv
from qllm_jax.errors import UserError
from qllm_jax.types import EnvState, TimeStep

Observations = Mapping[str, jax.Array]
RewardFn = Callable[[Mapping[str, jax.Array], Mapping[str, Any]], jax.Array]  # and infos -> []
StateFn = Callable[[EnvState, Observations], jax.Array]  # (inner state, obs by agent) -> [D]
AvailFn = Callable[[EnvState], Mapping[str, jax.Array]]  # inner state -> [A_i] by agent
TerminatedFn = Callable[[EnvState, jax.Array], jax.Array]  # (inner state, done []) -> [] bool
OpponentFn = Callable[[jax.Array, EnvState, Observations], Mapping[str, jax.Array]]


@dataclasses.dataclass(frozen=True)
class Opponent:
    """A fixed policy with memory for the agents that are not controlled.

    Attributes:
        init: `() -> memory`, any pytree of arrays, at every reset.
        act: `(key, memory, inner state, obs by opponent) -> (actions by opponent, memory)`.
    """

    init: Callable[[], Any]
    act: Callable[[jax.Array, Any, EnvState, Observations], tuple[Mapping[str, jax.Array], Any]]


def memoryless(opponent_fn: OpponentFn) -> Opponent:
    """`(key, inner state, obs by opponent) -> actions by opponent` as an `Opponent`."""
    return Opponent(
        init=lambda: (),
        act=lambda key, memory, inner, obs: (opponent_fn(key, inner, obs), memory),
    )


@struct.dataclass
class AdapterState:
    """The adapted environment's own state, and what the adapter keeps beside it."""

    inner: EnvState
    num_steps: jax.Array  # [] int32, steps since the reset
    opponent_obs: Observations  # observations of uncontrolled agents; empty without opponents
    opponent_memory: Any  # what their policy remembers


def sum_rewards(agents: Sequence[str]) -> RewardFn:
    """The team reward as the sum over `agents`."""
    return lambda rewards, infos: jnp.stack([rewards[agent] for agent in agents]).sum(axis=0)


def one_reward(agent: str) -> RewardFn:
    """The team reward where every agent is paid the same shared one."""
    return lambda rewards, infos: rewards[agent]


def make_team_env(
    env: Any,
    *,
    name: str,
    episode_length: int,
    agents: Sequence[str] | None = None,
    reward_fn: RewardFn | None = None,
    state_fn: StateFn | None = None,
    avail_fn: AvailFn | None = None,
    terminated_fn: TerminatedFn | None = None,
    opponent: Opponent | None = None,
    fixed_length: bool = False,
    done_at_limit_truncates: bool = False,
) -> TeamEnv:
    """Adapt a JaxMARL `MultiAgentEnv` (`reset`, `step_env`, spaces, string agents).

    The time limit is the adapter's: the episode is truncated by its `episode_length`-th step
    unless that step terminates it. Build `env` with a longer limit of its own, or say with
    `terminated_fn` which of its endings are real.

    Args:
        env: The environment; `step_env` is called, so it never resets itself.
        name: Task id, for messages.
        episode_length: The time limit in steps, exact.
        agents: Names of the controlled agents in stacking order; all of `env.agents` by default.
        reward_fn: `(rewards by agent, infos) -> []`, the team reward; the controlled agents' sum
            by default.
        state_fn: `(inner state, obs by agent) -> [D]`; by default the controlled agents'
            observations, flattened and concatenated without padding.
        avail_fn: `inner state -> legal actions by agent`; every action of an agent's space by
            default.
        terminated_fn: `(inner state after the step, dones["__all__"]) -> bool`; by default the
            environment's own `dones["__all__"]`.
        opponent: Who plays the agents that are left over; needed exactly where there are some.
        fixed_length: True where no episode ends before `episode_length`.
        done_at_limit_truncates: Where the environment's own limit cannot be told from its other
            endings: an ending in the `episode_length`-th step counts as the time limit.

    Raises:
        UserError: an unknown agent, opponents without a policy, an action space that is not
            discrete, or observations that cannot be stacked.
    """
    controlled = tuple(env.agents if agents is None else agents)
    opponents = tuple(agent for agent in env.agents if agent not in controlled)
    _check_agents(name, env, controlled, opponents, opponent)
    action_counts = tuple(_num_actions(name, env, agent) for agent in controlled)
    num_actions = max(action_counts)
    obs_shapes = _obs_shapes(env, controlled)
    obs_shape = _stacked_shape(name, obs_shapes)
    reward_of = reward_fn or sum_rewards(controlled)
    all_legal = jnp.arange(num_actions)[None] < jnp.asarray(action_counts)[:, None]  # [N, A]

    def stack_obs(obs: Observations) -> jax.Array:
        return jnp.stack([_pad_flat(obs[agent], obs_shape) for agent in controlled])

    def state_of(inner: EnvState, obs: Observations, stacked: jax.Array) -> jax.Array:
        return state_from_obs(stacked) if state_fn is None else _float(state_fn(inner, obs))

    def state_from_obs(stacked: jax.Array) -> jax.Array:
        if all(shape == obs_shape for shape in obs_shapes):
            return stacked.reshape(-1)
        return jnp.concatenate(
            [row[: shape[0]] for row, shape in zip(stacked, obs_shapes, strict=True)]
        )

    def available(inner: EnvState) -> jax.Array:
        if avail_fn is None:
            return all_legal
        legal = avail_fn(inner)
        return jnp.stack([_pad_flat(legal[agent], (num_actions,)) > 0 for agent in controlled])

    def observe(inner, num_steps, memory, obs, reward, terminated, truncated):
        stacked = stack_obs(obs)
        step = TimeStep(
            obs=stacked,
            state=state_of(inner, obs, stacked),
            avail_actions=available(inner),
            reward=reward,
            terminated=terminated,
            truncated=truncated,
        )
        seen = {agent: obs[agent] for agent in opponents}
        return AdapterState(inner, num_steps, seen, memory), step

    def reset(key: jax.Array) -> tuple[AdapterState, TimeStep]:
        obs, inner = env.reset(key)
        inner = jax.tree.map(_strong, inner)
        no = jnp.zeros((), bool)
        memory = () if opponent is None else opponent.init()
        return observe(inner, jnp.zeros((), jnp.int32), memory, obs, jnp.zeros(()), no, no)

    def step(key: jax.Array, state: AdapterState, actions: jax.Array):
        by_agent = dict(zip(controlled, actions, strict=True))
        memory = state.opponent_memory
        if opponent is not None:
            key_opponent, key = jax.random.split(key)
            played, memory = opponent.act(key_opponent, memory, state.inner, state.opponent_obs)
            by_agent.update(played)
        obs, inner, rewards, dones, infos = env.step_env(key, state.inner, by_agent)
        num_steps = state.num_steps + 1
        done = jnp.asarray(dones["__all__"], bool).reshape(())
        terminated = done if terminated_fn is None else terminated_fn(inner, done)
        at_limit = num_steps >= episode_length
        terminated &= ~at_limit if done_at_limit_truncates else True
        truncated = at_limit & ~terminated
        reward = _float(reward_of(rewards, infos)).reshape(())
        return observe(inner, num_steps, memory, obs, reward, terminated, truncated)

    _, first = jax.eval_shape(reset, jax.random.key(0))
    return TeamEnv(
        name=name,
        num_agents=len(controlled),
        num_actions=num_actions,
        obs_shape=obs_shape,
        state_dim=first.state.shape[0],
        episode_length=episode_length,
        reset=reset,
        step=step,
        state_from_obs=state_from_obs if state_fn is None else None,
        all_actions_available=avail_fn is None and len(set(action_counts)) == 1,
        fixed_length=fixed_length,
    )


def _float(array: jax.Array) -> jax.Array:
    return jnp.asarray(array, jnp.float32)


def _strong(leaf: Any) -> jax.Array:
    """As an array of its own dtype, so that a reset's state can be replaced by a step's."""
    leaf = jnp.asarray(leaf)
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return leaf if is_key else jax.lax.convert_element_type(leaf, leaf.dtype)


def _pad_flat(array: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """`array` as float32 of `shape`; a shorter vector is padded with zeros."""
    array = _float(array)
    return array if array.shape == shape else jnp.pad(array, (0, shape[0] - array.shape[0]))


def _check_agents(name, env, controlled, opponents, opponent) -> None:
    unknown = [agent for agent in controlled if agent not in env.agents]
    if unknown or not controlled:
        raise UserError(
            f"task {name!r}: controlled agents {list(controlled)}, but the environment's agents "
            f"are {list(env.agents)}. Name at least one, and only those."
        )
    if opponents and opponent is None:
        raise UserError(
            f"task {name!r}: nobody plays {list(opponents)}. Give an opponent policy, or control "
            "every agent."
        )


def _num_actions(name: str, env: Any, agent: str) -> int:
    space = env.action_space(agent)
    if not hasattr(space, "n"):
        raise UserError(
            f"task {name!r}: {agent} has the action space {type(space).__name__}; value-based "
            "learning needs a Discrete one. Build the environment with discrete actions."
        )
    return int(space.n)


def _obs_shapes(env: Any, agents: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """What comes out, not what the spaces declare."""
    obs, _ = jax.eval_shape(env.reset, jax.random.key(0))
    return tuple(tuple(obs[agent].shape) for agent in agents)


def _stacked_shape(name: str, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    if len(set(shapes)) == 1:
        return shapes[0]
    if all(len(shape) == 1 for shape in shapes):
        return (max(shape[0] for shape in shapes),)
    raise UserError(
        f"task {name!r}: observations of shapes {sorted(set(shapes))} cannot be stacked. Vectors "
        "of different lengths are padded; images must have one shape."
    )
