"""Overcooked: two cooks, one kitchen; onion soups, one layout per task.

Carroll et al., "On the Utility of Learning about Humans for Human-AI Coordination",
https://arxiv.org/abs/1910.05789; the kitchen is JaxMARL's first version.
"""

import functools
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qllm_jax.envs.jaxmarl_adapter import PackFns, make_team_env
from qllm_jax.tasks.catalog import kitchens
from qllm_jax.tasks.catalog.kitchens import EPISODE_LENGTH, Cook, Item, Place, Scene
from qllm_jax.tasks.entry import Entry
from qllm_jax.tasks.layout import tile
from qllm_jax.tasks.lazy import LazyMapping, jaxmarl
from qllm_jax.tasks.made_up import blank_state, observe_each
from qllm_jax.tasks.spec import Outcome, TaskSpec

LAYOUTS = ("cramped_room", "asymm_advantages", "coord_ring", "forced_coord", "counter_circuit")
ACTION_NAMES = ("up", "down", "right", "left", "stay", "interact")
_CHANNELS = 26
# What JaxMARL's map writes into a cell.
_COUNTER, _ONION, _ONION_PILE, _PLATE, _PLATE_PILE, _GOAL, _POT, _DISH = 2, 3, 4, 5, 6, 7, 8, 9
_POT_EMPTY, _POT_FULL = 23, 20  # status 23..21: 0..2 onions; 20..1: cooking; 0: ready
_URGENT = 40
_LEGEND = (
    "(0 agent_0, 1 agent_1, P pot,",
    "O onion pile, D plate pile, X delivery counter, # empty counter, . floor):",
)


def kitchen(layout: str, shaped_reward: float = 0.0) -> TaskSpec:
    """Both cooks share every delivery; `shaped_reward` scales JaxMARL's help for beginners."""
    kitchens.check_shaped_reward(shaped_reward)
    jaxmarl()
    from jaxmarl.environments.overcooked import Overcooked, overcooked_layouts

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it advertises the second version
        raw = Overcooked(layout=overcooked_layouts[layout], max_steps=EPISODE_LENGTH)
    env = make_team_env(
        raw,
        name=f"overcooked/{layout}",
        episode_length=EPISODE_LENGTH,
        reward_fn=functools.partial(kitchens.shared_reward, shaped_reward),
        terminated_fn=lambda inner, done: jnp.zeros((), bool),
        pack_fns=_pack_fns(raw, np.asarray(overcooked_layouts[layout]["pot_idx"])),
        fixed_length=True,
    )
    return TaskSpec(
        name=f"overcooked/{layout}",
        env=env,
        layout=tile(
            kitchens.picture_parts(
                (raw.height, raw.width, _CHANNELS), 20.0, functools.partial(_cell, raw.height)
            )
        ),
        agent_names=("agent_0", "agent_1"),
        action_names=ACTION_NAMES,
        interchangeable=((0, 1),),
        relabel_state=kitchens.swap_pictures,
        edge_states=LazyMapping(lambda: _edge_states(raw)),
        outcome=Outcome("deliveries", _deliveries),
        env_kwargs={"shaped_reward": shaped_reward},
        drawing=lambda: kitchens.kitchen_map(scene(raw.reset(jax.random.key(0))[1]), _LEGEND),
        render=lambda env_state: kitchens.draw_kitchen(scene(env_state.inner)),
    )


def _pack_fns(raw: Any, pots: np.ndarray) -> PackFns:
    """What changes in a kitchen as whole numbers of a byte: some 30 of them for 1,040 observed."""
    rows, columns = raw.height, raw.width
    blank = blank_state(raw)
    border = (blank.maze_map.shape[0] - rows) // 2
    inside = np.s_[border : border + rows, border : border + columns]
    pot_rows, pot_columns = border + pots // columns, border + pots % columns

    def pack(inner: Any) -> jax.Array:
        parts = [
            inner.maze_map[inside][..., 0],
            inner.maze_map[pot_rows, pot_columns, 2],
            inner.agent_pos,
            inner.agent_dir_idx,
            inner.agent_inv,
            EPISODE_LENGTH - inner.step < _URGENT,
        ]
        return jnp.concatenate([part.reshape(-1).astype(jnp.int32) for part in parts])

    def unpack(code: jax.Array) -> Any:
        sizes = np.cumsum([rows * columns, len(pots), 4, 2, 2])
        kinds, statuses, places, turns, held, urgent = jnp.split(code.astype(jnp.int32), sizes)
        maze = jnp.asarray(blank.maze_map)
        maze = maze.at[*inside, 0].set(kinds.reshape(rows, columns).astype(maze.dtype))
        return blank.replace(
            maze_map=maze.at[pot_rows, pot_columns, 2].set(statuses.astype(maze.dtype)),
            agent_pos=places.reshape(2, 2).astype(blank.agent_pos.dtype),
            agent_dir_idx=turns.astype(blank.agent_dir_idx.dtype),
            agent_inv=held.astype(blank.agent_inv.dtype),
            step=jnp.where(urgent[0] > 0, EPISODE_LENGTH - 1, 0).astype(blank.step.dtype),
        )

    return pack, unpack


def _deliveries(env_state: Any, reward: jax.Array) -> jax.Array:
    """Soups delivered in a step; two cooks' shaped rewards, at most 10, stay below a delivery."""
    del env_state
    return jnp.floor(reward / kitchens.DELIVERY)


def _cell(height: int, agent: int, row: int, column: int, inner: Any) -> jax.Array:
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


_LETTERS = {
    _COUNTER: kitchens.COUNTER,
    _ONION_PILE: "O",
    _PLATE_PILE: kitchens.PLATES,
    _GOAL: kitchens.GOAL,
    _POT: kitchens.POT,
}
_ITEMS = {
    _ONION: Item(ingredients=(0,)),
    _ONION_PILE: Item(ingredients=(0,)),
    _PLATE: Item(plate=True),
    _PLATE_PILE: Item(plate=True),
    _DISH: Item(plate=True, ingredients=(0, 0, 0)),
}


def scene(inner: Any) -> Scene:
    """The kitchen as `kitchens` draws it, from JaxMARL's state."""
    inner = jax.tree.map(np.asarray, inner)
    rows, columns = inner.wall_map.shape
    border = (inner.maze_map.shape[0] - rows) // 2
    cells = inner.maze_map[border : border + rows, border : border + columns]
    return Scene(
        places=tuple(
            tuple(_place(kind, status) for kind, _, status in row) for row in cells.tolist()
        ),
        cooks=tuple(
            Cook(row, column, direction, _ITEMS.get(held, Item()))
            for (column, row), direction, held in zip(
                inner.agent_pos.tolist(),
                inner.agent_dir_idx.tolist(),
                inner.agent_inv.tolist(),
                strict=True,
            )
        ),
    )


def _place(kind: int, status: int) -> Place:
    if kind == _POT:
        onions = min(_POT_EMPTY - status, 3)
        wait = status if status <= _POT_FULL else 0
        return Place(kitchens.POT, Item(ingredients=(0,) * onions), wait)
    lies_on_counter = kind in (_ONION, _PLATE, _DISH)
    letter = kitchens.COUNTER if lies_on_counter else _LETTERS.get(kind, kitchens.FLOOR)
    return Place(letter, _ITEMS.get(kind, Item()))


TASKS = {
    f"overcooked/{layout}": Entry(functools.partial(kitchen, layout), text="overcooked/kitchen")
    for layout in LAYOUTS
}
