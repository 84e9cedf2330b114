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

from qllm_jax.envs.stacking import Stacking, as_float, stacking_of
from qllm_jax.envs.team import ObsCode, TeamEnv
from qllm_jax.errors import UserError
from qllm_jax.types import EnvState, TimeStep

Observations = Mapping[str, jax.Array]
RewardFn = Callable[[Mapping[str, jax.Array], Mapping[str, Any]], jax.Array]  # and infos -> []
StateFn = Callable[[EnvState, Observations], jax.Array]  # (inner state, obs by agent) -> [D]
AvailFn = Callable[[EnvState], Mapping[str, jax.Array]]  # inner state -> [A_i] by agent
TerminatedFn = Callable[[EnvState, jax.Array], jax.Array]  # (inner state, done []) -> [] bool
PackFns = tuple[Callable[[EnvState], jax.Array], Callable[[jax.Array], EnvState]]
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
    pack_fns: PackFns | None = None,
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
        pack_fns: `inner state -> [K]`, and back to an inner state in which `env.get_obs` sees the
            same; where K is less than all observations, replay stores that instead.
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
    stacking = stacking_of(name, env, controlled)
    adapter = _Adapter(
        env=env,
        stacking=stacking,
        opponents=opponents,
        opponent=opponent,
        episode_length=episode_length,
        reward_fn=reward_fn or sum_rewards(controlled),
        state_fn=state_fn,
        avail_fn=avail_fn,
        terminated_fn=terminated_fn or (lambda inner, done: done),
        done_at_limit_truncates=done_at_limit_truncates,
    )
    _, first = jax.eval_shape(adapter.reset, jax.random.key(0))
    return TeamEnv(
        name=name,
        num_agents=len(controlled),
        num_actions=stacking.num_actions,
        obs_shape=stacking.obs_shape,
        state_dim=first.state.shape[0],
        episode_length=episode_length,
        reset=adapter.reset,
        step=adapter.step,
        state_from_obs=stacking.concatenated if state_fn is None else None,
        obs_code=None if pack_fns is None else _obs_code(env, stacking, adapter, pack_fns),
        all_actions_available=avail_fn is None and stacking.same_actions,
        fixed_length=fixed_length,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Adapter:
    """`reset` and `step` of the adapted environment; the fields are `make_team_env`'s."""

    env: Any
    stacking: Stacking
    opponents: tuple[str, ...]
    opponent: Opponent | None
    episode_length: int
    reward_fn: RewardFn
    state_fn: StateFn | None
    avail_fn: AvailFn | None
    terminated_fn: TerminatedFn
    done_at_limit_truncates: bool

    def reset(self, key: jax.Array) -> tuple[AdapterState, TimeStep]:
        obs, inner = self.env.reset(key)
        no = jnp.zeros((), bool)
        state = AdapterState(
            inner=jax.tree.map(_strong, inner),
            num_steps=jnp.zeros((), jnp.int32),
            opponent_obs=self._seen_by_opponents(obs),
            opponent_memory=() if self.opponent is None else self.opponent.init(),
        )
        return state, self._time_step(state.inner, obs, jnp.zeros(()), no, no)

    def step(
        self, key: jax.Array, state: AdapterState, actions: jax.Array
    ) -> tuple[AdapterState, TimeStep]:
        key, by_agent, memory = self._joint_action(key, state, actions)
        obs, inner, rewards, dones, infos = self.env.step_env(key, state.inner, by_agent)
        num_steps = state.num_steps + 1
        done = jnp.asarray(dones["__all__"], bool).reshape(())
        terminated, truncated = self._endings(inner, done, num_steps)
        reward = as_float(self.reward_fn(rewards, infos)).reshape(())
        state = AdapterState(inner, num_steps, self._seen_by_opponents(obs), memory)
        return state, self._time_step(inner, obs, reward, terminated, truncated)

    def _joint_action(self, key, state, actions):
        """The key that is left for the environment, everybody's actions, the opponent's memory."""
        by_agent = dict(zip(self.stacking.agents, actions, strict=True))
        if self.opponent is None:
            return key, by_agent, state.opponent_memory
        key_opponent, key = jax.random.split(key)
        played, memory = self.opponent.act(
            key_opponent, state.opponent_memory, state.inner, state.opponent_obs
        )
        return key, by_agent | dict(played), memory

    def _endings(self, inner, done, num_steps):
        """`terminated`, `truncated`: never both; an ending of the task's own goes first."""
        at_limit = num_steps >= self.episode_length
        terminated = self.terminated_fn(inner, done)
        if self.done_at_limit_truncates:
            terminated &= ~at_limit
        return terminated, at_limit & ~terminated

    def _seen_by_opponents(self, obs: Observations) -> Observations:
        return {agent: obs[agent] for agent in self.opponents}

    def _time_step(self, inner, obs, reward, terminated, truncated) -> TimeStep:
        stacking, stacked = self.stacking, self.stacking.obs(obs)
        return TimeStep(
            obs=stacked,
            state=stacking.concatenated(stacked)
            if self.state_fn is None
            else as_float(self.state_fn(inner, obs)),
            avail_actions=stacking.all_actions()
            if self.avail_fn is None
            else stacking.actions(self.avail_fn(inner)),
            reward=reward,
            terminated=terminated,
            truncated=truncated,
        )


def _obs_code(env: Any, stacking: Stacking, adapter: _Adapter, pack_fns: PackFns) -> ObsCode:
    pack, unpack = pack_fns

    def encode(state: AdapterState) -> jax.Array:
        return as_float(pack(state.inner))

    state, _ = jax.eval_shape(adapter.reset, jax.random.key(0))
    return ObsCode(
        size=jax.eval_shape(encode, state).shape[0],
        encode=encode,
        decode=lambda code: stacking.obs(env.get_obs(unpack(code))),
    )


def _strong(leaf: Any) -> jax.Array:
    """As an array of its own dtype, so that a reset's state can be replaced by a step's."""
    leaf = jnp.asarray(leaf)
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return leaf if is_key else jax.lax.convert_element_type(leaf, leaf.dtype)


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
