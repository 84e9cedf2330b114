"""Joining, splitting and repeating in torch."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf.ops import np_joining
from qllm_jax.tfcaf.ops.context import OpCall
from qllm_jax.tfcaf.ops.np_rearranging import split_bounds
from qllm_jax.tfcaf.ops.registry import op
from qllm_jax.tfcaf.ops.torch_elementwise import same
from qllm_jax.tfcaf.values import Array, Sequence, Value, View, static


@op("torch", "torch.cat torch.concat torch.concatenate", "arrays|tensors, axis|dim=0")
def cat(ctx: OpCall, arrays: Value, axis: Value) -> Value:
    """Arrays one after the other along an axis."""
    inner = _renamed(ctx, "jax.numpy.concatenate")
    return np_joining.concatenate(inner, arrays, static(None), axis)


@op("torch", "torch.stack", "arrays|tensors, axis|dim=0")
def stack(ctx: OpCall, arrays: Value, axis: Value) -> Value:
    """Arrays of one shape along a new axis."""
    return np_joining.stack(ctx, arrays, axis, static(None))


@op("torch", "torch.hstack torch.vstack torch.dstack torch.column_stack", "arrays|tensors")
@op("torch", "torch.row_stack", "arrays|tensors")
def stack_side(ctx: OpCall, arrays: Value) -> Value:
    """Arrays side by side."""
    return np_joining.concatenate(ctx, arrays, static(None))


def _renamed(ctx: OpCall, name: str) -> OpCall:
    return OpCall(ctx.run, ctx.dialect, name, ctx.line)


def parts(
    ctx: OpCall, x: Array, along: int, bounds: list[tuple[int, int]], drop: bool = False
) -> Sequence:
    """Slices of an axis, as views; `drop` takes single entries without the axis."""
    made: list[Value] = []
    for start, stop in bounds:
        part = ":, " * along + (str(start) if drop else f"{start}:{stop}")
        shape = (*x.shape[:along], *(() if drop else (stop - start,)), *x.shape[along + 1 :])
        made.append(ctx.view(x, shape, c.subscript(x.code, part), View(_get(part), _put(part))))
    return Sequence(made, "tuple", c.display([item.code for item in made], True))


def _get(part: str) -> Callable[[c.Code], c.Code]:
    return lambda base: c.subscript(base, part)


def _put(part: str) -> Callable[[c.Code, c.Code], c.Code]:
    return lambda base, new: c.method(c.subscript(c.attribute(base, "at"), part), "set", [new], {})


@op(
    "torch",
    "torch.split .split",
    "x|input|tensor, size|split_size_or_sections|split_size, axis|dim=0",
)
def split(ctx: OpCall, x: Value, size: Value, axis: Value) -> Value:
    """Parts of a size (the last may be smaller), or of listed sizes."""
    x = ctx.array(x)
    along = ctx.axis(x, axis)
    total = ctx.fixed_size(x, along)
    if isinstance(size, Sequence):
        sizes = [ctx.int(item) for item in ctx.items(size)]
        if sum(sizes) != total or any(item < 0 for item in sizes):
            raise ctx.refuse(
                "shape", f"sizes {sizes} do not add up to {total}.", "Make them add up."
            )
    else:
        each = ctx.int(size, "split_size")
        if each < 1:
            raise ctx.refuse("argument", "the size is not positive.", "Use a size of 1 or more.")
        sizes = [min(each, total - start) for start in range(0, total, each)]
    edges = [sum(sizes[:i]) for i in range(len(sizes) + 1)]
    return parts(ctx, x, along, list(itertools.pairwise(edges)))


@op("torch", "torch.chunk .chunk", "x|input, count|chunks, axis|dim=0")
def chunk(ctx: OpCall, x: Value, count: Value, axis: Value) -> Value:
    """At most so many parts of equal size; the last may be smaller."""
    x = ctx.array(x)
    along, number = ctx.axis(x, axis), ctx.int(count, "chunks")
    total = ctx.fixed_size(x, along)
    if number < 1:
        raise ctx.refuse("argument", "chunks is not positive.", "Use 1 or more.")
    each = -(-total // number)
    bounds = [(start, min(start + each, total)) for start in range(0, total, max(each, 1))]
    return parts(ctx, x, along, bounds)


@op(
    "torch", "torch.tensor_split .tensor_split", "x|input, sections|indices_or_sections, axis|dim=0"
)
def tensor_split(ctx: OpCall, x: Value, sections: Value, axis: Value) -> Value:
    """So many parts, as equal as can be, or parts between indices."""
    x = ctx.array(x)
    along = ctx.axis(x, axis)
    bounds = split_bounds(ctx, ctx.fixed_size(x, along), sections, "array_split")
    return parts(ctx, x, along, bounds)


@op("torch", "torch.hsplit .hsplit", "x|input, sections|indices_or_sections", from_end=1)
@op("torch", "torch.vsplit .vsplit", "x|input, sections|indices_or_sections", from_end=0)
def split_of(ctx: OpCall, x: Value, sections: Value, from_end: int) -> Value:
    """Equal parts, or parts between indices, of the columns or the rows."""
    x = ctx.array(x)
    along = min(from_end, max(x.ndim - 1, 0))
    return parts(ctx, x, along, split_bounds(ctx, ctx.fixed_size(x, along), sections, "split"))


@op("torch", "torch.unbind .unbind", "x|input, axis|dim=0")
def unbind(ctx: OpCall, x: Value, axis: Value) -> Value:
    """The entries of an axis, one by one."""
    x = ctx.array(x)
    along = ctx.axis(x, axis)
    size = ctx.fixed_size(x, along)
    return parts(ctx, x, along, [(i, i + 1) for i in range(size)], drop=True)


@op("torch", "torch.narrow .narrow", "x|input, axis|dim, start, length")
def narrow(ctx: OpCall, x: Value, axis: Value, start: Value, length: Value) -> Value:
    """A slice of one axis."""
    x = ctx.array(x)
    along = ctx.axis(x, axis)
    first, count = ctx.int(start), ctx.int(length)
    size = ctx.fixed_size(x, along)
    first += size if first < 0 else 0
    if not 0 <= first <= first + count <= size:
        raise ctx.refuse("index-range", f"{first} to {first + count} of {size}.", "Stay inside.")
    return parts(ctx, x, along, [(first, first + count)]).items[0]


@op("torch", "torch.select .select", "x|input, axis|dim, index")
def select(ctx: OpCall, x: Value, axis: Value, index: Value) -> Value:
    """One entry of an axis."""
    x = ctx.array(x)
    along, place = ctx.axis(x, axis), ctx.int(index)
    size = ctx.fixed_size(x, along)
    if not -size <= place < size:
        raise ctx.refuse("index-range", f"index {place} of {size}.", "Stay inside.")
    place %= size
    return parts(ctx, x, along, [(place, place + 1)], drop=True).items[0]


@op("torch", ".repeat", "x, *reps|repeats")
@op("torch", "torch.tile .tile", "x|input, *reps|dims")
def repeat(ctx: OpCall, x: Value, reps: list[Value]) -> Value:
    """The whole array repeated along axes."""
    x = ctx.array(x)
    given = ctx.items(reps[0]) if len(reps) == 1 and isinstance(reps[0], Sequence) else reps
    if same(ctx.name) == "repeat" and len(given) < x.ndim:
        raise ctx.refuse("shape", "fewer counts than axes.", "Give one count for each axis.")
    return np_joining.tile(ctx, x, ctx.tuple(given))


@op(
    "torch",
    "torch.repeat_interleave .repeat_interleave",
    "x|input|self, repeats, axis|dim=None, output_size=None",
)
def repeat_interleave(
    ctx: OpCall, x: Value, repeats: Value, axis: Value, output_size: Value
) -> Value:
    """Each element repeated in place."""
    return np_joining.repeat(ctx, x, repeats, axis)


@op("torch", "torch.meshgrid", "*arrays|tensors, indexing=None")
def meshgrid(ctx: OpCall, arrays: list[Value], indexing: Value) -> Value:
    """Coordinates of a grid; by default the first array runs down the rows."""
    items = ctx.items(arrays[0]) if len(arrays) == 1 else arrays
    given = [ctx.array(item) for item in items]
    order = "ij" if ctx.is_none(indexing) else ctx.string(indexing)
    sizes = [ctx.fixed_size(item, 0) for item in given]
    shape = tuple(sizes) if order == "ij" else (sizes[1], sizes[0], *sizes[2:])
    code = c.call("jnp.meshgrid", list(given), {"indexing": order})
    made = [
        ctx.result(shape, item.dtype, c.subscript(code, str(i)), item)
        for i, item in enumerate(given)
    ]
    return Sequence(list(made), "tuple", code)


@op("torch", "F.pad", "x|input, width|pad, mode='constant', value=0")
def pad(ctx: OpCall, x: Value, width: Value, mode: Value, value: Value) -> Value:
    """Entries added before and after, from the last axis backwards."""
    x = ctx.array(x)
    flat = [ctx.int(item) for item in ctx.items(width)]
    if len(flat) % 2 or len(flat) > 2 * x.ndim:
        raise ctx.refuse("argument", "pad needs pairs.", "Give (left, right) from the last axis.")
    pairs = [(0, 0)] * (x.ndim - len(flat) // 2)
    pairs += [(flat[i], flat[i + 1]) for i in range(len(flat) - 2, -1, -2)]
    if ctx.string(mode) not in ("constant", "replicate", "reflect", "circular"):
        raise ctx.refuse("argument", "the mode is unknown.", "Use 'constant'.")
    if any(side < 0 for pair in pairs for side in pair):
        raise ctx.refuse("argument", "negative padding cuts.", "Use a slice.")
    axes = [a for a, pair in enumerate(pairs) if pair != (0, 0)]
    ctx.refuse_mixing(x, axes)
    shape = [d if p == (0, 0) else d + sum(p) for d, p in zip(x.shape, pairs, strict=True)]  # type: ignore[operator]
    modes = {"replicate": "edge", "reflect": "reflect", "circular": "wrap"}
    options: dict[str, object] = {}
    if ctx.string(mode) != "constant":
        options["mode"] = modes[ctx.string(mode)]
    elif not ctx.is_none(value) and ctx.number(value) != 0:
        options["constant_values"] = value
    return ctx.result(shape, x.dtype, c.call("jnp.pad", [x, tuple(pairs)], options), x)
