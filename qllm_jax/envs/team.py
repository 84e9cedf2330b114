"""`TeamEnv`: an environment as training sees it, stacked arrays and two pure functions."""

import dataclasses
from collections.abc import Callable

import jax

from qllm_jax.types import EnvState, TimeStep


@dataclasses.dataclass(frozen=True)
class ObsCode:
    """A vector that all agents' observations follow from, where it is smaller than they are.

    Such as the positions of everything, where every agent sees its distance to every other.

    Attributes:
        size: K.
        encode: `env_state -> code [K]` float32.
        decode: `code [K] -> obs [N, ...]`, what was observed in that state, to float32 rounding.
    """

    size: int
    encode: Callable[[EnvState], jax.Array]
    decode: Callable[[jax.Array], jax.Array]


@dataclasses.dataclass(frozen=True)
class TeamEnv:
    """A cooperative environment of N controlled agents; unbatched, without auto-reset.

    `step` past the end of an episode is undefined: the collector resets there itself, because the
    last observation of an episode is needed for the bootstrap at a time limit.

    Attributes:
        name: Task id, for messages only; nothing dispatches on it.
        num_agents: N, the controlled agents.
        num_actions: A, the largest action count; missing actions are never available.
        obs_shape: Shape of one agent's observation, `(O,)` or `(H, W, C)`.
        state_dim: D.
        episode_length: The largest number of steps an episode can have, exact.
        reset: `key -> (env_state, TimeStep)`; the key is consumed.
        step: `(key, env_state, actions [N] int32) -> (env_state, TimeStep)`.
        state_from_obs: `obs [N, O] -> state [D]` where the global state is a function of the
            observations, so that replay need not store it; None where it is not.
        obs_code: What replay stores in place of observations; None where these are stored.
        all_actions_available: True where every action is always legal, so that replay need not
            store availability.
        fixed_length: True where no episode ends before `episode_length`, so that a window of one
            episode needs no reset inside; False is always right.
    """

    name: str
    num_agents: int
    num_actions: int
    obs_shape: tuple[int, ...]
    state_dim: int
    episode_length: int
    reset: Callable[[jax.Array], tuple[EnvState, TimeStep]]
    step: Callable[[jax.Array, EnvState, jax.Array], tuple[EnvState, TimeStep]]
    state_from_obs: Callable[[jax.Array], jax.Array] | None = None
    obs_code: ObsCode | None = None
    all_actions_available: bool = False
    fixed_length: bool = False

    @property
    def seen_shape(self) -> tuple[int, ...]:
        """Shape of what is recorded of one slot's observations: `(N, *obs_shape)`, or `(K,)`."""
        if self.obs_code is not None:
            return (self.obs_code.size,)
        return (self.num_agents, *self.obs_shape)
