"""MPE tasks made cooperative by a fixed opponent: simple_tag and simple_adversary.

Lowe et al., "Multi-Agent Actor-Critic for Mixed Cooperative-Competitive Environments",
https://arxiv.org/abs/1706.02275; dynamics and observations are JaxMARL's. The opponents are
recurrent networks of our own trainer (`benchmarks/train_opponents.py`), not the pretrained ones of
published comparisons, which move mirrored on JaxMARL's axes.
"""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qllm_jax.envs.jaxmarl_adapter import make_team_env, one_reward
from qllm_jax.envs.opponents import opponent_weights, recurrent_opponent
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
from qllm_jax.tasks.spec import Outcome, TaskSpec

_INF = float("inf")
_NUM_PREDATORS = 3
_PREY = 3  # index of the prey among the moving entities
_NUM_LANDMARKS = 2
_PER_CATCH = 10.0  # what the team gets for each predator that touches the prey
_NUM_ENTITIES = 4  # moving ones in simple_tag


def simple_tag() -> TaskSpec:
    """Three slow predators hunt one fast, trained prey."""
    name = "mpe/simple_tag"
    raw = make_world("MPE_simple_tag_v3")
    predators = tuple(raw.agents[:_NUM_PREDATORS])
    env = make_team_env(
        raw,
        name=name,
        episode_length=EPISODE_LENGTH,
        agents=predators,
        reward_fn=one_reward(predators[0]),
        opponent=recurrent_opponent(opponent_weights("simple_tag_prey"), raw.agents[_PREY]),
        fixed_length=True,
    )
    return TaskSpec(
        name=name,
        env=env,
        layout=tile(part for i in range(_NUM_PREDATORS) for part in _predator_parts(i)),
        agent_names=predators,
        action_names=ACTION_NAMES,
        interchangeable=(tuple(range(_NUM_PREDATORS)),),
        relabel_state=_relabel_predators,
        edge_states=LazyMapping(lambda: observed(raw, predators, _tag_worlds())),
        outcome=Outcome("catches", lambda env_state, reward: reward / _PER_CATCH),
        render=functools.partial(
            render_world, _NUM_PREDATORS, _draw_prey_and_obstacles, radius=0.075
        ),
    )


def simple_adversary() -> TaskSpec:
    """Two agents cover a goal that a trained adversary must not recognise."""
    name = "mpe/simple_adversary"
    raw = make_world("MPE_simple_adversary_v3")
    good = tuple(raw.good_agents)
    adversary = recurrent_opponent(
        opponent_weights("simple_adversary_adversary"), raw.adversaries[0]
    )
    env = make_team_env(
        raw,
        name=name,
        episode_length=EPISODE_LENGTH,
        agents=good,
        reward_fn=one_reward(good[0]),
        opponent=adversary,
        fixed_length=True,
    )
    return TaskSpec(
        name=name,
        env=env,
        layout=tile(part for i in range(len(good)) for part in _good_parts(i)),
        agent_names=good,
        action_names=ACTION_NAMES,
        interchangeable=((0, 1),),
        relabel_state=lambda state, permutation: state.reshape(2, -1)[
            jnp.asarray(permutation)
        ].reshape(-1),
        edge_states=LazyMapping(lambda: observed(raw, good, _adversary_worlds())),
        render=_render_adversary,
    )


def _offset(name: str, text: str, of: int, minus: int) -> Part:
    return Part(
        name, 2, "world units", -_INF, _INF, text,
        lambda inner: inner.p_pos[of] - inner.p_pos[minus],
    )  # fmt: skip


def _predator_parts(i: int) -> Iterator[Part]:
    me = f"adversary_{i}"
    speed = "world units per time unit"
    yield Part(
        f"{me}.velocity", 2, speed, -_INF, _INF,
        f"velocity (x, y) of {me}; a step lasts 0.1; top speed 1",
        lambda inner: inner.p_vel[i],
    )  # fmt: skip
    yield Part(
        f"{me}.position", 2, "world units", -_INF, _INF,
        f"position (x, y) of {me}; starts in [-1, 1]²",
        lambda inner: inner.p_pos[i],
    )  # fmt: skip
    for j in range(_NUM_LANDMARKS):
        text = f"solid obstacle {j} (radius 0.2) minus {me}"
        yield _offset(f"{me}.to_obstacle_{j}", text, _NUM_ENTITIES + j, i)
    for j in range(_NUM_PREDATORS):
        if j != i:
            yield _offset(f"{me}.to_adversary_{j}", f"adversary_{j} minus {me}", j, i)
    yield _offset(f"{me}.to_prey", f"prey minus {me}; a catch below a distance of 0.125", _PREY, i)
    yield Part(
        f"{me}.prey_velocity", 2, speed, -_INF, _INF, "velocity (x, y) of the prey; top speed 1.3",
        lambda inner: inner.p_vel[_PREY],
    )  # fmt: skip


def _relabel_predators(state: jax.Array, permutation: np.ndarray) -> jax.Array:
    """New predator i is old predator `permutation[i]`; obstacles and prey keep their places."""
    permutation = np.asarray(permutation)
    index = np.arange(16 * _NUM_PREDATORS).reshape(_NUM_PREDATORS, 16)
    full = np.zeros((_NUM_PREDATORS, _NUM_PREDATORS, 2), int)
    others = ~np.eye(_NUM_PREDATORS, dtype=bool)
    full[others] = index[:, 8:12].reshape(-1, 2)
    moved = full[permutation][:, permutation][others].reshape(_NUM_PREDATORS, 4)
    fixed = index[permutation]
    return state[jnp.asarray(np.concatenate([fixed[:, :8], moved, fixed[:, 12:]], 1).reshape(-1))]


def _good_parts(i: int) -> Iterator[Part]:
    me = f"agent_{i}"
    adversary, first_good, first_landmark = 0, 1, 3
    yield Part(
        f"{me}.to_goal", 2, "world units", -_INF, _INF,
        f"goal landmark minus {me}; the adversary does not know which landmark that is",
        lambda inner: inner.p_pos[first_landmark + inner.goal] - inner.p_pos[first_good + i],
    )  # fmt: skip
    for j in range(_NUM_LANDMARKS):
        text = f"landmark_{j} minus {me}; landmarks stand still in [-1, 1]²"
        yield _offset(f"{me}.to_landmark_{j}", text, first_landmark + j, first_good + i)
    yield _offset(f"{me}.to_adversary", f"adversary_0 minus {me}", adversary, first_good + i)
    other = 1 - i
    text = f"agent_{other} minus {me}"
    yield _offset(f"{me}.to_agent_{other}", text, first_good + other, first_good + i)


def _tag_worlds() -> dict[str, dict[str, Any]]:
    obstacles = np.array([[0.5, 0.5], [-0.5, -0.5]])
    spread = np.array([[-0.9, 0.0], [0.0, -0.9], [0.9, 0.0]])
    fast = np.tile([1.0, 0.0], (6, 1))

    def world(predators, prey, **more):
        return {"p_pos": np.concatenate([predators, [prey], obstacles]), **more}

    return {
        "apart": world(spread, [0.0, 0.9]),
        "all_on_the_prey": world(np.zeros((3, 2)), [0.0, 0.0]),
        "one_just_touching": world(spread, [-0.9 + 0.1249, 0.0]),
        "prey_far_away": world(spread, [60.0, -60.0], p_vel=fast),
        "equally_far_from_the_prey": world(spread, [0.0, 0.0]),
        "everything_in_one_point": {"p_pos": np.zeros((6, 2))},
    }


def _adversary_worlds() -> dict[str, dict[str, Any]]:
    landmarks = np.array([[0.8, 0.0], [-0.8, 0.2]])

    def world(adversary, good, goal):
        return {"p_pos": np.concatenate([[adversary], good, landmarks]), "goal": np.array(goal)}

    return {
        "one_on_each_landmark": world([0.0, 0.0], landmarks, 0),
        "both_on_the_goal": world([0.8, 0.0], landmarks[[0, 0]], 0),
        "both_on_the_other_landmark": world([0.0, 0.9], landmarks[[0, 0]], 1),
        "far_away": world([0.0, 0.0], landmarks * 70, 1),
        "everything_in_one_point": {"p_pos": np.zeros((5, 2)), "goal": np.array(0)},
    }


def _draw_prey_and_obstacles(canvas: rendering.Canvas, inner: Any, num_agents: int) -> None:
    positions = np.asarray(inner.p_pos)
    for x, y in positions[_NUM_ENTITIES:]:
        canvas.disc(x, y, 0.2, rendering.SOFT)
    x, y = positions[_PREY]
    if (np.linalg.norm(positions[:num_agents] - positions[_PREY], axis=1) < 0.125).any():
        canvas.ring(x, y, 0.16, 0.03, rendering.INK)
    canvas.disc(x, y, 0.05, rendering.INK)


def _render_adversary(env_state: Any) -> np.ndarray:
    """The good agents in their colours, the adversary in black, the goal ringed."""
    inner = env_state.inner
    positions = np.asarray(inner.p_pos)
    canvas = rendering.Canvas(-1.6, -1.6, 1.6, 1.6)
    canvas.grid(0.5)
    x, y = positions[3 + int(inner.goal)]
    canvas.ring(x, y, 0.16, 0.035, (0, 158, 115))
    draw_targets(canvas, positions[3:])
    for i, (x, y) in enumerate(np.clip(positions[:3], -1.45, 1.45)):
        if i == 0:
            canvas.disc(x, y, 0.15, rendering.INK)
        else:
            canvas.agent(x, y, 0.15, i - 1)
    return canvas.pixels()


TASKS = {
    "mpe/simple_tag": Entry(simple_tag),
    "mpe/simple_adversary": Entry(simple_adversary),
}
