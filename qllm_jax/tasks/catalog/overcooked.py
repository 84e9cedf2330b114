"""Overcooked: two cooks, one kitchen; onion soups, one layout per task.

Carroll et al., "On the Utility of Learning about Humans for Human-AI Coordination",
https://arxiv.org/abs/1910.05789; the kitchen is JaxMARL's first version.
"""

import functools
import warnings
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qllm_jax.envs.jaxmarl_adapter import make_team_env
from qllm_jax.errors import UserError
from qllm_jax.tasks import rendering
from qllm_jax.tasks.entry import Entry
from qllm_jax.tasks.layout import Part, tile
from qllm_jax.tasks.lazy import LazyMapping, jaxmarl
from qllm_jax.tasks.made_up import observe_each
from qllm_jax.tasks.spec import Outcome, TaskSpec

EPISODE_LENGTH = 400
LAYOUTS = ("cramped_room", "asymm_advantages", "coord_ring", "forced_coord", "counter_circuit")
DELIVERY = 20.0
ACTION_NAMES = ("up", "down", "right", "left", "stay", "interact")
_CHANNELS = 26
# What JaxMARL's map writes into a cell.
_COUNTER, _ONION, _ONION_PILE, _PLATE, _PLATE_PILE, _GOAL, _POT, _DISH = 2, 3, 4, 5, 6, 7, 8, 9
_AGENT = 10
_POT_EMPTY, _POT_FULL = 23, 20  # status 23..21: 0..2 onions; 20..1: cooking; 0: ready
_URGENT = 40


def kitchen(layout: str, shaped_reward: float = 0.0) -> TaskSpec:
    """Both cooks share every delivery; `shaped_reward` scales JaxMARL's help for beginners."""
    if not 0.0 <= shaped_reward <= 1.0:
        raise UserError(f"shaped_reward is {shaped_reward}; it must lie in [0, 1].")
    jaxmarl()
    from jaxmarl.environments.overcooked import Overcooked, overcooked_layouts

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it advertises the second version
        raw = Overcooked(layout=overcooked_layouts[layout], max_steps=EPISODE_LENGTH)
    env = make_team_env(
        raw,
        name=f"overcooked/{layout}",
        episode_length=EPISODE_LENGTH,
        reward_fn=functools.partial(_reward, shaped_reward),
        terminated_fn=lambda inner, done: jnp.zeros((), bool),
        fixed_length=True,
    )
    return TaskSpec(
        name=f"overcooked/{layout}",
        env=env,
        layout=tile(_parts(raw.height, raw.width)),
        agent_names=("agent_0", "agent_1"),
        action_names=ACTION_NAMES,
        interchangeable=((0, 1),),
        relabel_state=lambda state, permutation: state.reshape(2, -1)[
            jnp.asarray(permutation)
        ].reshape(-1),
        edge_states=LazyMapping(lambda: _edge_states(raw)),
        landmarks={"random": 0.0} if shaped_reward == 0.0 else {},
        outcome=Outcome("deliveries", _deliveries, {"random": 0.0}),
        env_kwargs={"shaped_reward": shaped_reward},
        drawing=functools.partial(_map, raw),
        render=functools.partial(_render, raw.height, raw.width),
    )


def _reward(shaped_reward: float, rewards: Any, infos: Any) -> jax.Array:
    """20 per delivery, once; and the sum of both cooks' shaped rewards, scaled."""
    shaped = sum(infos["shaped_reward"].values())
    return rewards["agent_0"] + shaped_reward * shaped


def _deliveries(env_state: Any, reward: jax.Array) -> jax.Array:
    """Soups delivered in a step; two cooks' shaped rewards, at most 10, stay below a delivery."""
    del env_state
    return jnp.floor(reward / DELIVERY)


def _parts(height: int, width: int) -> Iterator[Part]:
    for agent in range(2):
        for row in range(height):
            for column in range(width):
                yield Part(
                    f"agent_{agent}.cell_{row}_{column}",
                    _CHANNELS,
                    "integer, channels 0..25 of the table above",
                    0.0,
                    20.0,
                    f"row {row}, column {column} of the kitchen as agent_{agent} sees it",
                    functools.partial(_cell, agent, row, column, height),
                )


def _cell(agent: int, row: int, column: int, height: int, inner: Any) -> jax.Array:
    """The 26 channels of one cell, from the map and the agents; `[26]`."""
    border = (inner.maze_map.shape[0] - height) // 2
    entry = inner.maze_map[border + row, border + column].astype(jnp.int32)
    here = (inner.agent_pos == jnp.asarray([column, row])).all(axis=-1)  # [2]
    held = (here * inner.agent_inv).sum()  # code of what is held here, 0 where nobody is
    item = jnp.where(here.any(), held, entry[0])
    is_pot, status = entry[0] == _POT, entry[2]
    cooking = is_pot & (status < _POT_FULL)
    onions = jnp.minimum(_POT_EMPTY - status, 3)
    facing = here[:, None] & (inner.agent_dir_idx[:, None] == jnp.arange(4))  # [2, 4]
    order = jnp.asarray([agent, 1 - agent])
    dish = item == _DISH
    no = jnp.zeros((), jnp.int32)
    channels = [
        *here[order],
        *facing[order].reshape(-1),
        item == _POT,
        item == _COUNTER,
        item == _ONION_PILE,
        no,
        item == _PLATE_PILE,
        item == _GOAL,
        jnp.where(is_pot & ~cooking, onions, 0),
        no,
        jnp.where(cooking, onions, 0) + 3 * dish,
        no,
        jnp.where(cooking, status, 0),
        (is_pot & (status == 0)) | dish,
        item == _PLATE,
        item == _ONION,
        no,
        EPISODE_LENGTH - inner.step < _URGENT,
    ]
    return jnp.stack([jnp.asarray(channel, jnp.float32) for channel in channels])


# Channels of a cell by the letter that stands for it; what comes first hides what comes after.
_LETTERS = {0: "0", 1: "1", 10: "P", 12: "O", 14: "D", 15: "X", 11: "#"}


def _map(raw: Any) -> str:
    """The kitchen at the start of an episode, a letter a cell, read off the state's layout."""

    _, start = raw.reset(jax.random.key(0))
    row, column = jnp.indices((raw.height, raw.width))
    cell = functools.partial(_cell, 0, height=raw.height, inner=start)
    cells = np.asarray(jax.vmap(jax.vmap(cell))(row, column))  # [rows, columns, 26]
    rows = ["".join(map(_letter, cells_of_row)) for cells_of_row in cells]
    return "\n".join(
        [
            f"This kitchen, {raw.height} rows of {raw.width} columns, row 0 on top, at the start "
            "(0 agent_0, 1 agent_1, P pot,",
            "O onion pile, D plate pile, X delivery counter, # empty counter, . floor):",
            "",
            *(f"    {row}" for row in rows),
        ]
    )


def _letter(cell: np.ndarray) -> str:
    return next((letter for channel, letter in _LETTERS.items() if cell[channel]), ".")


def _edge_states(raw: Any) -> dict[str, np.ndarray]:
    """Kitchens at their extremes: empty, cooking, ready, hands full, time nearly up."""
    _, start = jax.jit(raw.reset)(jax.random.key(0))
    border = (start.maze_map.shape[0] - raw.height) // 2
    rows, columns = border + start.pot_pos[:, 1], border + start.pot_pos[:, 0]

    def pots(status):
        return start.maze_map.at[rows, columns, 2].set(status)

    def hands(first, second):
        return jnp.asarray([first, second], start.agent_inv.dtype)

    late = jnp.asarray(EPISODE_LENGTH - 1, start.step.dtype)
    return observe_each(
        raw,
        raw.agents,
        {
            "start": start,
            "two_onions_in_every_pot": start.replace(maze_map=pots(21)),
            "every_pot_cooking": start.replace(maze_map=pots(10), agent_inv=hands(5, 5)),
            "every_pot_ready": start.replace(maze_map=pots(0), agent_inv=hands(5, 3)),
            "both_hold_soup": start.replace(agent_inv=hands(9, 9)),
            "last_step": start.replace(step=late, agent_inv=hands(3, 9)),
        },
    )


_COLOURS = {
    _COUNTER: (222, 205, 184),
    _GOAL: (196, 222, 200),
    _POT: (90, 94, 102),
}


def _render(height: int, width: int, env_state: Any) -> np.ndarray:
    """The kitchen from above: counters, piles, pots with their onions, cooks and what they hold."""
    inner = jax.tree.map(np.asarray, env_state.inner)
    border = (inner.maze_map.shape[0] - height) // 2
    canvas = rendering.Canvas(0, -height, width, 0, width=64 * width)
    for row in range(height):
        for column in range(width):
            kind, _, status = inner.maze_map[border + row, border + column].tolist()
            x, y = column + 0.5, -row - 0.5
            if kind not in (1, _AGENT):
                colour = _COLOURS.get(kind, _COLOURS[_COUNTER])
                canvas.box(column, -row - 1, column + 1, -row, _COLOURS[_COUNTER])
                canvas.box(column + 0.06, -row - 0.94, column + 0.94, -row - 0.06, colour, 1, 0.1)
            _draw_item(canvas, kind, x, y, 0.3 if kind in (_ONION_PILE, _PLATE_PILE) else 0.2)
            if kind == _POT:
                _draw_pot(canvas, x, y, status)
    for agent, ((column, row), turn) in enumerate(
        zip(inner.agent_pos.astype(int), inner.agent_dir_idx, strict=True)
    ):
        x, y = column + 0.5, -row - 0.5
        dx, dy = ((0, 1), (0, -1), (1, 0), (-1, 0))[int(turn)]
        canvas.disc(x + 0.3 * dx, y + 0.3 * dy, 0.13, rendering.agent_colour(agent))
        canvas.agent(x, y, 0.34, agent)
        _draw_item(canvas, int(inner.agent_inv[agent]), x + 0.27, y - 0.27, 0.16)
    return canvas.pixels()


def _draw_item(canvas: rendering.Canvas, kind: int, x: float, y: float, size: float) -> None:
    if kind in (_ONION, _ONION_PILE):
        canvas.disc(x, y, size, (230, 159, 0))
        canvas.ring(x, y, size * 0.6, 0.03, (180, 120, 0))
    if kind in (_PLATE, _PLATE_PILE, _DISH):
        canvas.disc(x, y, size, (255, 255, 255))
        canvas.ring(x, y, size, 0.04, rendering.MUTED)
    if kind == _DISH:
        canvas.disc(x, y, size * 0.6, (230, 159, 0))


def _draw_pot(canvas: rendering.Canvas, x: float, y: float, status: int) -> None:
    """Onions as dots while it fills, the time left while it cooks, a full bowl when ready."""
    if status >= _POT_FULL:
        for onion in range(_POT_EMPTY - status):
            canvas.disc(x - 0.22 + 0.22 * onion, y, 0.09, (230, 159, 0))
    elif status > 0:
        canvas.text(x, y, 0.35, str(status), (255, 255, 255))
    else:
        canvas.disc(x, y, 0.28, (230, 159, 0))


TASKS = {
    f"overcooked/{layout}": Entry(functools.partial(kitchen, layout), text="overcooked/kitchen")
    for layout in LAYOUTS
}
