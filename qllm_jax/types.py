"""Shared array pytrees, and the axis letters that every shape comment uses.

    K candidates   S seeds   B environments or batch   T time slots   N agents
    A actions      O observation features   D state features   E evaluations   M mixed values

Inside training arrays are time-major: `[T, B, N, …]`; seeds and candidates are vmapped from
outside. **Slots**: a window of T slots starts at a reset. An episode of L steps fills L + 1
slots: L in which the team acts, and a last one that only holds the observation and the state
the episode ended in. So slot t's bootstrap always reads slot t + 1 of the same episode, at a
time limit too, and every observation is stored once.
"""

from typing import Any, Protocol

import chex
import jax
from flax import struct

Params = Any  # pytree of arrays
EnvState = Any  # pytree of arrays, the environment's own


class TfcafFunction(Protocol):
    """`q_tot = f(agent_qs, state)`: unbatched, pure, jittable, without learned parameters."""

    def __call__(self, agent_qs: jax.Array, state: jax.Array, /) -> jax.Array:
        """Mix `agent_qs` [N] in `state` [D] into `q_tot` []."""
        ...


@struct.dataclass
class TimeStep:
    """What the team sees after a reset or a step; one environment, no batch axis.

    `terminated` and `truncated` say how the step that led here ended the episode (both False
    after a reset): terminated has no future value, truncated bootstraps from *this* obs/state.
    """

    obs: jax.Array  # [N, O] float32 (or [N, H, W, C])
    state: jax.Array  # [D] float32
    avail_actions: jax.Array  # [N, A] bool, at least one True in every row
    reward: jax.Array  # [] float32, team sum, unscaled
    terminated: jax.Array  # [] bool
    truncated: jax.Array  # [] bool


@struct.dataclass
class JointAction:
    """The actions whose values are mixed, beside each agent's best; one slot, no batch axis."""

    actions: jax.Array  # [N, A] float32, one-hot
    greedy_actions: jax.Array  # [N, A] float32, one-hot, best available action of each agent
    greedy_qs: jax.Array  # [N] values of the greedy actions, with their gradient


@struct.dataclass
class Window:
    """T consecutive slots of experience of one environment, as training reads them.

    Slot t holds what was seen, what was done there, and what that led to. `last[t]` marks a slot
    that only holds the end of an episode: its action and reward mean nothing.
    """

    obs: jax.Array  # [T, ..., N, O]
    state: jax.Array  # [T, ..., D]
    avail_actions: jax.Array  # [T, ..., N, A] bool
    actions: jax.Array  # [T, ..., N] int32
    reward: jax.Array  # [T, ...] float32, received for acting in slot t
    terminated: jax.Array  # [T, ...] bool, acting in slot t ended the episode: no bootstrap
    truncated: jax.Array  # [T, ...] bool, the time limit ended it: bootstrap from slot t + 1
    reset: jax.Array  # [T, ...] bool, slot t is the first of an episode: clear recurrent state
    last: jax.Array  # [T, ...] bool, slot t is the end of an episode: nobody acts

    def check(self) -> None:
        """Assert that the leading axes of all fields agree (static shapes; free under jit)."""
        chex.assert_equal_shape(
            [self.reward, self.terminated, self.truncated, self.reset, self.last]
        )
