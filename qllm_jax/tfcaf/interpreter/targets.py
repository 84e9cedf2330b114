"""How a value is stored in a target: a variable, a tuple of targets, an item, rows of an array.

Called by `statements`.
"""

from __future__ import annotations

import ast
import dataclasses

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf.code import Code
from qllm_jax.tfcaf.interpreter import indexing, mutation
from qllm_jax.tfcaf.interpreter.containers import refuse_global_change, replace_items
from qllm_jax.tfcaf.interpreter.expressions import static_key
from qllm_jax.tfcaf.interpreter.forms import emittable, named
from qllm_jax.tfcaf.interpreter.iteration import unpacked
from qllm_jax.tfcaf.interpreter.state import Run
from qllm_jax.tfcaf.values import (
    ROW,
    Array,
    Mapping,
    Sequence,
    SliceValue,
    Static,
    Value,
    describe,
)


def store(run: Run, target: ast.expr, value: Value) -> None:
    """Assign a value to a target."""
    match target:
        case ast.Name():
            run.assign(target.id, _settled(run, value))
        case ast.Tuple() | ast.List():
            _store_tuple(run, target, value)
        case ast.Subscript():
            _store_item(run, target, value)
        case ast.Starred():
            store(run, target.value, value)
        case _:
            raise run.refuse("target", "This cannot be assigned to.", "Assign to a variable.")


def _settled(run: Run, value: Value) -> Value:
    """A generator is consumed once; as a variable it would be empty the second time."""
    if isinstance(value, Sequence) and value.kind not in ("list", "tuple", "range", "set"):
        code = c.call("list", [value.code])
        return dataclasses.replace(value, kind="list", code=code)
    return value


def _store_tuple(run: Run, target: ast.Tuple | ast.List, value: Value) -> None:
    """`a, b = value`, `a, *rest = value`."""
    items = unpacked(run, target, value)
    stars = ["*" if isinstance(part, ast.Starred) else "" for part in target.elts]
    inner = [part.value if isinstance(part, ast.Starred) else part for part in target.elts]
    names = [part.id if isinstance(part, ast.Name) else None for part in inner]
    written_out = value.code.text[:1] in "(["
    together = all(names) and all(map(emittable, items)) and value.code.text
    if "_" in names and written_out:
        together = ""
    if together and isinstance(value, Sequence) and value.kind == "items":
        together = ""
    if together:
        text = value.code.text
        if written_out and text[0] == "(" and text.endswith(")"):
            text = ", ".join(item.code.within(c.TERNARY) for item in _flat(items, stars))
        spelled = ["_" if name == "_" else run.target(name or "") for name in names]
        shown = [star + name for star, name in zip(stars, spelled, strict=True)]
        run.emit(f"{', '.join(shown)} = {text}" if len(shown) > 1 else f"{shown[0]}, = {text}")
        for name, emitted, item in zip(names, spelled, items, strict=True):
            if name and name != "_":
                run.bind(name, named(item, Code(emitted)))
        return
    if written_out and sum(n != "_" for n in names) > 1:
        items = _held(run, items)
    for part, item in zip(target.elts, items, strict=True):
        store(run, part, item)


def _flat(items: list[Value], stars: list[str]) -> list[Value]:
    """The items with those of `*rest` in their places."""
    flat: list[Value] = []
    for item, star in zip(items, stars, strict=True):
        flat += item.items if star and isinstance(item, Sequence) else [item]
    return flat


def _held(run: Run, items: list[Value]) -> list[Value]:
    """Items in variables of their own, so that assigning one does not change the next."""
    held: list[Value] = []
    for item in items:
        if emittable(item) and not isinstance(item, Static):
            name = run.fresh("held")
            run.emit(f"{name} = {item.code.text}")
            item = named(item, Code(name))
        held.append(item)
    return held


def _store_item(run: Run, target: ast.Subscript, value: Value) -> None:
    """`owner[index] = value`."""
    owner = run.evaluate(target.value)
    index = run.evaluate(target.slice)
    match owner:
        case Sequence(kind="list") if _is_whole(index) and isinstance(value, Sequence):
            replace_items(run, owner, value)
        case Sequence(kind="list"):
            _store_list_item(run, owner, index, value)
        case Mapping():
            refuse_global_change(run, owner)
            key = static_key(run, index)
            place = c.subscript(owner.code, index.code.text)
            if emittable(value):
                run.emit(f"{place.text} = {value.code.text}")
            owner.entries[key] = named(value, place) if emittable(value) else value
        case Array():
            store_rows(run, owner, index, value)
        case _:
            raise run.refuse(
                "type", f"An item of {describe(owner)} is assigned.", "Use a list or an array."
            )


def _is_whole(index: Value) -> bool:
    """Whether an index is `:`."""
    return isinstance(index, SliceValue) and not any((index.start, index.stop, index.step))


def _store_list_item(run: Run, owner: Sequence, index: Value, value: Value) -> None:
    refuse_global_change(run, owner)
    if owner.of_batch:
        if not (isinstance(index, Static) and index.value is ROW):
            raise run.refuse("mixes-batch", "One sample is picked out.", "Treat all alike.")
        number = 0
    elif isinstance(index, Static) and type(index.value) is int:
        number = index.value
    else:
        raise run.refuse("static-argument", "A list index must be a constant.", "Use an array.")
    if not -len(owner.items) <= number < len(owner.items):
        raise run.refuse("index-range", f"The list has no item {number}.", "Append instead.")
    place = c.subscript(owner.code, index.code.text)
    run.emit(f"{place.text} = {value.code.text}")
    fixed = c.subscript(owner.code, str(number % len(owner.items)))
    owner.items[number] = named(value, fixed)


def store_rows(run: Run, owner: Array, index: Value, value: Value) -> None:
    """`array[index] = value`, in place."""
    if run.dialect == "jnp":
        raise run.refuse(
            "immutable", "A JAX array cannot be changed in place.", "Use `x = x.at[i].set(value)`."
        )
    resolved = indexing.resolve(run, owner, index)
    given = run.context("[]=").array(value)
    code = indexing.replaced(run, owner, resolved, given)
    grad = owner.grad or (given.grad and owner.dtype == "float")
    new = run.context("[]=").result(owner.shape, owner.dtype, code, grad=grad)
    mutation.update(run, owner, new)
