"""How the spaces of several agents become one array: padding, masks, and back."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from qllm_jax.errors import UserError


@dataclasses.dataclass(frozen=True, eq=False)
class Stacking:
    """The controlled agents' observations and actions as arrays with a leading axis N.

    Attributes:
        agents: N names, in stacking order.
        obs_shapes: What each agent observes, without padding.
        obs_shape: The shape that all are padded to.
        action_counts: Actions of each agent.
    """

    agents: tuple[str, ...]
    obs_shapes: tuple[tuple[int, ...], ...]
    obs_shape: tuple[int, ...]
    action_counts: tuple[int, ...]

    @property
    def num_actions(self) -> int:
        """A, the largest action count."""
        return max(self.action_counts)

    @property
    def same_actions(self) -> bool:
        """Whether no agent's actions are padded."""
        return len(set(self.action_counts)) == 1

    def obs(self, by_agent: Mapping[str, jax.Array]) -> jax.Array:
        """Observations as `[N, *obs_shape]` float32; shorter vectors end in zeros."""
        return jnp.stack([_padded(by_agent[agent], self.obs_shape) for agent in self.agents])

    def concatenated(self, obs: jax.Array) -> jax.Array:
        """Stacked observations one after another, without their padding: `[N, ...] -> [D]`."""
        if all(shape == self.obs_shape for shape in self.obs_shapes):
            return obs.reshape(-1)
        rows = zip(obs, self.obs_shapes, strict=True)
        return jnp.concatenate([row[: shape[0]] for row, shape in rows])

    def all_actions(self) -> jax.Array:
        """Every action of each agent's own space, `[N, A]` bool."""
        counts = jnp.asarray(self.action_counts)
        return jnp.arange(self.num_actions)[None] < counts[:, None]

    def actions(self, legal: Mapping[str, jax.Array]) -> jax.Array:
        """Legal actions by agent as `[N, A]` bool; what an agent does not have is not legal."""
        shape = (self.num_actions,)
        return jnp.stack([_padded(legal[agent], shape) > 0 for agent in self.agents])


def stacking_of(name: str, env: Any, agents: Sequence[str]) -> Stacking:
    """Learn the shapes from what `env.reset` returns, traced, not from what spaces declare.

    Args:
        name: Task id, for messages.
        env: A `MultiAgentEnv`.
        agents: Those to be stacked, in order.

    Raises:
        UserError: an action space that is not discrete, or observations that cannot be stacked.
    """
    action_counts = tuple(_num_actions(name, env, agent) for agent in agents)
    obs, _ = jax.eval_shape(env.reset, jax.random.key(0))
    obs_shapes = tuple(tuple(obs[agent].shape) for agent in agents)
    return Stacking(tuple(agents), obs_shapes, _common_shape(name, obs_shapes), action_counts)


def as_float(array: Any) -> jax.Array:
    """As float32, whatever the environment counts in."""
    return jnp.asarray(array, jnp.float32)


def _padded(array: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    array = as_float(array)
    return array if array.shape == shape else jnp.pad(array, (0, shape[0] - array.shape[0]))


def _num_actions(name: str, env: Any, agent: str) -> int:
    space = env.action_space(agent)
    if not hasattr(space, "n"):
        raise UserError(
            f"task {name!r}: {agent} has the action space {type(space).__name__}; value-based "
            "learning needs a Discrete one. Build the environment with discrete actions."
        )
    return int(space.n)


def _common_shape(name: str, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    if len(set(shapes)) == 1:
        return shapes[0]
    if all(len(shape) == 1 for shape in shapes):
        return (max(shape[0] for shape in shapes),)
    raise UserError(
        f"task {name!r}: observations of shapes {sorted(set(shapes))} cannot be stacked. Vectors "
        "of different lengths are padded; images must have one shape."
    )
