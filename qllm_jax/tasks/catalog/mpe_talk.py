"""MPE tasks in which talking matters: simple_reference and simple_speaker_listener.

Lowe et al., "Multi-Agent Actor-Critic for Mixed Cooperative-Competitive Environments",
https://arxiv.org/abs/1706.02275; dynamics and observations are JaxMARL's.
"""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qllm_jax.envs.jaxmarl_adapter import make_team_env, one_reward
from qllm_jax.tasks import rendering
from qllm_jax.tasks.catalog.mpe import (
    ACTION_NAMES,
    EPISODE_LENGTH,
    draw_targets,
    make_world,
    observed,
    render_world,
)
from qllm_jax.tasks.entry import Entry
from qllm_jax.tasks.layout import Part, tile
from qllm_jax.tasks.lazy import LazyMapping
from qllm_jax.tasks.spec import TaskSpec

_INF = float("inf")
_NUM_LANDMARKS = 3
_NUM_AGENTS = 2
_REFERENCE_WORDS = 10


def simple_reference() -> TaskSpec:
    """Each agent knows where the other should go, and can tell it in ten words."""
    name = "mpe/simple_reference"
    raw = make_world("MPE_simple_reference_v3")
    env = make_team_env(raw, name=name, episode_length=EPISODE_LENGTH, fixed_length=True)
    words = range(_REFERENCE_WORDS)
    return TaskSpec(
        name=name,
        env=env,
        layout=tile(part for agent in range(_NUM_AGENTS) for part in _reference_parts(agent)),
        agent_names=tuple(raw.agents),
        action_names=tuple(f"{move}, say {word}" for word in words for move in ACTION_NAMES),
        interchangeable=((0, 1),),
        relabel_state=_swap_blocks,
        edge_states=LazyMapping(lambda: observed(raw, raw.agents, _reference_worlds())),
        landmarks={"best possible": 0.0},
        render=functools.partial(render_world, _NUM_AGENTS, _draw_goals_of_both),
    )


def simple_speaker_listener() -> TaskSpec:
    """One stands still, knows the goal and speaks three words; the other hears and walks."""
    name = "mpe/simple_speaker_listener"
    raw = make_world("MPE_simple_speaker_listener_v4")
    env = make_team_env(
        raw,
        name=name,
        episode_length=EPISODE_LENGTH,
        reward_fn=one_reward("listener_0"),
        fixed_length=True,
    )
    return TaskSpec(
        name=name,
        env=env,
        layout=tile(_speaker_listener_parts()),
        agent_names=tuple(raw.agents),
        action_names=tuple(
            f"{move} / say {word}" if word < 3 else move for word, move in enumerate(ACTION_NAMES)
        ),
        edge_states=LazyMapping(lambda: observed(raw, raw.agents, _speaker_worlds())),
        landmarks={"best possible": 0.0},
        render=functools.partial(render_world, _NUM_AGENTS, _draw_goal_of_listener),
    )


def _to_landmark(agent: int, landmark: int, me: str) -> Part:
    return Part(
        f"{me}.to_landmark_{landmark}",
        2,
        "world units",
        -_INF,
        _INF,
        f"landmark_{landmark} minus {me}; landmarks stand still in [-1, 1]²",
        lambda inner: inner.p_pos[_NUM_AGENTS + landmark] - inner.p_pos[agent],
    )


def _velocity(agent: int, me: str) -> Part:
    return Part(
        f"{me}.velocity",
        2,
        "world units per time unit",
        -2.0,
        2.0,
        f"velocity (x, y) of {me}; a step lasts 0.1",
        lambda inner: inner.p_vel[agent],
    )


def _reference_parts(agent: int) -> Iterator[Part]:
    me, other = f"agent_{agent}", 1 - agent
    yield _velocity(agent, me)
    for landmark in range(_NUM_LANDMARKS):
        yield _to_landmark(agent, landmark, me)
    yield Part(
        f"{me}.goal_of_agent_{other}",
        _NUM_LANDMARKS,
        "colour",
        0.25,
        0.75,
        f"0.75 at the number of the landmark where agent_{other} should be, otherwise 0.25; "
        f"{me} sees it, agent_{other} does not",
        lambda inner: 0.25 + 0.5 * jax.nn.one_hot(inner.goal[other], _NUM_LANDMARKS),
    )
    yield Part(
        f"{me}.heard_from_agent_{other}",
        _REFERENCE_WORDS,
        "0/1",
        0.0,
        1.0,
        f"one-hot word that agent_{other} said in the step before; all 0 at the start",
        lambda inner: inner.c[other],
    )


def _speaker_listener_parts() -> Iterator[Part]:
    yield Part(
        "speaker_0.goal",
        _NUM_LANDMARKS,
        "colour",
        0.15,
        0.65,
        "0.65 at the number of the landmark where listener_0 should be, otherwise 0.15",
        lambda inner: 0.15 + 0.5 * jax.nn.one_hot(inner.goal, _NUM_LANDMARKS),
    )
    yield _velocity(1, "listener_0")
    for landmark in range(_NUM_LANDMARKS):
        yield _to_landmark(1, landmark, "listener_0")
    yield Part(
        "listener_0.heard",
        3,
        "0/1",
        0.0,
        1.0,
        "one-hot word that speaker_0 said in the step before; all 0 at the start",
        lambda inner: inner.c[0],
    )


def _swap_blocks(state: jax.Array, permutation: np.ndarray) -> jax.Array:
    return state.reshape(_NUM_AGENTS, -1)[jnp.asarray(permutation)].reshape(-1)


def _worlds(words: int) -> dict[str, dict[str, Any]]:
    landmarks = np.array([[0.8, 0.0], [-0.5, 0.7], [-0.4, -0.9]])
    at = {
        "agents_apart": [[-0.9, 0.9], [0.9, -0.9]],
        "on_landmarks": landmarks[:2],
        "both_on_one_landmark": landmarks[[2, 2]],
        "far_away": [[40.0, -40.0], [-40.0, 40.0]],
    }
    worlds = {
        name: {"p_pos": np.concatenate([agents, landmarks]), "c": np.eye(words)[[0, 1]]}
        for name, agents in at.items()
    }
    worlds["nothing_said"] = {"p_pos": np.concatenate([at["agents_apart"], landmarks])}
    worlds["everything_in_one_point"] = {"p_pos": np.zeros((5, 2)), "c": np.eye(words)[[2, 2]]}
    return worlds


def _reference_worlds() -> dict[str, dict[str, Any]]:
    goals = [(0, 1), (0, 1), (2, 2), (1, 0), (0, 2), (2, 1)]
    return {
        name: {**world, "goal": np.array(goal)}
        for (name, world), goal in zip(_worlds(_REFERENCE_WORDS).items(), goals, strict=True)
    }


def _speaker_worlds() -> dict[str, dict[str, Any]]:
    goals = [0, 1, 2, 1, 0, 2]
    return {
        name: {**world, "goal": np.array(goal)}
        for (name, world), goal in zip(_worlds(3).items(), goals, strict=True)
    }


def _draw_goals_of_both(canvas: rendering.Canvas, inner: Any, num_agents: int) -> None:
    _draw_goals(canvas, inner, dict(enumerate(np.asarray(inner.goal).tolist())))


def _draw_goal_of_listener(canvas: rendering.Canvas, inner: Any, num_agents: int) -> None:
    _draw_goals(canvas, inner, {1: int(inner.goal)})


def _draw_goals(canvas: rendering.Canvas, inner: Any, goals: dict[int, int]) -> None:
    """Each agent tied to its goal by a line, the goal ringed in its colour."""
    positions = np.asarray(inner.p_pos)
    for agent, goal in goals.items():
        colour = rendering.agent_colour(agent)
        x, y = positions[_NUM_AGENTS + goal]
        agent_x, agent_y = positions[agent]
        canvas.line(x, y, agent_x, agent_y, 0.018, colour, alpha=0.45)
        canvas.ring(x, y, 0.13 + 0.05 * agent, 0.03, colour)
    draw_targets(canvas, positions[_NUM_AGENTS:])


TASKS = {
    "mpe/simple_reference": Entry(simple_reference),
    "mpe/simple_speaker_listener": Entry(simple_speaker_listener),
}
