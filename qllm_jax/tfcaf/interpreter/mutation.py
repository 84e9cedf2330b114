"""Changes in place as torch and NumPy mean them: every name for the same memory sees them.

The emitted source has no memory to share, so a change becomes an assignment to the variable, to
what it is a view of, and to every other name that is still read. What cannot be said that way is
refused. Called by statements (`x += 1`, `x[i] = 2`) and by methods in place (`x.add_(1)`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf.code import Code
from qllm_jax.tfcaf.interpreter.state import Run, Scope
from qllm_jax.tfcaf.values import (
    Array,
    Mapping,
    Sequence,
    Stale,
    Value,
    View,
    format_shape,
    same_shape,
)


@dataclasses.dataclass(slots=True)
class Holder:
    """A place that holds an array: a variable, or an item of a list or dict."""

    scope: Scope
    name: str
    array: Array
    item: Code | None = None  # source of the item; None for the variable itself
    owner: Sequence | Mapping | None = None
    key: Any = None


def update(run: Run, old: Array, new: Array) -> None:
    """The memory that `old` shows now holds `new`, of the same shape.

    Raises:
        TranslationError: Rules "shape" and "dtype" as torch has them, "aliasing" where other
            names for the memory cannot follow, "immutable" in jnp, "no-grad-in-place" where it
            carries a gradient and `no_grad` holds.
    """
    _refuse_under_no_grad(run, old)
    _check(run, old, new)
    if old.cell.is_argument:
        note = f"the original changes its argument {old.cell.is_argument} in place; this does not"
        if note not in run.notes:
            run.notes.append(note)
    holders = list(_holders(run, old))
    grad = old.grad or new.grad or any(holder.array.grad for holder in holders)
    named = next((h for h in holders if _shown(run, h) == old.code.text), None)
    root = _root(run, holders, old)
    current = new.code
    if named is not None:
        current = _store(run, named, current, grad)
    if root is not None and len(old.path) > len(root.array.path):
        if root is not named:
            _store(run, root, _put(run, root, old, current), grad)
    elif root is not None and root is not named:
        _store(run, root, current, grad)
    done = {id(holder) for holder in (named, root) if holder is not None}
    for holder in holders:
        if id(holder) not in done:
            _follow(run, holder, root, grad)


def is_shared(run: Run, array: Array) -> bool:
    """Whether something else than one variable or item shows the memory of an array."""
    return bool(array.path) or len(list(_holders(run, array))) > 1


def _refuse_under_no_grad(run: Run, changed: Array) -> None:
    """Refuse to change in place, under `no_grad`, what carries a gradient."""
    if run.no_grad and changed.grad:
        raise run.refuse(
            "no-grad-in-place",
            "An array that carries a gradient is changed in place inside `torch.no_grad()`.",
            "Compute a new array, or leave `no_grad` out.",
        )


def _check(run: Run, old: Array, new: Array) -> None:
    if run.dialect == "jnp":
        raise run.refuse(
            "immutable", "A JAX array cannot be changed in place.", "Use `x = x.at[i].set(value)`."
        )
    if not same_shape(old.shape, new.shape):
        shapes = f"{format_shape(old.shape)} cannot take {format_shape(new.shape)}"
        raise run.refuse("shape", f"An array of shape {shapes} in place.", "Assign a new variable.")
    if new.dtype != old.dtype:
        raise run.refuse(
            "dtype",
            f"A {new.dtype} result is written into an array of {old.dtype} in place; "
            "the original raises here.",
            "Cast the array with `.float()` first.",
        )


def _holders(run: Run, old: Array) -> Iterator[Holder]:
    """Every place that holds the memory of `old`; of shadowed names only the visible one."""
    seen: set[str] = set()
    for scope in run.every_scope():
        for name, value in list(scope.values.items()):
            key = f"{id(_function_scope(scope))}.{name}"
            if key in seen:
                continue
            seen.add(key)
            yield from _holders_in(scope, name, value, old)


def _holders_in(scope: Scope, name: str, value: Value, old: Array) -> Iterator[Holder]:
    if isinstance(value, Array):
        if value.cell is old.cell:
            yield Holder(scope, name, value)
    elif isinstance(value, Sequence | Mapping):
        entries = enumerate(value.items) if isinstance(value, Sequence) else value.entries.items()
        for key, item in list(entries):
            if isinstance(item, Array) and item.cell is old.cell:
                shown = c.subscript(value.code, c.literal(key).text)
                yield Holder(scope, name, item, shown, value, key)


def _function_scope(scope: Scope) -> Scope:
    while scope.kind in ("branch", "comprehension") and scope.parent is not None:
        scope = scope.parent
    return scope


def _shown(run: Run, holder: Holder) -> str:
    return holder.item.text if holder.item is not None else holder.array.code.text


def _root(run: Run, holders: list[Holder], old: Array) -> Holder | None:
    """The holder that all others, and `old`, are views of; the one that `old` is called by first.

    Mostly it holds the memory as a whole; where that has no name, the widest view that has one.
    """
    paths = [old.path, *(holder.array.path for holder in holders)]
    widest = [h for h in holders if all(_begins(path, h.array.path) for path in paths)]
    shown = (h for h in widest if _shown(run, h) == old.code.text)
    return next(shown, widest[0] if widest else None)


def _begins(path: tuple[View, ...], start: tuple[View, ...]) -> bool:
    """Whether a path of views goes through another one."""
    return len(path) >= len(start) and all(a is b for a, b in zip(path, start, strict=False))


def _local(run: Run, holder: Holder) -> bool:
    """Whether the running function can assign to a holder."""
    return _function_scope(holder.scope) is _function_scope(run.scope)


def _store(run: Run, holder: Holder, code: Code, grad: bool) -> Code:
    """Emit the assignment to a holder and remember it; returns how it is called now."""
    if not _local(run, holder):
        if holder.scope.kind == "module" or not run.frames:
            raise _aliasing(run, holder)
        made_stale(holder)
        return code
    if holder.item is None:
        value = dataclasses.replace(
            holder.array, code=code, grad=grad, const=None, wide=False, is_empty=False
        )
        run.assign(holder.name, value)
        return run.scope.values[holder.name].code
    if run.scope.kind == "branch":
        raise _aliasing(run, holder)
    if isinstance(holder.owner, Sequence):
        if holder.owner.kind != "list":
            if run.read_later(holder.name):
                raise _aliasing(run, holder)
            return code
        run.emit(f"{holder.item.text} = {code.text}")
        holder.owner.items[holder.key] = dataclasses.replace(
            holder.array, code=holder.item, grad=grad
        )
    elif isinstance(holder.owner, Mapping):
        run.emit(f"{holder.item.text} = {code.text}")
        holder.owner.entries[holder.key] = dataclasses.replace(
            holder.array, code=holder.item, grad=grad
        )
    return holder.item


def made_stale(holder: Holder) -> None:
    """A caller's variable no longer says what it holds."""
    if holder.item is None:
        holder.scope.values[holder.name] = Stale(holder.name, holder.array.code)
    elif isinstance(holder.owner, Sequence):
        holder.owner.items[holder.key] = Stale(holder.name, holder.item)
    elif isinstance(holder.owner, Mapping):
        holder.owner.entries[holder.key] = Stale(holder.name, holder.item)


def _put(run: Run, root: Holder, old: Array, new: Code) -> Code:
    """The root's new source after the view `old` of it became `new`."""
    base = run.scope.values[root.name].code if root.name in run.scope.values else root.array.code
    bases = [base if root.item is None else root.item]
    path = old.path[len(root.array.path) :]
    for view in path[:-1]:
        bases.append(view.get(bases[-1]))
    for view, viewed in zip(reversed(path), reversed(bases), strict=True):
        if view.put is None:
            raise _aliasing(run, root)
        new = view.put(viewed, new)
    return new


def _follow(run: Run, holder: Holder, root: Holder | None, grad: bool) -> None:
    """Bring another name for the memory up to date, if it is still read."""
    if not run.read_later(holder.name) and _local(run, holder):
        return
    path = holder.array.path[len(root.array.path) :] if root is not None else ()
    if root is None or (path and not _local(run, root)):
        if _local(run, holder):
            raise _aliasing(run, holder)
        made_stale(holder)
        return
    found = run.find(root.name)
    code = root.item or (found[1].code if found else root.array.code)
    for view in path:
        code = view.get(code)
    _store(run, holder, code, grad)


def _aliasing(run: Run, holder: Holder) -> Exception:
    return run.refuse(
        "aliasing",
        f"A change in place also changes `{holder.name}`, which shares its memory.",
        "Take a copy first (`.clone()`), or assign the result to a new variable.",
    )
