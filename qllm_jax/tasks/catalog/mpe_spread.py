"""MPE simple_spread: N agents spread over as many landmarks.

Lowe et al., "Multi-Agent Actor-Critic for Mixed Cooperative-Competitive Environments",
https://arxiv.org/abs/1706.02275; dynamics and observations are JaxMARL's.
"""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from qllm_jax.envs.jaxmarl_adapter import make_team_env
from qllm_jax.errors import UserError
from qllm_jax.tasks import rendering
from qllm_jax.tasks.catalog.mpe import (
    ACTION_NAMES,
    EPISODE_LENGTH,
    draw_targets,
    make_world,
    observed,
    pack_fns,
    render_world,
)
from qllm_jax.tasks.entry import Entry
from qllm_jax.tasks.layout import Part, tile
from qllm_jax.tasks.lazy import LazyMapping
from qllm_jax.tasks.spec import TaskSpec

_INF = float("inf")


def simple_spread(
    num_agents: int = 3, local_ratio: float = 0.5, *, name: str = "mpe/simple_spread"
) -> TaskSpec:
    """`num_agents` agents and landmarks; `local_ratio` of each reward is the agent's own."""
    if num_agents < 1:
        raise UserError(f"num_agents is {num_agents}; simple_spread needs at least 1.")
    raw = make_world(
        "MPE_simple_spread_v3",
        num_agents=num_agents,
        num_landmarks=num_agents,
        local_ratio=local_ratio,
    )
    env = make_team_env(
        raw,
        name=name,
        episode_length=EPISODE_LENGTH,
        pack_fns=pack_fns(raw),
        fixed_length=True,
    )
    agents = tuple(range(num_agents))
    return TaskSpec(
        name=name,
        env=env,
        layout=tile(part for agent in agents for part in _agent_parts(agent, num_agents)),
        agent_names=tuple(raw.agents),
        action_names=ACTION_NAMES,
        interchangeable=(agents,),
        relabel_state=functools.partial(_relabel, num_agents),
        edge_states=LazyMapping(lambda: _edge_states(raw, num_agents)),
        env_kwargs={"num_agents": num_agents, "local_ratio": local_ratio},
        render=functools.partial(render_world, num_agents, _draw_landmarks),
    )


def _agent_parts(agent: int, num_agents: int) -> Iterator[Part]:
    """One agent's observation, recomputed from positions and velocities."""
    me = f"agent_{agent}"
    others = [other for other in range(num_agents) if other != agent]

    def part(what, unit, description, fn, low=-_INF, high=_INF):
        return Part(f"{me}.{what}", 2, unit, low, high, description, fn)

    yield part(
        "velocity",
        "world units per time unit",
        f"velocity (x, y) of {me}; a step lasts 0.1; within ±2 unless pushed",
        lambda inner: inner.p_vel[agent],
    )
    yield part(
        "position",
        "world units",
        f"position (x, y) of {me}; starts in [-1, 1]²",
        lambda inner: inner.p_pos[agent],
    )
    for landmark in range(num_agents):
        yield part(
            f"to_landmark_{landmark}",
            "world units",
            f"landmark_{landmark} minus {me}; landmarks stand still in [-1, 1]²",
            lambda inner, j=landmark: inner.p_pos[num_agents + j] - inner.p_pos[agent],
        )
    for other in others:
        yield part(
            f"to_agent_{other}",
            "world units",
            f"agent_{other} minus {me}; collision at a distance below 0.30",
            lambda inner, j=other: inner.p_pos[j] - inner.p_pos[agent],
        )
    for other in others:
        yield part(
            f"message_of_agent_{other}",
            "none",
            "unused, always 0",
            lambda inner, j=other: inner.c[j],
            low=0.0,
            high=0.0,
        )


def _relabel(num_agents: int, state: jax.Array, permutation: np.ndarray) -> jax.Array:
    """New agent i is old agent `permutation[i]`; landmarks keep their numbers."""
    permutation = np.asarray(permutation)
    block = 4 + 2 * num_agents + 4 * (num_agents - 1)
    index = np.arange(num_agents * block).reshape(num_agents, block)
    fixed = index[:, : 4 + 2 * num_agents]
    pairs = index[:, 4 + 2 * num_agents :].reshape(num_agents, 2, num_agents - 1, 2)
    full = np.zeros((num_agents, 2, num_agents, 2), int)  # [agent, kind, other, xy]
    off_diagonal = ~np.eye(num_agents, dtype=bool)
    full.transpose(0, 2, 1, 3)[off_diagonal] = pairs.transpose(0, 2, 1, 3).reshape(-1, 2, 2)
    moved = full[permutation][:, :, permutation].transpose(0, 2, 1, 3)[off_diagonal]
    moved = moved.reshape(num_agents, num_agents - 1, 2, 2).transpose(0, 2, 1, 3)
    source = np.concatenate([fixed[permutation], moved.reshape(num_agents, -1)], axis=1)
    return state[jnp.asarray(source.reshape(-1))]


def _edge_states(raw, num_agents: int) -> dict[str, np.ndarray]:
    """States in which distances vanish, tie or grow, as the environment itself observes them."""
    corners = np.stack([np.cos(2.4 * np.arange(num_agents)), np.sin(2.4 * np.arange(num_agents))])
    landmarks = corners.T * 0.8  # [N, 2]
    zero = np.zeros_like(landmarks)
    touching = landmarks.copy()
    touching[1 % num_agents] = landmarks[0] + (0.2999, 0.0)
    worlds = {
        "each_on_its_landmark": (landmarks, landmarks, zero),
        "all_on_one_landmark": (zero + landmarks[0], landmarks, zero),
        "all_at_the_origin": (zero, landmarks, zero),
        "everything_in_one_point": (zero, zero, zero),
        "two_just_touching": (touching, landmarks, zero),
        "far_away_and_fast": (landmarks * 50, landmarks, landmarks * 10),
        "all_landmarks_in_one_point": (landmarks, zero, zero),
    }
    return observed(
        raw,
        raw.agents,
        {
            name: {"p_pos": np.concatenate([at, goals]), "p_vel": np.concatenate([v, zero])}
            for name, (at, goals, v) in worlds.items()
        },
    )


def _draw_landmarks(canvas: rendering.Canvas, inner, num_agents: int) -> None:
    """Landmarks as targets, each tied to the agent that counts for it, the nearest."""
    positions = np.asarray(inner.p_pos)
    for x, y in positions[num_agents:]:
        distances = np.hypot(positions[:num_agents, 0] - x, positions[:num_agents, 1] - y)
        nearest = int(distances.argmin())
        agent_x, agent_y = positions[nearest]
        canvas.line(x, y, agent_x, agent_y, 0.018, rendering.agent_colour(nearest), alpha=0.45)
    draw_targets(canvas, positions[num_agents:])


TASKS = {
    "mpe/simple_spread": Entry(simple_spread),
    "mpe/simple_spread-6": Entry(
        functools.partial(simple_spread, 6, name="mpe/simple_spread-6"), text="mpe/simple_spread"
    ),
}
