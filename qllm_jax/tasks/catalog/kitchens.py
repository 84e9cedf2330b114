"""What both versions of Overcooked share: pictures as a state, a map in letters, a drawing.

A version describes its kitchen as `Place`s and `Cook`s (`Scene`); nothing here knows how either
stores them.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qllm_jax.errors import UserError
from qllm_jax.tasks import rendering
from qllm_jax.tasks.layout import Part

EPISODE_LENGTH = 400
NUM_COOKS = 2
DELIVERY = 20.0

FLOOR, COUNTER, POT, GOAL, PLATES, RECIPE, BUTTON = ".", "#", "P", "X", "D", "R", "B"
# An ingredient's colour by its number, with its darker rim.
_INGREDIENTS = (
    ((230, 159, 0), (180, 120, 0)),
    ((86, 180, 233), (40, 120, 170)),
    ((0, 158, 115), (0, 105, 80)),
    ((204, 121, 167), (150, 75, 115)),
)
_COLOURS = {
    COUNTER: (222, 205, 184),
    GOAL: (196, 222, 200),
    POT: (90, 94, 102),
    RECIPE: (250, 240, 200),
    BUTTON: (230, 200, 150),
}
_FACING = ((0, 1), (0, -1), (1, 0), (-1, 0))  # up, down, right, left on the canvas
_WHITE = (255, 255, 255)


def check_shaped_reward(factor: float) -> None:
    """Raises: UserError: the factor of the shaped rewards lies outside [0, 1]."""
    if not 0.0 <= factor <= 1.0:
        raise UserError(f"shaped_reward is {factor}; it must lie in [0, 1].")


@dataclasses.dataclass(frozen=True)
class Item:
    """What lies somewhere or is carried: a plate, ingredients by number, or a dish of both."""

    plate: bool = False
    ingredients: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class Place:
    """A cell of the kitchen.

    Attributes:
        letter: What stands there, as the map of the prompt has it.
        item: What lies there, or what its pile is made of.
        wait: Steps until a cooking pot is done; 0 otherwise.
    """

    letter: str = FLOOR
    item: Item = Item()
    wait: int = 0


@dataclasses.dataclass(frozen=True)
class Cook:
    """Where a cook stands, its direction (0 up, 1 down, 2 right, 3 left), and what it carries."""

    row: int
    column: int
    direction: int
    item: Item


@dataclasses.dataclass(frozen=True)
class Scene:
    """A kitchen at one moment: `places[row][column]`, and the cooks in their order."""

    places: Sequence[Sequence[Place]]
    cooks: Sequence[Cook]


def picture_parts(
    shape: tuple[int, int, int], high: float, cell: Callable[..., jax.Array]
) -> Iterator[Part]:
    """The state as one picture per cook, a part per row of cells.

    Args:
        shape: Rows, columns and channels of a picture.
        high: The largest number in it.
        cell: `(cook, row, column, inner state) -> [channels]`.
    """
    rows, columns, channels = shape
    for agent in range(NUM_COOKS):
        for row in range(rows):
            yield Part(
                f"agent_{agent}.row_{row}",
                columns * channels,
                f"integer, channels 0..{channels - 1} of the table above",
                0.0,
                high,
                f"row {row} of the kitchen as agent_{agent} sees it, cell after cell",
                functools.partial(_cells_of_row, cell, columns, agent, row),
            )


def _cells_of_row(
    cell: Callable[..., jax.Array], columns: int, agent: int, row: int, inner: Any
) -> jax.Array:
    """The channels of a row's cells, `[columns * channels]`."""
    cells = jax.vmap(lambda column: cell(agent, row, column, inner))(jnp.arange(columns))
    return cells.reshape(-1)


def swap_pictures(state: jax.Array, permutation: np.ndarray) -> jax.Array:
    """The state after relabelling the cooks: their pictures in the other order, `[D]`."""
    return state.reshape(NUM_COOKS, -1)[jnp.asarray(permutation)].reshape(-1)


def kitchen_map(scene: Scene, legend: Sequence[str]) -> str:
    """A letter a cell, under one line of facts that `legend`'s lines complete."""
    letters = [[place.letter for place in row] for row in scene.places]
    for agent, cook in enumerate(scene.cooks):
        letters[cook.row][cook.column] = str(agent)
    return "\n".join(
        [
            f"This kitchen, {len(letters)} rows of {len(letters[0])} columns, row 0 on top, at the "
            f"start {legend[0]}",
            *legend[1:],
            "",
            *("    " + "".join(row) for row in letters),
        ]
    )


def draw_kitchen(scene: Scene) -> np.ndarray:
    """The kitchen from above: counters, piles, pots with their content, cooks with theirs."""
    height, width = len(scene.places), len(scene.places[0])
    canvas = rendering.Canvas(0, -height, width, 0, width=64 * width)
    for row, places in enumerate(scene.places):
        for column, place in enumerate(places):
            if place.letter != FLOOR:
                _draw_place(canvas, place, row, column)
    for agent, cook in enumerate(scene.cooks):
        x, y = cook.column + 0.5, -cook.row - 0.5
        dx, dy = _FACING[cook.direction]
        canvas.disc(x + 0.3 * dx, y + 0.3 * dy, 0.13, rendering.agent_colour(agent))
        canvas.agent(x, y, 0.34, agent)
        _draw_item(canvas, cook.item, x + 0.27, y - 0.27, 0.16)
    return canvas.pixels()


def _draw_place(canvas: rendering.Canvas, place: Place, row: int, column: int) -> None:
    x, y = column + 0.5, -row - 0.5
    colour = _COLOURS.get(place.letter, _COLOURS[COUNTER])
    canvas.box(column, -row - 1, column + 1, -row, _COLOURS[COUNTER])
    canvas.box(column + 0.06, -row - 0.94, column + 0.94, -row - 0.06, colour, 1, 0.1)
    if place.wait > 0:
        canvas.text(x, y, 0.35, str(place.wait), _WHITE)
    elif place.letter in (POT, RECIPE, BUTTON):
        _draw_row(canvas, place.item.ingredients, x, y)
    else:
        is_pile = place.letter not in (COUNTER, GOAL)
        _draw_item(canvas, place.item, x, y, 0.3 if is_pile else 0.2)


def _draw_row(canvas: rendering.Canvas, ingredients: Sequence[int], x: float, y: float) -> None:
    for place, ingredient in enumerate(ingredients):
        canvas.disc(x - 0.22 + 0.22 * place, y, 0.09, _INGREDIENTS[ingredient][0])
    if len(ingredients) == 3:  # a soup that is ready, or a recipe
        canvas.ring(x, y, 0.37, 0.04, _WHITE)


def _draw_item(canvas: rendering.Canvas, item: Item, x: float, y: float, size: float) -> None:
    if item.plate:
        canvas.disc(x, y, size, _WHITE)
        canvas.ring(x, y, size, 0.04, rendering.MUTED)
        for place, ingredient in enumerate(item.ingredients):
            offset = (place - (len(item.ingredients) - 1) / 2) * size * 0.55
            canvas.disc(x + offset, y, size * 0.28, _INGREDIENTS[ingredient][0])
    elif item.ingredients:
        colour, rim = _INGREDIENTS[item.ingredients[0]]
        canvas.disc(x, y, size, colour)
        canvas.ring(x, y, size * 0.6, 0.03, rim)


def shared_reward(factor: float, rewards: Any, infos: Mapping[str, Any]) -> jax.Array:
    """What both cooks are paid, once, and `factor` times the sum of their shaped rewards."""
    return rewards["agent_0"] + factor * sum(infos["shaped_reward"].values())
