"""Joining, repeating and padding arrays of NumPy and jnp: results in new memory."""

from __future__ import annotations

from typing import Any

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf.code import Code
from qllm_jax.tfcaf.ops.context import OpCall
from qllm_jax.tfcaf.ops.numpy_like import both, has_batch, inferred, last_name, numbers
from qllm_jax.tfcaf.ops.registry import op
from qllm_jax.tfcaf.values import (
    Array,
    Batch,
    Dim,
    Sequence,
    Shape,
    Static,
    Value,
    format_shape,
    same_dim,
    static,
)

_FIRST = static(0)


def _items(ctx: OpCall, arrays: Value) -> list[Array]:
    """The arrays of a list; a single array counts as the list of its rows."""
    if isinstance(arrays, Sequence) and arrays.of_batch:
        return [ctx.array(item) for item in arrays.items]
    if isinstance(arrays, Sequence):
        return [ctx.array(item) for item in ctx.items(arrays)]
    raise ctx.refuse("type", "it takes a list of arrays.", "Pass a list.")


def _listed(arrays: Value, items: list[Array]) -> Code:
    """The list as emitted: as it stands, but for lists of numbers in it, which become arrays."""
    inside = arrays.items if isinstance(arrays, Sequence) and not arrays.of_batch else []
    if any(isinstance(item, Sequence) for item in inside):
        return c.display([item.code for item in items], False)
    return arrays.code


@both("concatenate concat", "arrays|a|xs, axis=0, out!=None, *, dtype=None")
@both("hstack vstack dstack column_stack row_stack", "arrays|tup, *, dtype=None")
@op("jnp", "lax.concatenate", "arrays|operands, axis|dimension, *, dtype=None")
def concatenate(ctx: OpCall, arrays: Value, dtype: Value, axis: Value = _FIRST) -> Value:
    """Arrays one after the other along an axis."""
    items = _items(ctx, arrays)
    name = last_name(ctx)
    if not items:
        raise ctx.refuse("argument", "the list is empty.", "Pass at least one array.")
    if name in ("concatenate", "concat"):
        if ctx.is_none(axis):
            raise ctx.refuse("argument", "axis=None flattens first.", "Give an axis.")
        along, shapes = ctx.axis(items[0], axis), [item.shape for item in items]
        shown = {} if ctx.int(axis) == 0 else {"axis": axis.code}
        name = "concatenate"
    else:
        shapes = [_stacking_shape(name, item.shape) for item in items]
        along = {"hstack": 0 if len(shapes[0]) == 1 else 1, "dstack": 2, "column_stack": 1}.get(
            name, 0
        )
        name, shown = name.replace("row_stack", "vstack"), {}
    shape = joined_shape(ctx, shapes, along)
    if isinstance(arrays, Sequence) and arrays.of_batch:
        shape = one_per_sample(ctx, shape, along)
    made = ctx.result(
        shape, ctx.promote(*items), c.call(f"jnp.{name}", [_listed(arrays, items)], shown), *items
    )
    return ctx.cast(made, ctx.kind(dtype) or made.dtype)


def _stacking_shape(name: str, shape: Shape) -> Shape:
    """The shape that `vstack` and the like give each array first."""
    if name in ("vstack", "row_stack"):
        return (*(1 for _ in range(2 - len(shape))), *shape)
    if name == "column_stack" and len(shape) < 2:
        return (*shape, 1) if shape else (1, 1)
    if name == "dstack" and len(shape) < 3:
        return (
            (1, *shape, 1) if len(shape) == 1 else (*(1 for _ in range(2 - len(shape))), *shape, 1)
        )
    return shape or (1,)


def joined_shape(ctx: OpCall, shapes: list[Shape], along: int) -> Shape:
    """The shape of arrays joined along an axis."""
    first = shapes[0]
    for shape in shapes[1:]:
        fits = len(shape) == len(first) and all(
            same_dim(a, b) for i, (a, b) in enumerate(zip(first, shape, strict=True)) if i != along
        )
        if not fits:
            shown = f"{format_shape(first)} and {format_shape(shape)}"
            raise ctx.refuse("shape", f"shapes {shown} do not join.", "Make the other axes equal.")
    if along >= len(first):
        raise ctx.refuse("axis", f"axis {along} is out of range.", "Use a smaller axis.")
    total = 0
    for shape in shapes:
        size = shape[along]
        if not isinstance(size, int):
            if len(shapes) == 1:
                return first
            raise ctx.mixes_batch("joins along the batch axis")
        total += size
    return (*first[:along], total, *first[along + 1 :])


def one_per_sample(ctx: OpCall, shape: Shape, along: int) -> Shape:
    """The shape of joined items of which there is one for each sample of the batch."""
    rest = (*shape[:along], *shape[along + 1 :])
    if shape[along] != 1 or any(isinstance(dim, Batch) for dim in rest):
        raise ctx.mixes_batch("joins more than one row per sample")
    return (*shape[:along], Batch(), *shape[along + 1 :])


@both("stack", "arrays|a, axis=0, out!=None, *, dtype=None")
def stack(ctx: OpCall, arrays: Value, axis: Value, dtype: Value) -> Value:
    """Arrays of one shape along a new axis."""
    items = _items(ctx, arrays)
    if not items:
        raise ctx.refuse("argument", "the list is empty.", "Pass at least one array.")
    for item in items[1:]:
        if len(item.shape) != items[0].ndim or not all(map(same_dim, item.shape, items[0].shape)):
            shown = f"{format_shape(items[0].shape)} and {format_shape(item.shape)}"
            raise ctx.refuse("shape", f"shapes {shown} do not stack.", "Make the shapes equal.")
    place = ctx.axis(items[0], axis, extra=1)
    shape = (*items[0].shape[:place], len(items), *items[0].shape[place:])
    if isinstance(arrays, Sequence) and arrays.of_batch:
        shape = one_per_sample(ctx, shape, place)
    shown_axis = {} if ctx.int(axis) == 0 else {"axis": axis.code}
    code = c.call("jnp.stack", [_listed(arrays, items)], shown_axis)
    made = ctx.result(shape, ctx.promote(*items), code, *items)
    return ctx.cast(made, ctx.kind(dtype) or made.dtype)


@both("tile", "x|A, reps")
def tile(ctx: OpCall, x: Value, reps: Value) -> Value:
    """The whole array repeated along axes."""
    x = ctx.array(x)
    counts: list[Any] = []
    for item in ctx.items(reps, "reps"):
        is_batch = isinstance(item, Static) and isinstance(item.value, Batch)
        counts.append(item.value if is_batch else ctx.int(item, "reps"))  # type: ignore[attr-defined]
    ndim = max(len(counts), x.ndim)
    counts = [1] * (ndim - len(counts)) + counts
    shape: list[Dim] = []
    for dim, count in zip([1] * (ndim - x.ndim) + list(x.shape), counts, strict=True):
        if isinstance(count, Batch) and dim == 1:
            shape.append(count)
        elif count == 1:
            shape.append(dim)
        elif isinstance(dim, int) and isinstance(count, int):
            shape.append(dim * count)
        else:
            raise ctx.mixes_batch("repeats the batch")
    return ctx.result(shape, x.dtype, c.call("jnp.tile", [x, reps.code]), x)


@both("repeat .repeat", "x|a, repeats, axis=None, *, total_repeat_length!=None")
def repeat(ctx: OpCall, x: Value, repeats: Value, axis: Value) -> Value:
    """Each element repeated in place."""
    x = ctx.array(x)
    is_batch = isinstance(repeats, Static) and isinstance(repeats.value, Batch)
    if ctx.is_none(axis):
        ctx.refuse_mixing(x, range(x.ndim))
        return inferred(ctx, "jax.numpy.repeat", [x], after=(numbers(ctx, repeats, "repeats"),))
    along = ctx.axis(x, axis)
    if is_batch:
        if x.shape[along] != 1:
            raise ctx.mixes_batch("repeats by the batch size")
        size: Dim = repeats.value  # type: ignore[attr-defined]
    elif isinstance(repeats, Sequence):
        counts = numbers(ctx, repeats, "repeats")
        if len(counts) != ctx.fixed_size(x, along):
            raise ctx.refuse("shape", "one count per element is needed.", "Give one number.")
        size = sum(counts)
        code = c.call(
            "jnp.repeat",
            [x, c.call("jnp.array", [list(counts)])],
            {"axis": along, "total_repeat_length": size},
        )
        return ctx.result((*x.shape[:along], size, *x.shape[along + 1 :]), x.dtype, code, x)
    else:
        size = ctx.fixed_size(x, along) * ctx.int(repeats, "repeats")
    shape = (*x.shape[:along], size, *x.shape[along + 1 :])
    return ctx.result(shape, x.dtype, ctx.emit(x, "repeat", repeats.code, axis=axis.code), x)


@both("pad", "x|array, width|pad_width, mode='constant', *, constant_values=0")
def pad(ctx: OpCall, x: Value, width: Value, mode: Value, constant_values: Value) -> Value:
    """Borders of constant or repeated values."""
    x = ctx.array(x)
    widths = numbers(ctx, width, "pad_width")
    how = ctx.string(mode)
    if how not in (
        "constant",
        "edge",
        "reflect",
        "symmetric",
        "wrap",
        "mean",
        "maximum",
        "minimum",
    ):
        raise ctx.refuse("argument", f"mode={how!r} is unknown.", "Use 'constant' or 'edge'.")
    pairs = _pad_pairs(ctx, widths, x.ndim)
    shape: list[Dim] = []
    for dim, (before, after) in zip(x.shape, pairs, strict=True):
        if not isinstance(dim, int) and (before or after):
            raise ctx.mixes_batch("pads the batch axis")
        shape.append(dim + before + after if isinstance(dim, int) else dim)
    options: dict[str, Any] = {} if how == "constant" else {"mode": how}
    fill = ctx.number(constant_values, "constant_values")
    if fill:
        options["constant_values"] = fill
    return ctx.result(shape, x.dtype, c.call("jnp.pad", [x, width.code], options), x)


def _pad_pairs(ctx: OpCall, widths: Any, ndim: int) -> list[tuple[int, int]]:
    """NumPy's spellings of pad widths, one pair per axis."""
    if isinstance(widths, int):
        return [(widths, widths)] * ndim
    if len(widths) == 2 and all(isinstance(w, int) for w in widths):
        return [(widths[0], widths[1])] * ndim
    if len(widths) == 1 and isinstance(widths[0], tuple):
        return [widths[0]] * ndim
    if len(widths) != ndim or not all(isinstance(w, tuple) and len(w) == 2 for w in widths):
        raise ctx.refuse("argument", "pad_width needs one pair per axis.", "Give pairs.")
    return list(widths)


@both("append", "x|arr, y|values, axis=None")
def append(ctx: OpCall, x: Value, y: Value, axis: Value) -> Value:
    """Two arrays joined; without an axis, flattened."""
    x, y = ctx.array(x), ctx.array(y)
    if ctx.is_none(axis):
        if has_batch(x.shape) or has_batch(y.shape):
            raise ctx.mixes_batch("flattens the batch")
        return inferred(ctx, "jax.numpy.append", [x, y])
    shape = joined_shape(ctx, [x.shape, y.shape], ctx.axis(x, axis))
    code = c.call("jnp.append", [x, y], {"axis": axis.code})
    return ctx.result(shape, ctx.promote(x, y), code, x, y)


@both("delete", "x|arr, index|obj, axis=None")
def delete(ctx: OpCall, x: Value, index: Value, axis: Value) -> Value:
    """The array without some static entries of an axis."""
    x = ctx.array(x)
    if ctx.is_none(axis):
        ctx.refuse_mixing(x, range(x.ndim))
    else:
        ctx.refuse_mixing(x, [ctx.axis(x, axis)])
    gone = numbers(ctx, index, "obj")
    options = {} if ctx.is_none(axis) else {"axis": ctx.axis(x, axis)}
    if isinstance(gone, tuple):
        shown = c.call("jnp.array", [list(gone)])
        made = inferred(ctx, "jax.numpy.delete", [x], after=(gone[0],), options=options)
        assert isinstance(made, Array)
        along = 0 if ctx.is_none(axis) else ctx.axis(x, axis)
        size = made.shape[along]
        assert isinstance(size, int)
        count = size + 1 - len({g % (size + 1) for g in gone})
        shape = (*made.shape[:along], count, *made.shape[along + 1 :])
        options["assume_unique_indices"] = True
        return ctx.result(shape, x.dtype, c.call("jnp.delete", [x, shown], options), x)
    return inferred(ctx, "jax.numpy.delete", [x], after=(gone,), options=options)
