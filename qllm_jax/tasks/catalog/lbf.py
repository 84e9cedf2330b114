"""Level-based foraging, the benchmark's v3 tasks."""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qllm_jax.envs.jaxmarl_adapter import make_team_env
from qllm_jax.tasks import rendering
from qllm_jax.tasks.entry import Entry
from qllm_jax.tasks.layout import Part, tile
from qllm_jax.tasks.lazy import jaxmarl
from qllm_jax.tasks.spec import TaskSpec

EPISODE_LENGTH = 50
ACTION_NAMES = ("none", "north (row - 1)", "south (row + 1)", "west (col - 1)", "east (col + 1)",
                "load")  # fmt: skip


def _foraging(
    name: str,
    size: int,
    num_agents: int,
    num_foods: int,
    force_coop: bool,
    sight: int,
    mask_actions: bool,
) -> TaskSpec:
    jaxmarl()
    from qllm_jax.envs.lbf import LevelBasedForaging

    raw = LevelBasedForaging(
        size, num_agents, num_foods, sight, force_coop, max_steps=EPISODE_LENGTH
    )
    env = make_team_env(
        raw,
        name=name,
        episode_length=EPISODE_LENGTH,
        state_fn=lambda inner, obs: raw.get_world_state(inner),
        avail_fn=raw.get_avail_actions if mask_actions else None,
        terminated_fn=lambda inner, done: raw.all_eaten(inner),
    )
    settings = {
        "size": size,
        "num_foods": num_foods,
        "force_coop": force_coop,
        "sight": sight,
        "mask_actions": mask_actions,
    }
    return TaskSpec(
        name=name,
        env=env,
        layout=tile(_parts(raw)),
        agent_names=tuple(raw.agents),
        action_names=ACTION_NAMES,
        interchangeable=(tuple(range(num_agents)),),
        relabel_state=functools.partial(_relabel, num_agents, num_foods),
        edge_states=_edge_states(raw),
        score="food share",  # the rewards of an episode add up to 1 when all is eaten
        landmarks={"best possible": 1.0},
        env_kwargs=settings,
        render=functools.partial(_render, size),
    )


def _parts(raw: Any) -> Iterator[Part]:
    last = raw.size - 1
    food_top = 2 * min(raw.num_agents, 3)
    for agent in range(raw.num_agents):
        yield from _agent_parts(agent, last)
    for food in range(raw.num_foods):
        yield from _food_parts(food, last, food_top)
    for agent in range(raw.num_agents):
        yield Part(
            f"agent_{agent}.last_action",
            1,
            "integer, action id",
            -1.0,
            5.0,
            "what the agent chose in the step before, legal or not; -1 at the start",
            lambda inner, i=agent: inner.last_actions[i],  # type: ignore[misc]
        )


def _agent_parts(agent: int, last: int) -> Iterator[Part]:
    yield Part(
        f"agent_{agent}.position",
        2,
        "integer, (row, col)",
        0.0,
        float(last),
        f"cell of agent_{agent}; row 0 is north, col 0 is west",
        lambda inner: inner.agent_pos[agent],
    )
    yield Part(
        f"agent_{agent}.level",
        1,
        "integer, level",
        1.0,
        2.0,
        f"level of agent_{agent}, constant in an episode",
        lambda inner: inner.agent_level[agent],
    )


def _food_parts(food: int, last: int, top: int) -> Iterator[Part]:
    yield Part(
        f"food_{food}.position",
        2,
        "integer, (row, col)",
        -1.0,
        last - 1.0,
        f"cell of food_{food}, never at the border; (-1, -1) once it is eaten",
        lambda inner: jnp.where(inner.food_level[food] > 0, inner.food_pos[food], -1),
    )
    yield Part(
        f"food_{food}.level",
        1,
        "integer, level",
        0.0,
        float(top),
        f"levels it takes to load food_{food}; 0 once it is eaten",
        lambda inner: inner.food_level[food],
    )


def _relabel(
    num_agents: int, num_foods: int, state: jax.Array, permutation: np.ndarray
) -> jax.Array:
    """New agent i is old agent `permutation[i]`; foods keep their numbers."""
    triples = np.arange(3 * num_agents).reshape(num_agents, 3)[permutation].reshape(-1)
    foods = np.arange(3 * num_agents, 3 * (num_agents + num_foods))
    return state[np.concatenate([triples, foods, foods[-1] + 1 + np.asarray(permutation)])]


def _edge_states(raw: Any) -> dict[str, np.ndarray]:
    """States in which food is gone, contested, or out of reach."""
    agents, foods = raw.num_agents, raw.num_foods
    here = [[2, 1], [1, 2], [2, 3], [3, 2]][:agents] + [[0, 0]] * max(agents - 4, 0)
    cells = [[2, 2], [5, 4], [4, 6], [6, 2]][:foods]
    far = [[raw.size - 1, raw.size - 1]] * agents
    eaten = [[-1, -1, 0]] * foods

    def state(positions, level, food_rows, action):
        rows = [[*position, level] for position in positions]
        numbers = [*np.ravel(rows), *np.ravel(food_rows), *[action] * agents]
        return np.asarray([numbers], np.float32)

    whole = [[*cell, 2] for cell in cells]
    return {
        "start": state(here, 1, whole, -1),
        "everyone_loads_one_food": state(here, 2, whole, 5),
        "everyone_in_one_cell": state(far, 1, whole, 4),
        "one_food_left": state(here, 1, [*eaten[1:], whole[-1]], 1),
        "all_eaten": state(here, 2, eaten, 5),
        "nobody_strong_enough": state(far, 1, [[*cell, 2 * min(agents, 3)] for cell in cells], 0),
    }


def _render(size: int, env_state) -> np.ndarray:
    """The field: foods as red squares with their level, agents as numbered discs."""
    inner = env_state.inner
    canvas = rendering.Canvas(-0.25, -size - 0.25, size + 0.25, 0.25)
    canvas.box(0, -size, size, 0, (246, 247, 244), round_by=0.2)
    for line in range(size + 1):
        canvas.line(0, -line, size, -line, 0.03, rendering.SOFT, alpha=0.6)
        canvas.line(line, -size, line, 0, 0.03, rendering.SOFT, alpha=0.6)
    for (row, col), level in zip(
        np.asarray(inner.food_pos), np.asarray(inner.food_level), strict=True
    ):
        if level > 0:
            canvas.box(col + 0.14, -row - 0.86, col + 0.86, -row - 0.14, (176, 58, 72), 1.0, 0.18)
            canvas.text(col + 0.5, -row - 0.5, 0.42, str(level), (255, 255, 255))
    loading = np.asarray(inner.last_actions) == 5
    for agent, (row, col) in enumerate(np.asarray(inner.agent_pos)):
        if loading[agent]:
            colour = rendering.agent_colour(agent)
            canvas.ring(col + 0.5, -row - 0.5, 0.44, 0.06, colour, alpha=0.7)
        canvas.agent(col + 0.5, -row - 0.5, 0.37, agent)
        level = int(inner.agent_level[agent])
        for pip in range(level):
            canvas.disc(col + 0.5 + 0.16 * (pip - (level - 1) / 2), -row - 0.92, 0.055,
                        rendering.INK)  # fmt: skip
    return canvas.pixels()


def coop_8x8(sight: int = 2, mask_actions: bool = True) -> TaskSpec:
    """Two agents who always need each other, two foods."""
    return _foraging("lbf/8x8-2p-2f-coop", 8, 2, 2, True, sight, mask_actions)


def three_10x10(sight: int = 2, mask_actions: bool = True) -> TaskSpec:
    """Three agents, three foods of levels 1..sum."""
    return _foraging("lbf/10x10-3p-3f", 10, 3, 3, False, sight, mask_actions)


def four_15x15(sight: int = 15, mask_actions: bool = True) -> TaskSpec:
    """Four agents who see everything, three foods."""
    return _foraging("lbf/15x15-4p-3f", 15, 4, 3, False, sight, mask_actions)


TASKS = {
    "lbf/8x8-2p-2f-coop": Entry(coop_8x8, text="lbf/foraging"),
    "lbf/10x10-3p-3f": Entry(three_10x10, text="lbf/foraging"),
    "lbf/15x15-4p-3f": Entry(four_15x15, text="lbf/foraging"),
}
