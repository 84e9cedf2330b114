"""Shape operations of NumPy and jnp. In NumPy most of them give views of their array."""

from __future__ import annotations

import functools
from typing import Any

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf import limits
from qllm_jax.tfcaf.code import Code
from qllm_jax.tfcaf.ops.common import shape_of
from qllm_jax.tfcaf.ops.context import OpCall
from qllm_jax.tfcaf.ops.numpy_like import both, last_name
from qllm_jax.tfcaf.ops.registry import op
from qllm_jax.tfcaf.values import (
    Array,
    Batch,
    Dim,
    Masked,
    Sequence,
    Shape,
    Static,
    Value,
    View,
    describe,
    format_shape,
    product,
    same_dim,
    static,
    static_size,
)


def reshaped(ctx: OpCall, x: Array, dims: list[Value]) -> Shape:
    """The shape asked for, with −1 resolved; samples stay apart.

    Raises:
        TranslationError: Rules "shape" (the sizes do not fit), "mixes-batch" (the batch axis
            would move into another position, so that rows no longer belong to samples).
    """
    if any(isinstance(dim, Masked) for dim in x.shape):
        raise ctx.dynamic_shape()
    asked: list[Dim] = []
    for dim in dims:
        if isinstance(dim, Static) and isinstance(dim.value, Batch):
            asked.append(dim.value)
        else:
            asked.append(ctx.int(dim, "shape"))
    factor, power, _ = product(x.shape)
    known, used, _ = product(tuple(d for d in asked if d != -1))
    fits = known and factor % known == 0 and used <= power <= used + 1
    if asked.count(-1) == 1 and fits:
        rest = factor // known
        filled: Dim = Batch(rest) if power > used else rest
        asked = [filled if d == -1 else d for d in asked]
        known, used = factor, power
    shape = tuple(asked)
    if (known, used) != (factor, power) or any(isinstance(d, int) and d < 0 for d in shape):
        raise ctx.refuse(
            "shape",
            f"{describe(x)} cannot take the shape {format_shape(shape)}.",
            "The products of the sizes must agree; check the stride and the number of agents.",
        )
    if _before_batch(x.shape) != _before_batch(shape):
        raise ctx.mixes_batch("moves the batch axis")
    return shape


def _before_batch(shape: Shape) -> int:
    """The number of entries in front of the batch axis; 1 where there is none."""
    count = 1
    for dim in shape:
        if isinstance(dim, Batch):
            return count
        count *= static_size(dim)
    return 1


def keeps_rows(x: Array, shape: Shape) -> bool:
    """Whether the numbers of the samples are still in their own rows after a reshape."""
    return x.is_rows and all(isinstance(dim, Batch) or dim == 1 for dim in shape)


def reshape_view(ctx: OpCall, x: Array, shape: Shape, code: Code, spelled: Any = None) -> Array:
    """A reshaped array, a view where no copy is needed; `spelled` is the shape as written."""
    from qllm_jax.tfcaf.interpreter.memory import copies_when

    if ctx.dialect != "jnp" and copies_when(ctx.run, x, shape):
        copied = ctx.result(shape, x.dtype, code, x)
        copied.is_rows = keeps_rows(x, shape)
        return copied
    spelled = _spell_shape(shape) if spelled is None else spelled
    old = _spell_shape(x.shape)
    made = ctx.view(
        x,
        shape,
        code,
        View(
            lambda base: c.method(base, "reshape", [spelled], {}),
            lambda base, new: c.method(new, "reshape", [old], {}),
        ),
    )
    made.is_rows = keeps_rows(x, shape)
    return made


def _spell_shape(shape: Shape) -> Code:
    """A shape as a tuple; the batch axis is whatever is left."""
    return c.display(
        [c.literal(-1 if isinstance(d, Batch) else static_size(d)) for d in shape], True
    )


@both("reshape", "x|a, shape|newshape, order!='C', *, copy=None")
def reshape(ctx: OpCall, x: Value, shape: Value, copy: Value) -> Value:
    """The same numbers in another shape."""
    x = ctx.array(x)
    sizes = reshaped(ctx, x, ctx.items(shape))
    return reshape_view(ctx, x, sizes, c.call("jnp.reshape", [x, shape.code]), shape.code)


@both(".reshape", "x, *shape, order!='C', copy=None")
def reshape_method(ctx: OpCall, x: Value, shape: list[Value], copy: Value) -> Value:
    """`x.reshape(2, 3)` or `x.reshape((2, 3))`."""
    x = ctx.array(x)
    whole = shape[0] if len(shape) == 1 and isinstance(shape[0], Sequence) else None
    dims = ctx.items(whole) if whole else shape
    sizes = reshaped(ctx, x, dims)
    spelled = c.display([d.code for d in dims], True) if whole is None else whole.code
    given = [d.code for d in shape] if whole is None else [whole.code]
    return reshape_view(ctx, x, sizes, c.method(ctx.atom(x), "reshape", given, {}), spelled)


@both("ravel .ravel .flatten", "x|a, order!='C'")
@op("jnp", "lax.collapse", "x|operand, start_dimension!=0")
def ravel(ctx: OpCall, x: Value) -> Value:
    """All numbers in one axis."""
    x = ctx.array(x)
    sizes = reshaped(ctx, x, [static(-1)])
    code = ctx.emit(x, "ravel")
    from qllm_jax.tfcaf.interpreter.memory import copies_when

    if last_name(ctx) == "flatten" or (ctx.dialect == "numpy" and copies_when(ctx.run, x, None)):
        return ctx.result(sizes, x.dtype, code, x)
    return reshape_view(ctx, x, sizes, code, c.literal((-1,)))


def moved(ctx: OpCall, x: Array, order: tuple[int, ...], code: Code) -> Array:
    """`x` with its axes in another order, as a view."""
    back = tuple(order.index(a) for a in range(x.ndim))
    return ctx.view(
        x,
        tuple(x.shape[a] for a in order),
        code,
        View(
            lambda base: c.call("jnp.transpose", [base, order]),
            lambda base, new: c.call("jnp.transpose", [new, back]),
        ),
    )


@both("transpose permute_dims", "x|a, *axes")
@both(".transpose", "x, *axes")
@op("jnp", "lax.transpose", "x|operand, *axes|permutation")
def transpose(ctx: OpCall, x: Value, axes: list[Value]) -> Value:
    """Axes in another order; without an order, reversed."""
    x = ctx.array(x)
    given = axes if len(axes) != 1 else ctx.items(axes[0])
    if len(axes) == 1 and ctx.is_none(axes[0]):
        given = []
    order = tuple(ctx.axis(x, a) for a in given) or tuple(reversed(range(x.ndim)))
    if sorted(order) != list(range(x.ndim)):
        raise ctx.refuse("axis", f"{order} does not name every axis once.", "Name every axis once.")
    shown = [order] if given else []
    return moved(ctx, x, order, ctx.emit(x, "transpose", *shown))


@both("@T", "x")
def reversed_axes(ctx: OpCall, x: Value) -> Value:
    """`x.T`: the axes reversed."""
    x = ctx.array(x)
    return moved(ctx, x, tuple(reversed(range(x.ndim))), c.attribute(x.code, "T"))


@both("@mT", "x")
@both("matrix_transpose linalg.matrix_transpose", "x")
def matrix_transpose(ctx: OpCall, x: Value) -> Value:
    """The last two axes swapped."""
    x = ctx.array(x)
    if x.ndim < 2:
        raise ctx.refuse("axis", "it needs two axes.", "Add an axis first.")
    order = (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2)
    return moved(ctx, x, order, c.attribute(x.code, "mT"))


@both("swapaxes .swapaxes", "x|a, axis1, axis2")
def swapaxes(ctx: OpCall, x: Value, axis1: Value, axis2: Value) -> Value:
    """Two axes swapped."""
    x = ctx.array(x)
    first, second = ctx.axis(x, axis1), ctx.axis(x, axis2)
    order = list(range(x.ndim))
    order[first], order[second] = order[second], order[first]
    return moved(ctx, x, tuple(order), ctx.emit(x, "swapaxes", axis1.code, axis2.code))


@both("moveaxis rollaxis", "x|a, source|axis, destination|start")
def moveaxis(ctx: OpCall, x: Value, source: Value, destination: Value) -> Value:
    """Axes moved to other positions."""
    x = ctx.array(x)
    if last_name(ctx) == "rollaxis":
        raise ctx.refuse("unknown-operation", "it is old.", "Use `moveaxis`.")
    sources = [ctx.axis(x, a) for a in ctx.items(source)]
    targets = [ctx.axis(x, a) for a in ctx.items(destination)]
    if len(sources) != len(targets) or len(set(sources)) < len(sources):
        raise ctx.refuse("axis", "sources and destinations do not pair up.", "Name each once.")
    order = [a for a in range(x.ndim) if a not in sources]
    for target, origin in sorted(zip(targets, sources, strict=True)):
        order.insert(target, origin)
    code = c.call("jnp.moveaxis", [x, source.code, destination.code])
    return moved(ctx, x, tuple(order), code)


@both("expand_dims", "x|a, axis")
@op("jnp", "lax.expand_dims", "x|array, axis|dimensions")
def expand_dims(ctx: OpCall, x: Value, axis: Value) -> Value:
    """New axes of size 1."""
    x = ctx.array(x)
    items = ctx.items(axis)
    places = sorted(ctx.axis(x, item, extra=len(items)) for item in items)
    shape = list(x.shape)
    for place in places:
        shape.insert(place, 1)
    where = places[0] if len(places) == 1 else tuple(places)
    made = ctx.view(
        x,
        shape,
        c.call("jnp.expand_dims", [x, axis.code]),
        View(
            lambda base: c.call("jnp.expand_dims", [base, where]),
            lambda base, new: c.call("jnp.squeeze", [new], {"axis": where}),
        ),
    )
    made.is_rows = x.is_rows
    return made


@both("squeeze .squeeze", "x|a, axis=None")
@op("jnp", "lax.squeeze", "x|array, axis|dimensions")
def squeeze(ctx: OpCall, x: Value, axis: Value) -> Value:
    """Axes of size 1 dropped; the batch axis never."""
    x = ctx.array(x)
    if ctx.is_none(axis):
        axes = tuple(a for a, dim in enumerate(x.shape) if dim == 1)
    else:
        axes = ctx.axes(x, axis)
        wrong = [a for a in axes if x.shape[a] != 1]
        if wrong:
            raise ctx.refuse("shape", f"axis {wrong[0]} is not of size 1.", "Index it instead.")
    if not axes:
        return x
    where = axes[0] if len(axes) == 1 else axes
    shape = [dim for a, dim in enumerate(x.shape) if a not in axes]
    return ctx.view(
        x,
        shape,
        ctx.emit(x, "squeeze", axis=where),
        View(
            lambda base: c.call("jnp.squeeze", [base], {"axis": where}),
            lambda base, new: c.call("jnp.expand_dims", [new, where]),
        ),
    )


@both("broadcast_to", "x|array|arr, shape")
def broadcast_to(ctx: OpCall, x: Value, shape: Value) -> Value:
    """The array repeated along new or unit axes."""
    x = ctx.array(x)
    target = sizes_of(ctx, shape)
    made = ctx.broadcast(x, ctx.result(target, x.dtype, x.code))
    if len(made) != len(target) or not all(map(same_dim, made, target)):
        message = f"{describe(x)} does not broadcast to {format_shape(target)}."
        raise ctx.refuse("shape", message, "Add or drop axes first.")
    view = View(lambda base: c.call("jnp.broadcast_to", [base, shape.code]), None)
    made_view = ctx.view(x, target, c.call("jnp.broadcast_to", [x, shape.code]), view)
    made_view.is_rows = x.is_rows
    return made_view


def sizes_of(ctx: OpCall, shape: Value) -> Shape:
    """A static shape argument; it may name the batch size."""
    found: list[Dim] = []
    for item in ctx.items(shape, "shape"):
        if isinstance(item, Static) and isinstance(item.value, Batch):
            found.append(item.value)
            continue
        size = ctx.int(item, "shape")
        if not 0 <= size <= limits.MAX_ELEMENTS:
            raise limits.too_big(f"A size of {size}", ctx.line)
        found.append(size)
    return tuple(found)


@both("broadcast_arrays", "*arrays")
def broadcast_arrays(ctx: OpCall, arrays: list[Value]) -> Value:
    """All arrays in their common shape."""
    items = [ctx.array(a) for a in arrays]
    shape = ctx.broadcast(*items)
    code = c.call("jnp.broadcast_arrays", list(items))

    def spread(place: int, base: Code) -> Code:
        """One of the arrays in the common shape, after it became another."""
        given = [base if i == place else item.code for i, item in enumerate(items)]
        return c.subscript(c.call("jnp.broadcast_arrays", given), str(place))

    parts = [
        ctx.view(item, shape, spread(i, item.code), View(functools.partial(spread, i), None))
        for i, item in enumerate(items)
    ]
    made = ctx.tuple(parts)
    made.code = code
    return made


@both("atleast_1d atleast_2d atleast_3d", "x")
def atleast(ctx: OpCall, x: Value) -> Value:
    """Axes added up to a number of them."""
    x = ctx.array(x)
    wanted = int(last_name(ctx)[-2])
    if x.ndim >= wanted:
        return x
    if wanted == 3 and x.ndim:
        shape: Shape = (1, *x.shape, 1) if x.ndim == 1 else (*x.shape, 1)
    else:
        shape = (*(1 for _ in range(wanted - x.ndim)), *x.shape)
    return reshape_view(ctx, x, shape, c.call(f"jnp.{last_name(ctx)}", [x]))


@both("@ndim", "x")
@both("iterable isscalar ndim shape", "x|a")
def facts(ctx: OpCall, x: Value) -> Value:
    """Facts of the shape."""
    x = _as_array(ctx, x)
    name = last_name(ctx)
    if name == "shape":
        return shape_of(ctx, x)
    return static(x.ndim if name == "ndim" else (x.ndim == 0) == (name == "isscalar"))


@both("@size", "x")
@both("size", "x|a, axis=None")
def size(ctx: OpCall, x: Value, axis: Value | None = None) -> Value:
    """How many numbers there are, or along one axis."""
    x = _as_array(ctx, x)
    if axis is not None and not ctx.is_none(axis):
        along = ctx.axis(x, axis)
        return Static(x.shape[along], c.subscript(c.attribute(ctx.atom(x), "shape"), str(along)))
    return count(ctx, x)


def count(ctx: OpCall, x: Array) -> Value:
    """The number of elements; of rows that a mask selects, a count of the data."""
    factor, power, masks = product(x.shape)
    if masks:
        return _count_rows(ctx, masks, factor, power)
    if power > 1:
        raise ctx.mixes_batch("counts pairs of samples")
    return Static(Batch(factor) if power else factor, c.attribute(ctx.atom(x), "size"))


def _count_rows(ctx: OpCall, masks: tuple[Masked, ...], factor: int, power: int) -> Array:
    if power or len(masks) > 1 or isinstance(masks[0].full, Batch):
        raise ctx.mixes_batch("counts rows of the whole batch")
    code = c.method(masks[0].mask, "sum", [], {})
    if factor != 1:
        code = Code(f"{code.text} * {factor}", c.TIMES)
    return ctx.result((), "int", code, grad=False)


def _as_array(ctx: OpCall, x: Value) -> Array:
    return ctx.run.stack_display(x, ctx) if isinstance(x, Sequence) else ctx.array(x)


@both("@real", "x")
def real(ctx: OpCall, x: Value) -> Value:
    """The array itself."""
    return ctx.array(x)
