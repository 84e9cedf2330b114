"""Building, checking and printing state layouts."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np

from qllm_jax.tasks.spec import StateField, TaskSpec

_MOST_ROWS = 72


@dataclasses.dataclass(frozen=True)
class Part:
    """A field before it has a place: `StateField` with a size instead of a slice.

    `fn` reads the environment's inner state (the adapter's wrapping is removed) and returns
    `[size]` numbers.
    """

    name: str
    size: int
    unit: str
    low: float
    high: float
    description: str
    fn: Callable[[Any], jax.Array]


def tile(parts: Iterable[Part]) -> tuple[StateField, ...]:
    """Lay fields one after another from index 0."""
    fields, start = [], 0
    for part in parts:
        fields.append(
            StateField(
                name=part.name,
                start=start,
                stop=start + part.size,
                unit=part.unit,
                low=part.low,
                high=part.high,
                description=part.description,
                from_env_state=_unwrapped(part.fn),
            )
        )
        start += part.size
    return tuple(fields)


def _unwrapped(fn: Callable[[Any], jax.Array]) -> Callable[[Any], jax.Array]:
    """`fn` of the adapter's state instead of the inner one."""
    return lambda env_state: fn(env_state.inner)


def tiling_errors(layout: Sequence[StateField], state_dim: int) -> list[str]:
    """What keeps the fields from tiling `0..state_dim` exactly, in order; empty when they do."""
    errors, position = [], 0
    for field in layout:
        if field.start != position:
            errors.append(f"{field.name} starts at {field.start}; the field before ends {position}")
        if field.stop <= field.start:
            errors.append(f"{field.name} is empty: {field.start}:{field.stop}")
        position = field.stop
    if position != state_dim:
        errors.append(f"the fields end at {position}; the state has {state_dim} numbers")
    names = [field.name for field in layout]
    errors += [f"{name} is used twice" for name in sorted(set(names)) if names.count(name) > 1]
    return errors


def layout_errors(
    layout: Sequence[StateField], env_states: Any, states: np.ndarray, tolerance: float = 1e-5
) -> list[str]:
    """Fields that say something else than the state does; empty when the layout is right.

    Args:
        layout: Fields that tile the state.
        env_states: The environment's states, every leaf with a leading axis K.
        states: The global states that were handed out, `[K, D]`.
        tolerance: Largest absolute difference, relative for values above 1.

    Returns:
        One line per wrong field: recomputed value differs, outside its range, or not the whole
        numbers that its unit promises.
    """
    recomputed = jax.jit(
        jax.vmap(lambda env_state: [field.from_env_state(env_state) for field in layout])
    )(env_states)
    errors = []
    for field, values in zip(layout, recomputed, strict=True):
        stated = np.asarray(states)[:, field.start : field.stop]
        expected = np.asarray(values, np.float32).reshape(stated.shape[0], -1)
        errors += _field_errors(field, stated, expected, tolerance)
    return errors


def _field_errors(field, stated, expected, tolerance) -> list[str]:
    where = f"{field.name} [{field.start}:{field.stop}]"
    if expected.shape != stated.shape:
        return [f"{where}: recomputed {expected.shape[1]} numbers for {stated.shape[1]}"]
    worst = np.max(np.abs(stated - expected) / np.maximum(1.0, np.abs(expected)))
    if not worst <= tolerance:
        return [f"{where}: differs by {worst:.3g} from the environment's own state"]
    low, high = float(stated.min()), float(stated.max())
    if low < field.low - tolerance or high > field.high + tolerance:
        return [f"{where}: values {low:.4g}..{high:.4g}, declared {field.low:g}..{field.high:g}"]
    whole = field.unit.startswith(("0/1", "integer"))
    if whole and np.max(np.abs(stated - np.round(stated))) > tolerance:
        return [f"{where}: not whole numbers, but the unit is {field.unit}"]
    return []


def layout_table(spec: TaskSpec) -> str:
    """The layout as a Markdown table; long ones with repeated blocks are folded.

    A folded row stands for `count` fields of the same name in equal distance, which is stated.
    """
    lines = [
        "| indices | field | unit | range | meaning |",
        "|---|---|---|---|---|",
    ]
    if len(spec.layout) <= _MOST_ROWS:
        return "\n".join(lines + [_row(field) for field in spec.layout])
    for group in _folded(spec.layout):
        lines.append(_row(group[0]) if len(group) == 1 else _folded_row(group))
    return "\n".join(lines)


def _row(field: StateField) -> str:
    span = f"{field.start}" if field.stop == field.start + 1 else f"{field.start}:{field.stop}"
    return f"| {span} | {field.name} | {field.unit} | {_range(field)} | {field.description} |"


def _folded_row(group: Sequence[StateField]) -> str:
    first, count = group[0], len(group)
    stride = group[1].start - first.start
    size = first.stop - first.start
    span = f"{first.start} + {stride}·k" + (f", {size} numbers" if size > 1 else "")
    name = f"{first.name} … {group[-1].name}"
    text = f"k = 0..{count - 1}; for k = 0: {first.description}"
    return f"| {span} | {name} | {first.unit} | {_range(first)} | {text} |"


def _range(field: StateField) -> str:
    if not np.isfinite(field.low) and not np.isfinite(field.high):
        return "unbounded"
    if field.low == field.high:
        return f"always {field.low:g}"
    return f"{field.low:g} .. {field.high:g}"


def _folded(layout: Sequence[StateField]) -> list[list[StateField]]:
    """Group the fields that repeat in equal distance under one name with another owner number."""
    groups: dict[tuple, list[StateField]] = {}
    for field in layout:
        owner, _, what = field.name.rpartition(".")
        kind = owner.rstrip("0123456789") if owner else field.name
        key = (kind, what, field.stop - field.start, field.unit, field.low, field.high)
        groups.setdefault(key, []).append(field)
    rows = []
    for group in groups.values():
        steps = {b.start - a.start for a, b in itertools.pairwise(group)}
        rows += [group] if len(steps) == 1 else [[field] for field in group]
    return sorted(rows, key=lambda group: group[0].start)
