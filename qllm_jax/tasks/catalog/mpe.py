"""What the particle worlds share: actions, lengths, pictures.

JaxMARL's particle environments say done one step late and have no ending but the time limit;
they are built with a limit that is never reached, and the adapter counts.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qllm_jax.envs.jaxmarl_adapter import PackFns
from qllm_jax.tasks import rendering
from qllm_jax.tasks.lazy import jaxmarl
from qllm_jax.tasks.made_up import blank_state, observe_each

EPISODE_LENGTH = 25
_NEVER = 1_000_000_000
ACTION_NAMES = ("stay", "left (-x)", "right (+x)", "down (-y)", "up (+y)")
_HALF_WIDTH = 1.6


def make_world(name: str, **settings: Any) -> Any:
    """JaxMARL's particle world of that name, without a limit of its own.

    Its noise is drawn in every step and multiplied by the task's level of noise, 0, which XLA may
    not leave out. It is half of a step's arithmetic; the worlds are the same without it.
    """
    raw = jaxmarl().make(name, max_steps=_NEVER, **settings)
    assert not np.any(raw.u_noise), f"pushes are noisy in {name}"
    assert not np.any(raw.c_noise), f"words are noisy in {name}"
    raw._apply_action_force = lambda keys, forces, pushes, noise, moveable: jnp.where(
        moveable[:, None], pushes, forces
    )
    raw._apply_comm_action = lambda keys, words, noise, silent: jnp.where(
        silent[:, None], 0.0, words
    )
    return raw


def pack_fns(raw: Any) -> PackFns:
    """Positions and velocities as one vector, for worlds in which these are all that is seen."""
    blank = blank_state(raw)
    entities, agents = blank.p_pos.shape[0], raw.num_agents

    def pack(inner: Any) -> jax.Array:
        return jnp.concatenate([inner.p_pos.reshape(-1), inner.p_vel[:agents].reshape(-1)])

    def unpack(code: jax.Array) -> Any:
        positions, velocities = code[: 2 * entities], code[2 * entities :]
        at_rest = jnp.zeros((entities - agents, 2))
        return jax.tree.map(jnp.asarray, blank).replace(
            p_pos=positions.reshape(entities, 2),
            p_vel=jnp.concatenate([velocities.reshape(agents, 2), at_rest]),
        )

    return pack, unpack


def observed(
    raw: Any, agents: Sequence[str], worlds: Mapping[str, Mapping[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Global states of made-up worlds, as the environment itself observes them.

    Args:
        raw: JaxMARL's environment.
        agents: Whose observations make up the state.
        worlds: By name, what differs from a world at rest: `p_pos`, `p_vel`, `c`, `goal`.

    Returns:
        `[1, D]` by name.
    """
    blank = blank_state(raw)
    inner = [
        blank.replace(
            **{key: np.asarray(value, getattr(blank, key).dtype) for key, value in world.items()}
        )
        for world in worlds.values()
    ]

    return observe_each(raw, agents, dict(zip(worlds, inner, strict=True)))


def draw_targets(canvas: rendering.Canvas, positions: np.ndarray) -> None:
    """Landmarks as small targets."""
    for x, y in positions:
        canvas.disc(x, y, 0.075, rendering.BACKGROUND)
        canvas.ring(x, y, 0.065, 0.022, rendering.INK)
        canvas.disc(x, y, 0.026, rendering.INK)


def render_world(num_agents: int, draw_below: Callable, env_state, radius: float = 0.15):
    """A frame `[H, W, 3]` uint8: `draw_below(canvas, inner, num_agents)`, then the agents.

    An agent outside the window sits on its rim, hollow.
    """
    inner = env_state.inner
    canvas = rendering.Canvas(-_HALF_WIDTH, -_HALF_WIDTH, _HALF_WIDTH, _HALF_WIDTH)
    canvas.grid(0.5)
    draw_below(canvas, inner, num_agents)
    for agent, (x, y) in enumerate(np.asarray(inner.p_pos)[:num_agents]):
        rim = _HALF_WIDTH - radius
        inside_x, inside_y = np.clip((x, y), -rim, rim)
        if (inside_x, inside_y) == (x, y):
            canvas.agent(x, y, radius, agent)
        else:
            canvas.ring(inside_x, inside_y, radius * 0.8, 0.03, rendering.agent_colour(agent))
    return canvas.pixels()
