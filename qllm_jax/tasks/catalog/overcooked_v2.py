"""Overcooked's second version: several ingredients, a recipe of the day, a limited view.

Gessler et al., "OvercookedV2: Rethinking Overcooked for Zero-Shot Coordination",
https://arxiv.org/abs/2503.17821; the kitchen is JaxMARL's `overcooked_v2`. What does not fit: its
kitchen for one cook (`long_room`: there is no credit to assign), and its switch that permutes an
agent's ingredients, with which the cooks' pictures are of different kitchens.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qllm_jax.envs.jaxmarl_adapter import PackFns, make_team_env
from qllm_jax.errors import UserError
from qllm_jax.tasks.catalog import kitchens
from qllm_jax.tasks.catalog.kitchens import EPISODE_LENGTH, Cook, Item, Place, Scene
from qllm_jax.tasks.entry import Entry
from qllm_jax.tasks.layout import tile
from qllm_jax.tasks.lazy import LazyMapping, jaxmarl
from qllm_jax.tasks.made_up import blank_state, observe_each
from qllm_jax.tasks.spec import Outcome, TaskSpec

# One kind of ingredient and always the same soup, as in the first version.
CLASSIC = ("cramped_room", "asymm_advantages", "coord_ring", "forced_coord", "counter_circuit")
LAYOUTS = (
    *CLASSIC,
    "cramped_room_v2",
    "asymm_advantages_recipes_center",
    "asymm_advantages_recipes_left",
    "asymm_advantages_recipes_right",
    "two_rooms",
    "two_rooms_both",
    "fun_coordination",
    "more_fun_coordination",
    "fun_symmetries",
    "fun_symmetries1",
    "fun_symmetries_plates",
    "grounded_coord_simple",
    "grounded_coord_ring",
    "test_time_simple",
    "test_time_wide",
    "demo_cook_simple",
    "demo_cook_wide",
)
ACTION_NAMES = ("right", "down", "left", "up", "stay", "interact")
# What JaxMARL's grid writes into a cell's first channel; ingredient k's pile is _PILE + k.
_WALL, _GOAL, _POT, _RECIPE, _BUTTON, _PLATE_PILE, _PILE = 1, 4, 5, 6, 7, 9, 10
_STATIC = (_WALL, _GOAL, _POT, _RECIPE, _BUTTON, _PLATE_PILE)
_COOKING_TIME = 20
_PILE_LETTERS = "abcd"  # of the ingredients' piles in the map: no kitchen has more
# Bits of what lies in a cell or is carried: a plate, "cooked", two bits per ingredient.
_PLATE, _COOKED = 1, 2


def kitchen(
    layout: str,
    shaped_reward: float = 0.0,
    agent_view_size: int | None = None,
    negative_rewards: bool = False,
    sample_recipe_on_delivery: bool = False,
) -> TaskSpec:
    """Both cooks share every delivery.

    Args:
        layout: One of `LAYOUTS`.
        shaped_reward: Factor of JaxMARL's help for beginners, in [0, 1].
        agent_view_size: How many cells a cook sees in each direction; None for the whole kitchen.
            The global state holds the whole kitchen in any case.
        negative_rewards: Whether a wrong soup costs as much as a right one pays.
        sample_recipe_on_delivery: Whether the recipe changes with a right delivery, not only at
            the start of an episode.
    """
    kitchens.check_shaped_reward(shaped_reward)
    if agent_view_size is not None and agent_view_size < 1:
        raise UserError(f"agent_view_size is {agent_view_size}; give 1 or more cells, or null.")
    jaxmarl()
    from jaxmarl.environments.overcooked_v2.overcooked import OvercookedV2

    raw = OvercookedV2(
        layout=layout,
        max_steps=EPISODE_LENGTH,
        agent_view_size=agent_view_size,
        negative_rewards=negative_rewards,
        sample_recipe_on_delivery=sample_recipe_on_delivery,
    )
    whole = raw if agent_view_size is None else OvercookedV2(layout=layout)
    env = make_team_env(
        raw,
        name=f"overcooked_v2/{layout}",
        episode_length=EPISODE_LENGTH,
        reward_fn=functools.partial(kitchens.shared_reward, shaped_reward),
        state_fn=None if whole is raw else functools.partial(_whole_kitchen, whole),
        terminated_fn=lambda inner, done: jnp.zeros((), bool),
        pack_fns=_pack_fns(raw),
        fixed_length=True,
    )
    return TaskSpec(
        name=f"overcooked_v2/{layout}",
        env=env,
        layout=tile(
            kitchens.picture_parts(
                whole.obs_shape,
                float(_COOKING_TIME),
                functools.partial(_cell, raw.layout.num_ingredients),
            )
        ),
        agent_names=("agent_0", "agent_1"),
        action_names=ACTION_NAMES,
        interchangeable=((0, 1),),
        relabel_state=kitchens.swap_pictures,
        edge_states=LazyMapping(lambda: _edge_states(whole)),
        outcome=Outcome("deliveries", _deliveries),
        env_kwargs={
            "shaped_reward": shaped_reward,
            "agent_view_size": agent_view_size,
            "negative_rewards": negative_rewards,
            "sample_recipe_on_delivery": sample_recipe_on_delivery,
        },
        drawing=functools.partial(_drawing, whole),
        render=lambda env_state: kitchens.draw_kitchen(scene(env_state.inner)),
    )


def _pack_fns(raw: Any) -> PackFns:
    """What changes in a kitchen as whole numbers of a byte: some 60 of them for 3,150 observed."""
    static = np.asarray(raw.layout.static_objects)
    rows, columns = static.shape
    timed = np.nonzero((static == _POT) | (static == _BUTTON))
    blank = blank_state(raw)
    num_bytes = 1 if raw.layout.num_ingredients <= 3 else 2  # of what lies somewhere, or is held

    def split(contents: jax.Array) -> list[jax.Array]:
        return [(contents >> 8 * place) % 256 for place in range(num_bytes)]

    def joined(parts: jax.Array) -> jax.Array:
        shifts = 8 * jnp.arange(num_bytes)[:, None]
        return (parts.reshape(num_bytes, -1) << shifts).sum(axis=0)

    def pack(inner: Any) -> jax.Array:
        agents = inner.agents
        contents = [inner.grid[..., 1].reshape(-1), agents.inventory, inner.recipe.reshape(1)]
        parts = split(jnp.concatenate(contents))
        parts += [inner.grid[*timed, 2], agents.pos.x, agents.pos.y, agents.dir]
        return jnp.concatenate([part.reshape(-1).astype(jnp.int32) for part in parts])

    def unpack(code: jax.Array) -> Any:
        size = rows * columns + kitchens.NUM_COOKS + 1
        sizes = np.cumsum([num_bytes * size, len(timed[0]), 2, 2])
        contents, timers, xs, ys, turns = jnp.split(code.astype(jnp.int32), sizes)
        lies, held, recipe = jnp.split(joined(contents), np.cumsum([rows * columns, 2]))
        grid = jnp.stack([static, lies.reshape(rows, columns), jnp.zeros_like(static)], axis=-1)
        agents = blank.agents.replace(
            pos=blank.agents.pos.replace(x=xs, y=ys), dir=turns, inventory=held
        )
        return blank.replace(grid=grid.at[*timed, 2].set(timers), agents=agents, recipe=recipe[0])

    return pack, unpack


def _has(raw: Any, kind: int) -> bool:
    """Whether a kind of cell is in the kitchen."""
    return bool((raw.layout.static_objects == kind).any())


def _whole_kitchen(whole: Any, inner: Any, obs: Any) -> jax.Array:
    """Every cook's picture of the whole kitchen, where the cooks themselves see less; `[D]`."""
    del obs
    return whole.get_obs_default(inner).reshape(-1)


def _deliveries(env_state: Any, reward: jax.Array) -> jax.Array:
    """1 where a step delivered what the recipe asks for."""
    del reward
    return jnp.asarray(env_state.inner.new_correct_delivery, jnp.float32)


def _contents(code: jax.Array, num_ingredients: int) -> list[jax.Array]:
    """Plate, cooked, and the count of each ingredient, 0 to 3, of what a code stands for."""
    counts = [(code >> (2 + 2 * k)) % 4 for k in range(num_ingredients)]
    return [code % 2, (code >> 1) % 2, *counts]


def _cell(num_ingredients: int, agent: int, row: int, column: int, inner: Any) -> jax.Array:
    """The 25 + 5·ingredients channels of one cell, from the grid and the agents."""
    agents = inner.agents
    kind, lies, timer = inner.grid[row, column]
    channels = []
    for who in (agent, 1 - agent):
        here = (agents.pos.y[who] == row) & (agents.pos.x[who] == column)
        channels += [here, *(here & (agents.dir[who] == turn) for turn in range(4))]
        channels += _contents(jnp.where(here, agents.inventory[who], 0), num_ingredients)
    channels += [kind == static for static in _STATIC]
    channels += [kind == _PILE + k for k in range(num_ingredients)]
    channels += _contents(lies, num_ingredients)
    shown = (kind == _RECIPE) | ((kind == _BUTTON) & (timer > 0))
    channels += _contents(jnp.where(shown, inner.recipe, 0), num_ingredients)
    channels.append(jnp.where(kind == _POT, timer, 0))
    return jnp.stack([jnp.asarray(channel, jnp.float32) for channel in channels])


def _drawing(whole: Any) -> str:
    """The kitchen's map, its soups, and where its channels are."""
    count = whole.layout.num_ingredients
    _, start = whole.reset(jax.random.key(0))
    legend = [
        "(0 agent_0, 1 agent_1, P pot,",
        "D plate pile, X delivery counter, # empty counter, . floor,",
        *(["R recipe of the day,"] if _has(whole, _RECIPE) else []),
        *(["B button: interacting shows the recipe, for -5,"] if _has(whole, _BUTTON) else []),
        f"{', '.join(f'{_pile_letter(k)} pile of ingredient {k}' for k in range(count))}):",
    ]
    recipes = sorted(sorted(recipe) for recipe in whole.layout.possible_recipes)
    return "\n\n".join(
        [
            kitchens.kitchen_map(scene(start), legend),
            f"Ingredients: {count} (I = {count}). Soups that can be asked for, by ingredient: "
            + "; ".join(" ".join(map(str, recipe)) for recipe in recipes)
            + ".",
            "Channels of a cell here:\n\n" + _channel_table(count),
        ]
    )


def _pile_letter(ingredient: int) -> str:
    return _PILE_LETTERS[ingredient]


def _channel_table(count: int) -> str:
    """The channels by number, for `count` ingredients."""
    size = {"here": 1, "turn": 4, "what": 2 + count}
    rows, start = [], 0
    for length, meaning in (
        (size["here"], "self is here"),
        (size["turn"], "self is here and faces up, down, right, left"),
        (size["what"], "self carries: plate, cooked, then the count of each ingredient"),
        (size["here"], "the other is here"),
        (size["turn"], "the other is here and faces up, down, right, left"),
        (size["what"], "the other carries: plate, cooked, counts"),
        (1, "counter"),
        (1, "delivery counter"),
        (1, "pot"),
        (1, "recipe of the day"),
        (1, "recipe button"),
        (1, "plate pile"),
        (count, "pile of ingredient 0, 1, …" if count > 1 else "pile of ingredient 0"),
        (size["what"], "what lies here or is in the pot: plate, cooked, counts 0–3"),
        (size["what"], "recipe shown here: 0, 0, counts; else 0"),
        (1, "steps until this pot is done, 20–1; else 0"),
    ):
        span = f"{start}" if length == 1 else f"{start}:{start + length}"
        rows.append(f"| {span} | {meaning} |")
        start += length
    return "\n".join(["| channel | meaning |", "|---|---|", *rows])


def _edge_states(raw: Any) -> dict[str, np.ndarray]:
    """Kitchens at their extremes: filling, cooking, ready, hands full."""
    _, start = jax.jit(raw.reset)(jax.random.key(0))
    is_pot = start.grid[..., 0] == _POT
    soup = start.recipe

    def pots(content, timer):
        grid = start.grid.at[..., 1].set(jnp.where(is_pot, content, start.grid[..., 1]))
        return grid.at[..., 2].set(jnp.where(is_pot, timer, grid[..., 2]))

    def hands(first, second):
        return start.agents.replace(inventory=jnp.stack([jnp.asarray(first), jnp.asarray(second)]))

    ingredient, dish = 4, soup | _PLATE | _COOKED
    return observe_each(
        raw,
        raw.agents,
        {
            "start": start,
            "two_in_every_pot": start.replace(grid=pots(2 * ingredient, 0)),
            "every_pot_cooking": start.replace(
                grid=pots(soup, _COOKING_TIME), agents=hands(_PLATE, _PLATE)
            ),
            "every_pot_ready": start.replace(
                grid=pots(soup | _COOKED, 0), agents=hands(_PLATE, ingredient)
            ),
            "both_hold_soup": start.replace(agents=hands(dish, dish)),
        },
    )


_LETTERS = {
    _WALL: kitchens.COUNTER,
    _GOAL: kitchens.GOAL,
    _POT: kitchens.POT,
    _RECIPE: kitchens.RECIPE,
    _BUTTON: kitchens.BUTTON,
    _PLATE_PILE: kitchens.PLATES,
}


def scene(inner: Any) -> Scene:
    """The kitchen as `kitchens` draws it, from JaxMARL's state."""
    inner = jax.tree.map(np.asarray, inner)
    agents, recipe = inner.agents, int(inner.recipe)
    return Scene(
        places=tuple(
            tuple(_place(kind, lies, timer, recipe) for kind, lies, timer in row)
            for row in inner.grid.tolist()
        ),
        cooks=tuple(
            Cook(row, column, direction, _item(held))
            for row, column, direction, held in zip(
                agents.pos.y.tolist(),
                agents.pos.x.tolist(),
                agents.dir.tolist(),
                agents.inventory.tolist(),
                strict=True,
            )
        ),
    )


def _place(kind: int, lies: int, timer: int, recipe: int) -> Place:
    if kind >= _PILE:
        return Place(_pile_letter(kind - _PILE), Item(ingredients=(kind - _PILE,)))
    if kind == _PLATE_PILE:
        return Place(kitchens.PLATES, Item(plate=True))
    if kind == _RECIPE or (kind == _BUTTON and timer > 0):
        return Place(_LETTERS[kind], _item(recipe))
    wait = timer if kind == _POT else 0
    return Place(_LETTERS.get(kind, kitchens.FLOOR), _item(lies), wait)


def _item(code: int) -> Item:
    counts = ((code >> (2 + 2 * k)) % 4 for k in range(len(_PILE_LETTERS)))
    ingredients = tuple(k for k, count in enumerate(counts) for _ in range(count))
    return Item(plate=bool(code & _PLATE), ingredients=ingredients)


TASKS = {
    f"overcooked_v2/{layout}": Entry(
        functools.partial(kitchen, layout), text="overcooked_v2/kitchen"
    )
    for layout in LAYOUTS
}
