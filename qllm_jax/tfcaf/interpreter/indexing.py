"""Subscripts: what an index selects, its shape, and the source of reading and replacing it.

Integers, slices, new axes, integer arrays and boolean masks, in any mix that torch and NumPy
order alike. Called by the interpreter for `x[…]`, for stores and for `x.at[…]`.
"""

from __future__ import annotations

import ast
import dataclasses
import re

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf.code import Code
from qllm_jax.tfcaf.interpreter.expressions import static_key
from qllm_jax.tfcaf.interpreter.forms import item_of, named
from qllm_jax.tfcaf.interpreter.index_parts import Index, resolve, static_int
from qllm_jax.tfcaf.interpreter.state import Run, expression
from qllm_jax.tfcaf.ops.context import OpCall
from qllm_jax.tfcaf.values import (
    Array,
    AtIndex,
    Batch,
    Mapping,
    Masked,
    Method,
    Sequence,
    SliceValue,
    Static,
    Value,
    View,
    broadcast,
    describe,
    format_shape,
    product,
    same_dim,
    same_shape,
)


@expression(ast.Subscript)
def _subscript(run: Run, node: ast.Subscript) -> Value:
    owner = run.evaluate(node.value)
    return subscript(run, owner, run.evaluate(node.slice))


def subscript(run: Run, owner: Value, index: Value) -> Value:
    """`owner[index]`."""
    match owner:
        case Sequence():
            return _sequence_item(run, owner, index)
        case Mapping():
            return _mapping_item(run, owner, index)
        case Array():
            return read(run, owner, resolve(run, owner, index))
        case Method(receiver=Array() as array, name="at") if run.dialect == "jnp":
            resolved = resolve(run, array, index)
            shown = f"{owner.code.text}[{resolved.text}]"
            return AtIndex(array, resolved, Code(shown))
    raise run.refuse("type", f"{describe(owner)} has no items.", "Index arrays, lists and dicts.")


def _sequence_item(run: Run, owner: Sequence, index: Value) -> Value:
    if owner.of_batch:
        raise run.refuse(
            "mixes-batch", "One sample of the batch is picked out.", "Treat every sample alike."
        )
    if isinstance(index, SliceValue):
        parts = [static_int(run, p) for p in (index.start, index.stop, index.step)]
        if parts[2] == 0:
            raise run.refuse("static-error", "A slice has step zero.", "Use a step of 1.")
        picked = range(len(owner.items))[slice(*parts)]
        items = [item_of(owner, i) for i in picked]
        kind = "list" if owner.kind == "range" else owner.kind
        return Sequence(items, kind, c.subscript(owner.code, index.code.text))
    number = static_int(run, index)
    if number is None or not -len(owner.items) <= number < len(owner.items):
        raise run.refuse(
            "index-range",
            f"Index {number} is out of range for {describe(owner)}.",
            "Use an index that exists.",
        )
    item = item_of(owner, number, index.code)
    if isinstance(item, Static) and isinstance(index, Static) and index.varying:
        item = dataclasses.replace(item, varying=True)
        if owner.code.text[:1] in "([":
            item.code = c.subscript(owner.code, index.code.text)
    elif owner.kind == "range" or (
        owner.code.text[:1] in "([" and isinstance(index, Static) and index.varying
    ):
        item = named(item, c.subscript(owner.code, index.code.text))
    return item


def _mapping_item(run: Run, owner: Mapping, index: Value) -> Value:
    key = static_key(run, index)
    if key not in owner.entries and owner.default is not None and owner.code.is_name:
        from qllm_jax.tfcaf.interpreter.calls import call
        from qllm_jax.tfcaf.interpreter.containers import refuse_global_change

        refuse_global_change(run, owner)
        made = call(run, owner.default, [], {})
        place = c.subscript(owner.code, index.code.text)
        run.emit(f"{place.text} = {made.code.text}")
        owner.entries[key] = named(made, place)
    if key not in owner.entries:
        raise run.refuse("index-range", f"The dict has no key {key!r}.", "Use a key it has.")
    item = owner.entries[key]
    return (
        item if owner.code.text[0] == "{" else named(item, c.subscript(owner.code, index.code.text))
    )


def read(run: Run, array: Array, index: Index) -> Value:
    """`array[index]` as a value; a view where torch and NumPy give one."""
    ctx = run.context("[]")
    if array.is_empty:
        raise ctx.refuse(
            "uninitialised", "it reads an array that nothing was written to.", "Start from `zeros`."
        )
    code = array.code if index.is_plain else c.subscript(ctx.atom(array), index.text)
    if index.mask is not None:
        selected = ctx.result(index.shape, array.dtype, code, array)
        return read_masked(run, selected, index.mask, index.mask_axis)
    if index.has_arrays:
        made = ctx.result(index.shape, array.dtype, code, array)
    else:
        view = View(_getter(index), _putter(index))
        made = ctx.view(array, index.shape, code, view)
        if array.const is not None and isinstance(array.const, tuple):
            made.const = _const_at(array.const, index.frozen)
    if array.is_rows and any(isinstance(d, Batch) for d in made.shape):
        made.is_rows = not index.has_arrays
    return made


def _const_at(const: tuple[object, ...], text: str) -> object:
    """An entry of a constant array by a plain integer index; None where it is not plain."""
    return const[int(text)] if re.fullmatch(r"-?\d+", text) else None


def _getter(index: Index):
    return lambda base: base if index.is_plain else c.subscript(base, index.frozen)


def _putter(index: Index):
    def put(base: Code, new: Code) -> Code:
        return c.method(c.subscript(c.attribute(base, "at"), index.frozen), "set", [new], {})

    return put


def masked_dim(run: Run, mask: Array) -> Masked:
    """The axis of the rows that a mask selects: the same one for the same mask."""
    names = re.findall(r"[A-Za-z_]\w*", mask.code.text)
    holders = tuple(found[1] for name in names if (found := run.find(name)) is not None)
    key = (mask.code.text, tuple(map(id, holders)))
    known = run.masks.get(key)
    if known is None:
        factor, power, _ = product(mask.shape)
        full: int | Batch = Batch(factor) if power else factor
        known = (Masked(mask.code, full, mask.shape), holders)
        run.masks[key] = known
    return known[0]


def read_masked(run: Run, array: Array, mask: Array, axis: int) -> Array:
    """`array[mask]`: the full array, of which only the rows of the mask will count.

    Where it carries the gradient of `agent_qs`, that gradient is cut in all other rows, so that
    what happens there (a division by zero) stays without consequence.
    """
    ctx = run.context("[]")
    dim = masked_dim(run, mask)
    rest = array.shape[axis + mask.ndim :]
    code = array.code
    if array.grad:
        code = ctx.helper("_only_where", spread_mask(mask.code, len(rest)), array.code)
    shape = (*array.shape[:axis], dim, *rest)
    if mask.ndim > 1 and axis:
        raise ctx.refuse(
            "index", "a mask of several axes must come first.", "Move it to the front."
        )
    made = ctx.result(shape, array.dtype, code, array)
    made.wide = mask.ndim > 1
    return made


def spread_mask(mask: Code, num_axes: int) -> Code:
    """The mask with axes appended, to stand beside arrays that have more."""
    if not num_axes:
        return mask
    return c.subscript(mask, ", ".join(["...", *["None"] * num_axes]))


def replaced(run: Run, array: Array, index: Index, value: Array) -> Code:
    """The source of `array` after `array[index] = value`.

    Raises:
        TranslationError: Rules "shape", "dynamic-shape".
    """
    ctx = run.context("[]=")
    if index.mask is not None:
        return _replaced_rows(run, ctx, array, index, value)
    target = index.shape
    while value.ndim > len(target) and value.shape[:1] == (1,):
        value = ctx.result(value.shape[1:], value.dtype, c.subscript(value.code, "0"), value)
    common = broadcast(target, value.shape)
    if common is None or not same_shape(common, target):
        raise ctx.refuse(
            "shape",
            f"a value of shape {format_shape(value.shape)} does not fit where "
            f"{format_shape(target)} is selected.",
            "Make the value as large as what it replaces.",
        )
    if index.rows and not any(isinstance(dim, Batch) for dim in target):
        raise ctx.mixes_batch("writes to chosen samples")
    value = ctx.cast(value, array.dtype) if value.dtype != array.dtype else value
    base = c.subscript(c.attribute(ctx.atom(array), "at"), index.text)
    return c.method(base, "set", [value.code], {})


def _replaced_rows(run: Run, ctx: OpCall, array: Array, index: Index, value: Array) -> Code:
    """`array[mask] = value` as a choice per row."""
    mask = index.mask
    assert mask is not None
    dim = masked_dim(run, mask)
    axis, rest = index.mask_axis, index.shape[index.mask_axis + mask.ndim :]
    expected = (*index.shape[:axis], dim, *rest)
    common = broadcast(expected, value.shape)
    if common is None or not same_shape(common, expected):
        counted = any(not isinstance(d, Masked) and not same_dim(d, 1) for d in value.shape)
        raise ctx.refuse(
            "dynamic-shape" if counted else "shape",
            f"a value of shape {format_shape(value.shape)} is assigned to the rows of a mask "
            f"({format_shape(expected)}).",
            "Select the value's rows with the same mask variable, or use `where(mask, a, b)`.",
        )
    code = value.code
    if mask.ndim > 1 and not value.wide and any(isinstance(d, Masked) for d in value.shape):
        tail = ", ".join(str(d) for d in value.shape[1:])
        shape = f"{mask.code.within(c.ATOM)}.shape" + (f" + ({tail},)" if tail else "")
        code = c.method(code, "reshape", [Code(shape, c.PLUS)], {})
    before = array.code if index.is_plain else c.subscript(array.code, index.text)
    if value.dtype != array.dtype:
        code = ctx.cast(dataclasses.replace(value, code=code), array.dtype).code
    chosen = c.call("jnp.where", [spread_mask(mask.code, len(rest)), code, before])
    if index.is_plain:
        return chosen
    base = c.subscript(c.attribute(array.code, "at"), index.text)
    return c.method(base, "set", [chosen], {})
