"""Find out what the numbers of a global state are, from the environment's own state.

Every entry is differentiated with respect to the float leaves of the environment's state, and
watched while the other leaves are changed. An entry that is a difference, a copy or another fixed
linear combination of few numbers gets a name that says so, and a function that recomputes it.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qllm_jax.tasks.layout import Part, tile
from qllm_jax.tasks.spec import StateField

_INF = float("inf")
_MOST_TERMS = 3
_TOLERANCE = 1e-4


@dataclasses.dataclass(frozen=True)
class _Term:
    """One number of the environment's state and its weight in an entry."""

    leaf: int
    index: tuple[int, ...]
    weight: float


@dataclasses.dataclass(frozen=True)
class _Entry:
    """What is known of one number of the global state."""

    terms: tuple[_Term, ...] | None  # None: not a fixed linear combination
    constant: float
    depends_on: frozenset[int]  # leaves


def derived_layout(
    state_fn: Callable[[Any], jax.Array], inner: Any, blocks: Sequence[tuple[str, int]]
) -> tuple[StateField, ...]:
    """A layout that was worked out, not declared.

    Fields whose name ends in "?" could not be worked out: their function asks the environment
    itself, so that nothing about them is proved but their place.

    Args:
        state_fn: Environment's state to global state, `[D]`.
        inner: A few different states, every leaf with a leading axis K.
        blocks: Consecutive parts of the global state: name and size.
    """
    paths, leaves = _named_leaves(inner)
    entries = _entries(state_fn, inner, leaves)
    owners = [(name, i) for name, size in blocks for i in range(size)]
    parts, start = [], 0
    while start < len(entries):
        stop = start + 1
        while (
            stop < len(entries)
            and owners[stop][0] == owners[start][0]
            and _continues(entries[stop - 1], entries[stop], first=entries[start])
        ):
            stop += 1
        parts.append(_part(state_fn, paths, entries[start:stop], owners[start], start))
        start = stop
    return tile(parts)


def _named_leaves(inner: Any) -> tuple[list[str], list[jax.Array]]:
    flat, _ = jax.tree_util.tree_flatten_with_path(inner)
    names = [jax.tree_util.keystr(path).lstrip(".") for path, _ in flat]
    return names, [leaf for _, leaf in flat]


def _is_float(leaf: jax.Array) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.floating)


def _entries(state_fn, inner, leaves) -> list[_Entry]:
    """Differentiate and perturb at every one of the K states; what agrees is believed."""
    structure = jax.tree.structure(inner)
    is_float = [_is_float(leaf) for leaf in leaves]

    def from_floats(floats, others):
        mixed_floats, mixed_others = iter(floats), iter(others)
        mixed = [next(mixed_floats if flag else mixed_others) for flag in is_float]
        return state_fn(jax.tree.unflatten(structure, mixed))

    floats = [leaf for leaf, flag in zip(leaves, is_float, strict=True) if flag]
    others = [leaf for leaf, flag in zip(leaves, is_float, strict=True) if not flag]
    values = np.asarray(jax.jit(jax.vmap(from_floats))(floats, others))
    jacobian = jax.jit(jax.vmap(jax.jacfwd(from_floats)))
    slopes = [np.asarray(slope) for slope in (jacobian(floats, others) if floats else [])]
    float_leaves = [i for i, flag in enumerate(is_float) if flag]
    other_leaves = [i for i, flag in enumerate(is_float) if not flag]
    moved = [_moves(from_floats, floats, others, i, values.shape[1]) for i in range(len(others))]
    return [
        _entry(
            d,
            values[:, d],
            {leaf: slope[:, d] for leaf, slope in zip(float_leaves, slopes, strict=True)},
            {leaf: change[:, :, d] for leaf, change in zip(other_leaves, moved, strict=True)},
            leaves,
        )
        for d in range(values.shape[1])
    ]


def _moves(from_floats, floats, others, which: int, num_entries: int) -> np.ndarray:
    """How the global state changes with each element of one leaf that is no float, `[K, E, D]`.

    An integer is raised by one, a bool is flipped; a random key stays.
    """
    leaf = others[which]
    size = int(np.prod(leaf.shape[1:]))
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) or size > 512:
        return np.zeros((leaf.shape[0], 0, num_entries))

    def one_state(floats, others):
        base = from_floats(floats, others)

        def one_element(element):
            flat = others[which].reshape(-1)
            new = ~flat[element] if flat.dtype == bool else flat[element] + 1
            changed = list(others)
            changed[which] = flat.at[element].set(new).reshape(others[which].shape)
            return from_floats(floats, changed) - base

        return jax.vmap(one_element)(jnp.arange(size))

    return np.asarray(jax.jit(jax.vmap(one_state))(floats, others))


def _entry(d: int, values, slopes, moved, leaves) -> _Entry:
    terms, depends = [], set()
    steady = True
    for leaf, slope in slopes.items():  # [K, *leaf shape]
        if np.any(np.abs(slope) > _TOLERANCE):
            depends.add(leaf)
            steady &= bool(np.ptp(slope, axis=0).max(initial=0.0) < _TOLERANCE)
            for row in np.argwhere(np.abs(slope[0]) > _TOLERANCE).tolist():
                terms.append(_Term(leaf, tuple(row), float(slope[0][tuple(row)])))
    for leaf, change in moved.items():
        if change.size and np.any(np.abs(change) > _TOLERANCE):
            depends.add(leaf)
            shape = leaves[leaf].shape[1:]
            sign = _direction(leaves[leaf])  # [K, E]
            weight = change / sign
            steady &= bool(np.ptp(weight, axis=0).max(initial=0.0) < _TOLERANCE)
            for element in np.flatnonzero(np.abs(weight[0]) > _TOLERANCE):
                index = tuple(int(i) for i in np.unravel_index(element, shape)) if shape else ()
                terms.append(_Term(leaf, index, float(weight[0][element])))
    total = np.zeros(len(values))
    for term in terms:
        column = np.asarray([state[term.index] for state in np.asarray(leaves[term.leaf])])
        total += term.weight * column
    constant = values - total
    if not steady or len(terms) > _MOST_TERMS or np.ptp(constant) > 1e-3:
        return _Entry(None, 0.0, frozenset(depends))
    return _Entry(tuple(terms), float(np.mean(constant)), frozenset(depends))


def _direction(leaf: jax.Array) -> np.ndarray:
    """What the perturbation did to each element: +1, or -1 where a true bool was flipped."""
    flat = np.asarray(leaf).reshape(leaf.shape[0], -1)
    return np.where(flat, -1.0, 1.0) if flat.dtype == bool else np.ones(flat.shape)


def _continues(before: _Entry, entry: _Entry, first: _Entry) -> bool:
    """Whether the next entry takes the same field on: the next column of the same things."""
    if entry.terms is None or before.terms is None:
        return (
            entry.terms is None
            and before.terms is None
            and entry.depends_on == before.depends_on == first.depends_on
        )
    if not entry.terms:
        return not before.terms and entry.constant == before.constant
    return (
        len(entry.terms) == len(before.terms)
        and all(
            new.leaf == old.leaf
            and abs(new.weight - old.weight) < _TOLERANCE
            and len(new.index) > 0
            and new.index == (*old.index[:-1], old.index[-1] + 1)
            for new, old in zip(entry.terms, before.terms, strict=True)
        )
        and abs(entry.constant - before.constant) < 1e-3
    )


def _part(state_fn, paths, entries: Sequence[_Entry], owner: tuple[str, int], start: int) -> Part:
    block, offset = owner
    stop, size = offset + len(entries), len(entries)
    place = f"{block}[{offset}]" if size == 1 else f"{block}[{offset}:{stop}]"
    first = entries[0]
    if first.terms is None:
        leaves = ", ".join(sorted(paths[leaf] for leaf in first.depends_on)) or "nothing found"
        return Part(
            f"{place}?",
            size,
            "unknown",
            -_INF,
            _INF,
            f"not worked out; depends on {leaves}",
            lambda inner: state_fn(inner)[start : start + size],
        )
    if not first.terms:
        value = first.constant
        return Part(
            place, size, "constant", value, value, "the same in all states that were looked at",
            lambda inner: jnp.full((size,), value),
        )  # fmt: skip
    by_sign = sorted(first.terms, key=lambda term: term.weight < 0)
    formula = " ".join(_spelled(paths, term, size) for term in by_sign).lstrip("+ ")
    if abs(first.constant) > 1e-6:
        formula += f" {first.constant:+.4g}"
    return Part(
        place, size, "as in the environment's state", -_INF, _INF, f"= {formula}",
        lambda inner: _recomputed(inner, entries),
    )  # fmt: skip


def _spelled(paths, term: _Term, size: int) -> str:
    sign = "-" if term.weight < 0 else "+"
    factor = "" if abs(abs(term.weight) - 1) < _TOLERANCE else f"{abs(term.weight):.4g}·"
    index = [str(i) for i in term.index]
    if index and size > 1:
        index[-1] = f"{term.index[-1]}:{term.index[-1] + size}"
    return f"{sign} {factor}{paths[term.leaf]}" + (f"[{', '.join(index)}]" if index else "")


def _recomputed(inner: Any, entries: Sequence[_Entry]) -> jax.Array:
    leaves = jax.tree.leaves(inner)
    return jnp.stack(
        [
            entry.constant
            + sum(
                (term.weight * leaves[term.leaf][term.index].astype(jnp.float32)
                 for term in entry.terms or ()),
                start=jnp.zeros(()),
            )
            for entry in entries
        ]
    )  # fmt: skip
