"""Shape operations of torch. Most give views of their array."""

from __future__ import annotations

from typing import Any

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf.code import Code
from qllm_jax.tfcaf.ops import np_rearranging, np_shapes
from qllm_jax.tfcaf.ops.common import shape_of
from qllm_jax.tfcaf.ops.context import OpCall
from qllm_jax.tfcaf.ops.registry import op
from qllm_jax.tfcaf.ops.torch_elementwise import same
from qllm_jax.tfcaf.values import (
    Array,
    Batch,
    Dim,
    Masked,
    Sequence,
    Static,
    Value,
    View,
    describe,
    format_shape,
    product,
    static,
)


def _sizes(ctx: OpCall, given: list[Value]) -> list[Value]:
    """Sizes given one by one or as one tuple."""
    return ctx.items(given[0]) if len(given) == 1 and isinstance(given[0], Sequence) else given


def _spelled(sizes: list[Value]) -> Code:
    return c.display([size.code for size in sizes], True)


@op("torch", ".view .reshape", "x, *shape|dims")
@op("torch", "torch.reshape", "x|input, *shape")
def reshape(ctx: OpCall, x: Value, shape: list[Value]) -> Array:
    """The same numbers in another shape; of a dtype, a cast is refused."""
    x = ctx.array(x)
    sizes = _sizes(ctx, shape)
    if not sizes and shape:
        sizes = []
    new = np_shapes.reshaped(ctx, x, sizes)
    whole = len(shape) == 1 and isinstance(shape[0], Sequence)
    given = [shape[0].code] if whole else [size.code for size in sizes]
    if not sizes:
        given = [c.literal(())]
    code = c.method(ctx.atom(x), "reshape", given, {})
    return _reshaped_view(ctx, x, new, code)


def _reshaped_view(ctx: OpCall, x: Array, new: Any, code: Code) -> Array:
    made = np_shapes.reshape_view(ctx, x, new, code)
    made.is_rows = np_shapes.keeps_rows(x, new)
    return made


@op("torch", ".view_as .reshape_as", "x, other")
def reshape_as(ctx: OpCall, x: Value, other: Value) -> Array:
    """The shape of another array."""
    x, other = ctx.array(x), ctx.array(other)
    sizes = [
        Static(dim, c.subscript(c.attribute(other.code, "shape"), str(i)))
        for i, dim in enumerate(other.shape)
    ]
    new = np_shapes.reshaped(ctx, x, list(sizes))
    code = c.method(ctx.atom(x), "reshape", [c.attribute(other.code, "shape")], {})
    return _reshaped_view(ctx, x, new, code)


@op("torch", "torch.flatten .flatten", "x|input, start|start_dim=0, end|end_dim=-1")
def flatten(ctx: OpCall, x: Value, start: Value, end: Value) -> Array:
    """Axes from start to end as one."""
    x = ctx.array(x)
    if x.ndim <= 1:
        return (
            x if x.ndim else _reshaped_view(ctx, x, (1,), c.method(ctx.atom(x), "reshape", [1], {}))
        )
    first, last = ctx.axis(x, start), ctx.axis(x, end)
    if first >= last:
        return x
    merged = (*x.shape[:first], *x.shape[last + 1 :])
    shown = c.attribute(ctx.atom(x), "shape")
    if first == 0 and last == x.ndim - 1:
        sizes: list[Value] = [static(-1)]
    else:
        sizes = []
        for axis, dim in enumerate(x.shape):
            if axis == first:
                sizes.append(
                    static(-1) if not merged or _known(merged) else _merged(ctx, x, first, last)
                )
            elif axis < first or axis > last:
                sizes.append(Static(dim, c.subscript(shown, str(axis))))
    new = np_shapes.reshaped(ctx, x, sizes)
    return _reshaped_view(ctx, x, new, c.method(ctx.atom(x), "reshape", list(sizes), {}))


def _known(shape: tuple[Dim, ...]) -> bool:
    return not any(isinstance(dim, Masked) for dim in shape)


def _merged(ctx: OpCall, x: Array, first: int, last: int) -> Static:
    factor, power, _ = product(x.shape[first : last + 1])
    if power > 1:
        raise ctx.mixes_batch("merges batch axes")
    return Static(Batch(factor) if power else factor, Code("-1"))


@op("torch", ".unflatten torch.unflatten", "x|input, axis|dim, sizes")
def unflatten(ctx: OpCall, x: Value, axis: Value, sizes: Value) -> Array:
    """One axis as several."""
    x = ctx.array(x)
    along = ctx.axis(x, axis)
    shown = c.attribute(ctx.atom(x), "shape")
    inner = ctx.items(sizes)
    all_sizes: list[Value] = []
    for a, dim in enumerate(x.shape):
        all_sizes += inner if a == along else [Static(dim, c.subscript(shown, str(a)))]
    new = np_shapes.reshaped(ctx, x, all_sizes)
    return _reshaped_view(ctx, x, new, c.method(ctx.atom(x), "reshape", list(all_sizes), {}))


@op("torch", "torch.ravel .ravel", "x|input")
def ravel(ctx: OpCall, x: Value) -> Array:
    """All numbers in one axis."""
    x = ctx.array(x)
    new = np_shapes.reshaped(ctx, x, [static(-1)])
    return _reshaped_view(ctx, x, new, c.method(ctx.atom(x), "reshape", [-1], {}))


@op("torch", "torch.squeeze .squeeze", "x|input, axis|dim=None")
def squeeze(ctx: OpCall, x: Value, axis: Value) -> Array:
    """Axes of size 1 dropped; a named one of another size stays, and the batch always does."""
    x = ctx.array(x)
    axes = [a for a in ctx.axes(x, axis) if x.shape[a] == 1]
    if not axes:
        return x
    where = axes[0] if len(axes) == 1 else tuple(axes)
    shape = [dim for a, dim in enumerate(x.shape) if a not in axes]
    code = c.method(ctx.atom(x), "squeeze", [], {"axis": where})
    made = ctx.view(
        x,
        shape,
        code,
        View(
            lambda base: c.method(base, "squeeze", [], {"axis": where}),
            lambda base, new: c.call("jnp.expand_dims", [new, where]),
        ),
    )
    made.is_rows = x.is_rows
    return made


@op("torch", "torch.unsqueeze .unsqueeze", "x|input, axis|dim")
def unsqueeze(ctx: OpCall, x: Value, axis: Value) -> Array:
    """A new axis of size 1."""
    x = ctx.array(x)
    place = ctx.axis(x, axis, extra=1)
    shape = (*x.shape[:place], 1, *x.shape[place:])
    made = ctx.view(
        x,
        shape,
        c.call("jnp.expand_dims", [x, axis.code]),
        View(
            lambda base: c.call("jnp.expand_dims", [base, place]),
            lambda base, new: c.method(new, "squeeze", [], {"axis": place}),
        ),
    )
    made.is_rows = x.is_rows
    return made


@op("torch", "torch.permute .permute", "x|input, *axes|dims")
def permute(ctx: OpCall, x: Value, axes: list[Value]) -> Array:
    """Axes in another order."""
    x = ctx.array(x)
    order = tuple(ctx.axis(x, a) for a in _sizes(ctx, axes))
    if sorted(order) != list(range(x.ndim)):
        raise ctx.refuse("axis", f"{order} does not name every axis once.", "Name every axis once.")
    return np_shapes.moved(ctx, x, order, c.method(x.code, "transpose", [order], {}))


@op("torch", "torch.transpose .transpose", "x|input, first|dim0, second|dim1")
@op(
    "torch",
    "torch.swapaxes .swapaxes torch.swapdims .swapdims",
    "x|input, first|axis0|dim0, second|axis1|dim1",
)
def transpose(ctx: OpCall, x: Value, first: Value, second: Value) -> Array:
    """Two axes swapped."""
    x = ctx.array(x)
    a, b = ctx.axis(x, first), ctx.axis(x, second)
    order = list(range(x.ndim))
    if order:
        order[a], order[b] = order[b], order[a]
    code = c.method(x.code, "swapaxes", [first.code, second.code], {})
    return np_shapes.moved(ctx, x, tuple(order), code)


@op("torch", "@T .t torch.t", "x|input")
def matrix_transpose(ctx: OpCall, x: Value) -> Array:
    """Rows and columns swapped."""
    x = ctx.array(x)
    if x.ndim > 2:
        raise ctx.refuse("axis", f"`.T` of {describe(x)} is not a matrix's.", "Use `.mT`.")
    return np_shapes.moved(ctx, x, tuple(reversed(range(x.ndim))), c.attribute(x.code, "T"))


@op("torch", "@mT torch.adjoint .adjoint @mH", "x|input")
def last_two_swapped(ctx: OpCall, x: Value) -> Array:
    """The last two axes swapped."""
    x = ctx.array(x)
    if x.ndim < 2:
        raise ctx.refuse("axis", "it needs two axes.", "Add an axis first.")
    order = (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2)
    return np_shapes.moved(ctx, x, order, c.attribute(x.code, "mT"))


@op("torch", "torch.movedim .movedim torch.moveaxis .moveaxis", "x|input, source, destination")
def movedim(ctx: OpCall, x: Value, source: Value, destination: Value) -> Value:
    """Axes moved to other positions."""
    return np_shapes.moveaxis(ctx, x, source, destination)


@op("torch", ".expand", "x, *sizes|size")
@op("torch", "torch.broadcast_to .broadcast_to", "x|input, *sizes|size|shape")
def expand(ctx: OpCall, x: Value, sizes: list[Value]) -> Array:
    """The array repeated along axes of size 1; −1 keeps a size."""
    x = ctx.array(x)
    given = _sizes(ctx, sizes)
    lead = len(given) - x.ndim
    if lead < 0:
        raise ctx.refuse("shape", f"{describe(x)} has more axes than asked for.", "Name them all.")
    shape: list[Dim] = []
    shown: list[Code] = []
    for place, size in enumerate(given):
        old = x.shape[place - lead] if place >= lead else None
        if isinstance(size, Static) and size.value == -1 and type(size.value) is int:
            if old is None:
                raise ctx.refuse("shape", "a new axis has size -1.", "Give its size.")
            shape.append(old)
            sized = c.subscript(c.attribute(ctx.atom(x), "shape"), str(place - lead))
            shown.append(c.literal(old) if isinstance(old, int) else sized)
        elif isinstance(size, Static) and isinstance(size.value, Batch):
            shape.append(size.value)
            shown.append(size.code)
        else:
            shape.append(ctx.int(size, "size"))
            shown.append(size.code)
    return _expanded(ctx, x, shape, c.display(shown, True))


def _expanded(ctx: OpCall, x: Array, shape: Any, shown: Code) -> Array:
    target = ctx.result(shape, x.dtype, x.code)
    made = ctx.broadcast(x, target)
    if len(made) != len(target.shape) or any(a != b for a, b in zip(made, shape, strict=True)):
        message = f"{describe(x)} does not expand to {format_shape(tuple(shape))}."
        raise ctx.refuse("shape", message, "Only axes of size 1 are expanded.")
    view = View(lambda base: c.call("jnp.broadcast_to", [base, shown]), None)
    array = ctx.view(x, tuple(shape), c.call("jnp.broadcast_to", [x, shown]), view)
    array.is_rows = x.is_rows
    return array


@op("torch", ".expand_as", "x, other")
def expand_as(ctx: OpCall, x: Value, other: Value) -> Array:
    """The array repeated to another's shape."""
    x, other = ctx.array(x), ctx.array(other)
    return _expanded(ctx, x, other.shape, c.attribute(ctx.atom(other), "shape"))


@op("torch", "torch.broadcast_tensors", "*arrays|tensors")
def broadcast_tensors(ctx: OpCall, arrays: list[Value]) -> Value:
    """All arrays in their common shape."""
    return np_shapes.broadcast_arrays(ctx, arrays)


@op("torch", "torch.atleast_1d torch.atleast_2d torch.atleast_3d", "x|input")
def atleast(ctx: OpCall, x: Value) -> Value:
    """Axes added up to a number of them."""
    return np_shapes.atleast(ctx, x)


@op("torch", ".size", "x, axis|dim=None")
def size(ctx: OpCall, x: Value, axis: Value) -> Value:
    """The shape, or one size of it."""
    from qllm_jax.tfcaf.interpreter.forms import item_of

    x = ctx.array(x)
    shape = shape_of(ctx, x)
    assert isinstance(shape, Sequence)
    return shape if ctx.is_none(axis) else item_of(shape, ctx.axis(x, axis), axis.code)


@op("torch", ".dim .ndimension @ndim torch.ndim", "x|input")
def dim(ctx: OpCall, x: Value) -> Value:
    """The number of axes."""
    x = ctx.array(x)
    return Static(x.ndim, c.attribute(ctx.atom(x), "ndim"))


@op("torch", ".numel torch.numel .nelement", "x|input")
def numel(ctx: OpCall, x: Value) -> Value:
    """The number of elements."""
    return np_shapes.count(ctx, ctx.array(x))


@op("torch", "torch.is_tensor torch.is_floating_point .is_floating_point", "x|input|obj")
def is_kind(ctx: OpCall, x: Value) -> Value:
    """Facts about an array."""
    is_array = isinstance(x, Array)
    if same(ctx.name) == "is_tensor":
        return static(is_array)
    return static(isinstance(x, Array) and x.dtype == "float")


@op("torch", "torch.flip .flip", "x|input, *axis|dims")
def flip(ctx: OpCall, x: Value, axis: list[Value]) -> Array:
    """Elements in reverse along axes; a copy."""
    x = ctx.array(x)
    axes = tuple(ctx.axis(x, a) for a in _sizes(ctx, axis))
    ctx.refuse_mixing(x, axes)
    where = axes[0] if len(axes) == 1 else axes
    return ctx.result(x.shape, x.dtype, c.call("jnp.flip", [x], {"axis": where}), x)


@op("torch", "torch.fliplr .fliplr", "x|input", where=1)
@op("torch", "torch.flipud .flipud", "x|input", where=0)
def flip_side(ctx: OpCall, x: Value, where: int) -> Array:
    """Columns or rows in reverse."""
    return flip(ctx, x, [static(where)])


@op("torch", "torch.roll .roll", "x|input, shift|shifts, axis|dims=None")
def roll(ctx: OpCall, x: Value, shift: Value, axis: Value) -> Value:
    """Elements moved along axes, around the end."""
    return np_rearranging.roll(ctx, x, shift, axis)


@op("torch", "torch.rot90 .rot90", "x|input, k=1, axes|dims=(0, 1)")
def rot90(ctx: OpCall, x: Value, k: Value, axes: Value) -> Value:
    """A quarter turn in a plane."""
    return np_rearranging.rot90(ctx, x, k, axes)
