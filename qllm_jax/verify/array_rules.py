"""How reductions and moves of elements act on intervals."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from qllm_jax.verify.intervals import Relation, Value, join, make_value, moved, multiply, product
from qllm_jax.verify.marks import may_be_nan
from qllm_jax.verify.rules import Rule, plain, registrar

ARRAYS: dict[str, Rule] = {}
rule = registrar(ARRAYS)

# --- reductions ---------------------------------------------------------------------------


def _reduced(x: Value, axes: tuple[int, ...], kind: str) -> Relation:
    left = tuple(axis for axis in range(x.lo.ndim) if axis not in axes)
    return Relation(kind, x, left, frozenset(axes))  # type: ignore[arg-type]


@rule("reduce_sum")
def _reduce_sum(params: Any, x: Value) -> Value:
    axes = tuple(params["axes"])
    relations: tuple[Relation, ...] = ()
    if x.hull[0] >= 0:
        relations = (_reduced(x, axes, "above"),)
    elif x.hull[1] <= 0:
        relations = (_reduced(x, axes, "below"),)
    kept = x.apart if x.apart is not None and x.apart.kind == "product" else None
    return plain(x.lo.sum(axes), x.hi.sum(axes), relations=relations, apart=kept)


@rule("reduce_max")
def _reduce_max(params: Any, x: Value) -> Value:
    axes = tuple(params["axes"])
    lo, hi = x.lo.max(axes, initial=-np.inf), x.hi.max(axes, initial=-np.inf)
    return plain(lo, hi, relations=(_reduced(x, axes, "above"),))


@rule("reduce_min")
def _reduce_min(params: Any, x: Value) -> Value:
    axes = tuple(params["axes"])
    lo, hi = x.lo.min(axes, initial=np.inf), x.hi.min(axes, initial=np.inf)
    return plain(lo, hi, relations=(_reduced(x, axes, "below"),))


@rule("reduce_prod")
def _reduce_prod(params: Any, x: Value) -> Value:
    axes = tuple(params["axes"])
    if x.hull[0] >= 0:
        return plain(x.lo.prod(axes), x.hi.prod(axes))
    return make_value(-np.inf, np.inf, x.lo.sum(axes).shape)


@rule("reduce_and")
def _reduce_and(params: Any, x: Value) -> Value:
    axes = tuple(params["axes"])
    return plain(x.lo.min(axes, initial=1), x.hi.min(axes, initial=1))


@rule("reduce_or")
def _reduce_or(params: Any, x: Value) -> Value:
    axes = tuple(params["axes"])
    return plain(x.lo.max(axes, initial=0), x.hi.max(axes, initial=0))


@rule("argmax", "argmin")
def _argmax(params: Any, x: Value) -> Value:
    (axis,) = params["axes"]
    shape = x.shape[:axis] + x.shape[axis + 1 :]
    return make_value(0, x.shape[axis] - 1, shape)


def _along(fn: Callable, params: Any, x: np.ndarray) -> np.ndarray:
    axis = params["axis"]
    if params["reverse"]:
        return np.flip(fn(np.flip(x, axis), axis), axis)
    return fn(x, axis)


@rule("cumsum")
def _cumsum(params: Any, x: Value) -> Value:
    return plain(_along(np.cumsum, params, x.lo), _along(np.cumsum, params, x.hi))


@rule("cummax")
def _cummax(params: Any, x: Value) -> Value:
    fn = np.maximum.accumulate
    return plain(_along(fn, params, x.lo), _along(fn, params, x.hi))


@rule("cummin")
def _cummin(params: Any, x: Value) -> Value:
    fn = np.minimum.accumulate
    return plain(_along(fn, params, x.lo), _along(fn, params, x.hi))


@rule("cumprod")
def _cumprod(params: Any, x: Value) -> Value:
    if x.hull[0] < 0:
        return make_value(-np.inf, np.inf, x.shape)
    return plain(_along(np.cumprod, params, x.lo), _along(np.cumprod, params, x.hi))


@rule("dot_general")
def _dot_general(params: Any, x: Value, y: Value) -> Value:
    """Bounds of the sum over contracted axes of elementwise products."""
    (x_axes, y_axes), (x_batch, y_batch) = params["dimension_numbers"]
    x_free = [a for a in range(x.lo.ndim) if a not in (*x_axes, *x_batch)]
    y_free = [a for a in range(y.lo.ndim) if a not in (*y_axes, *y_batch)]
    batch = [x.shape[a] for a in x_batch]
    rows, columns = [x.shape[a] for a in x_free], [y.shape[a] for a in y_free]
    depth = [x.shape[a] for a in x_axes]
    shape = (*batch, *rows, *columns)

    def laid_out(array: np.ndarray, axes: list[int], new: tuple[int, ...]) -> np.ndarray:
        return array.transpose(axes).reshape(new)

    if math.prod(shape) * math.prod(depth) > 1 << 16:
        lo, hi = multiply(_scalar(x), _scalar(y))
        count = math.prod(depth)
        return make_value(product(lo, np.array(count)), product(hi, np.array(count)), shape)
    x_order, y_order = [*x_batch, *x_free, *x_axes], [*y_batch, *y_free, *y_axes]
    x_shape = (math.prod(batch), math.prod(rows), 1, math.prod(depth))
    y_shape = (math.prod(batch), 1, math.prod(columns), math.prod(depth))
    a = Value(laid_out(x.lo, x_order, x_shape), laid_out(x.hi, x_order, x_shape))
    b = Value(laid_out(y.lo, y_order, y_shape), laid_out(y.hi, y_order, y_shape))
    lo, hi = multiply(a, b)
    return make_value(lo.sum(-1).reshape(shape), hi.sum(-1).reshape(shape), shape)


def _scalar(x: Value) -> Value:
    lo, hi = x.hull
    return Value(np.array(lo), np.array(hi))


# --- moves --------------------------------------------------------------------------------


def _rearranged(move: Callable, *values: Value) -> Value:
    """Apply a pure move of elements by moving their positions.

    Args:
        move: The primitive on integer arrays; a negative position is an element unknown to us.
        values: Its operands.
    """
    offsets = np.cumsum([0, *(v.lo.size for v in values)])
    positions = [
        np.arange(offset, offset + v.lo.size, dtype=np.int32).reshape(v.shape)
        for offset, v in zip(offsets, values, strict=False)
    ]
    source = np.asarray(move(*positions))
    lo = np.concatenate([v.lo.ravel() for v in values])[source]
    hi = np.concatenate([v.hi.ravel() for v in values])[source]
    unknown = source < 0
    return plain(np.where(unknown, -np.inf, lo), np.where(unknown, np.inf, hi))


@rule("broadcast_in_dim")
def _broadcast_in_dim(params: Any, x: Value, *_: Value) -> Value:
    shape, axes = tuple(params["shape"]), params["broadcast_dimensions"]
    if shape == x.shape:
        return x
    sizes = [1] * len(shape)
    origin: list[int | None] = [None] * len(shape)
    for old, new in enumerate(axes):
        sizes[new], origin[new] = x.shape[old], old
    lo, hi = x.lo.reshape(sizes), x.hi.reshape(sizes)
    return make_value(np.broadcast_to(lo, shape), np.broadcast_to(hi, shape), shape,
                      relations=moved(x, origin), apart=x.apart, same_as=x.number)  # fmt: skip


@rule("reshape")
def _reshape(params: Any, x: Value, *_: Value) -> Value:
    shape = tuple(params["new_sizes"])
    if shape == x.shape:
        return x
    return plain(x.lo.reshape(shape), x.hi.reshape(shape), relations=_unit_moves(x, shape),
                 apart=x.apart, same_as=x.number)  # fmt: skip


def _unit_moves(x: Value, shape: tuple[int, ...]) -> tuple[Relation, ...]:
    """Relations kept by a reshape that only adds or removes axes of size one."""
    old = [axis for axis, size in enumerate(x.shape) if size != 1]
    if [x.shape[axis] for axis in old] != [size for size in shape if size != 1]:
        return ()
    remaining = iter(old)
    return moved(x, [None if size == 1 else next(remaining) for size in shape])


@rule("squeeze")
def _squeeze(params: Any, x: Value) -> Value:
    dimensions = {d % x.lo.ndim for d in params["dimensions"]}
    origin = [axis for axis in range(x.lo.ndim) if axis not in dimensions]
    shape = tuple(x.shape[axis] for axis in origin)
    return plain(x.lo.reshape(shape), x.hi.reshape(shape), relations=moved(x, list(origin)),
                 apart=x.apart, same_as=x.number)  # fmt: skip


@rule("expand_dims")
def _expand_dims(params: Any, x: Value) -> Value:
    axes = tuple(params["dimensions"])
    lo, hi = np.expand_dims(x.lo, axes), np.expand_dims(x.hi, axes)
    return plain(lo, hi, apart=x.apart, same_as=x.number)


@rule("transpose")
def _transpose(params: Any, x: Value) -> Value:
    order = list(params["permutation"])
    return plain(x.lo.transpose(order), x.hi.transpose(order), relations=moved(x, order))


@rule("stop_gradient", "copy", "copy_p", "optimization_barrier")
def _same(params: Any, x: Value) -> Value:
    return x


@rule("slice")
def _slice(params: Any, x: Value) -> Value:
    strides = params["strides"] or (1,) * x.lo.ndim
    where = tuple(
        slice(*bounds)
        for bounds in zip(params["start_indices"], params["limit_indices"], strides, strict=True)
    )
    return plain(x.lo[where], x.hi[where])


@rule("rev")
def _rev(params: Any, x: Value) -> Value:
    axes = tuple(params["dimensions"])
    return plain(np.flip(x.lo, axes), np.flip(x.hi, axes))


@rule("concatenate")
def _concatenate(params: Any, *xs: Value) -> Value:
    axis = params["dimension"]
    return plain(np.concatenate([x.lo for x in xs], axis), np.concatenate([x.hi for x in xs], axis))


@rule("stack")
def _stack(params: Any, *xs: Value) -> Value:
    axis = params["axis"]
    return plain(np.stack([x.lo for x in xs], axis), np.stack([x.hi for x in xs], axis))


@rule("unstack")
def _unstack(params: Any, x: Value) -> list[Value]:
    lo, hi = np.moveaxis(x.lo, params["axis"], 0), np.moveaxis(x.hi, params["axis"], 0)
    return [plain(a, b) for a, b in zip(lo, hi, strict=True)]


@rule("tile")
def _tile(params: Any, x: Value) -> Value:
    reps = params["reps"]
    return plain(np.tile(x.lo, reps), np.tile(x.hi, reps))


@rule("pad")
def _pad(params: Any, x: Value, filler: Value) -> Value:
    config = params["padding_config"]
    shape = tuple(
        low + high + size + max(size - 1, 0) * inner
        for size, (low, high, inner) in zip(x.shape, config, strict=True)
    )
    if any(low < 0 or high < 0 for low, high, _ in config):
        return make_value(*join([_scalar(x), _scalar(filler)]).hull, shape)
    where = tuple(
        slice(low, low + max(size - 1, 0) * (inner + 1) + (size > 0), inner + 1)
        for size, (low, _, inner) in zip(x.shape, config, strict=True)
    )
    lo, hi = np.full(shape, filler.lo), np.full(shape, filler.hi)
    lo[where], hi[where] = x.lo, x.hi
    return plain(lo, hi)


@rule("sort")
def _sort(params: Any, *xs: Value) -> list[Value]:
    axis = params["dimension"]
    if len(xs) == 1 and not may_be_nan(xs[0]):  # the k-th smallest grows with every element
        return [plain(np.sort(xs[0].lo, axis), np.sort(xs[0].hi, axis))]
    return [_anywhere(x, axis) for x in xs]


def _anywhere(x: Value, axis: int) -> Value:
    """Each element may be any element along the axis."""
    if x.lo.size == 0:
        return x
    lo, hi = x.lo.min(axis, keepdims=True), x.hi.max(axis, keepdims=True)
    return make_value(np.broadcast_to(lo, x.shape), np.broadcast_to(hi, x.shape), x.shape)


@rule("top_k")
def _top_k(params: Any, x: Value) -> list[Value]:
    count = params["k"]
    shape = (*x.shape[:-1], count)
    x = _anywhere(x, x.lo.ndim - 1) if may_be_nan(x) else x
    ordered = [np.flip(np.sort(bound, -1), -1)[..., :count] for bound in (x.lo, x.hi)]
    return [plain(*ordered), make_value(0, max(x.shape[-1] - 1, 0), shape)]


@rule("iota")
def _iota(params: Any, *_: Value) -> Value:
    shape, axis = tuple(params["shape"]), params["dimension"]
    along = np.arange(shape[axis]).reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return make_value(np.broadcast_to(along, shape), np.broadcast_to(along, shape), shape)


@rule("empty", "empty2")
def _empty(params: Any, *_: Value) -> Value:
    """A place holder that nobody reads: joined with a value, it is that value."""
    return make_value(np.inf, -np.inf, tuple(params.get("shape", ())))


@rule("split")
def _split(params: Any, x: Value) -> list[Value]:
    cuts = np.cumsum(params["sizes"])[:-1]
    parts = zip(np.split(x.lo, cuts, params["axis"]), np.split(x.hi, cuts, params["axis"]),
                strict=True)  # fmt: skip
    return [plain(lo, hi) for lo, hi in parts]


# --- moves to and from places that depend on data -------------------------------------------


def gather(eqn: Any, x: Value, indices: Value) -> Value:
    """Elements of x; the exact ones where the indices are known."""
    shape = eqn.outvars[0].aval.shape
    params = eqn.params
    if indices.exact and x.lo.size <= 1 << 16:
        index = indices.lo.astype(np.int32)
        known = dict(params, fill_value=-1)
        return _rearranged(lambda p: eqn.primitive.bind(p, index, **known), x)
    lo, hi = x.hull
    fill = params.get("fill_value")
    if fill is not None and not np.isnan(fill):
        lo, hi = min(lo, float(fill)), max(hi, float(fill))
    elif "FILL" in str(params.get("mode")) and x_is_integer(eqn):
        lo, hi = -np.inf, np.inf
    return make_value(lo, hi, shape)


def x_is_integer(eqn: Any) -> bool:
    """Whether the first operand holds integers or truth values."""
    return not np.issubdtype(eqn.invars[0].aval.dtype, np.floating)


def dynamic_slice(eqn: Any, x: Value, *index: Value) -> Value:
    """A window of x; the exact one where its place is known."""
    if all(i.exact for i in index) and x.lo.size <= 1 << 16:
        place = [i.lo.astype(np.int32) for i in index]
        return _rearranged(lambda p: eqn.primitive.bind(p, *place, **eqn.params), x)
    return make_value(*x.hull, eqn.outvars[0].aval.shape)


def dynamic_update_slice(eqn: Any, x: Value, update: Value, *index: Value) -> Value:
    """x with a window replaced."""
    if all(i.exact for i in index) and x.lo.size <= 1 << 16:
        place = [i.lo.astype(np.int32) for i in index]
        return _rearranged(lambda p, u: eqn.primitive.bind(p, u, *place, **eqn.params), x, update)
    lo, hi = update.hull
    return plain(np.minimum(x.lo, lo), np.maximum(x.hi, hi))


def scatter(eqn: Any, x: Value, indices: Value, updates: Value) -> Value:
    """x with elements replaced, increased, multiplied or bounded at some places."""
    kind = eqn.primitive.name
    if updates.lo.size == 0:
        return x
    lo, hi = updates.hull
    if kind == "scatter":
        if indices.exact and eqn.params["unique_indices"] and x.lo.size <= 1 << 16:
            index = indices.lo.astype(np.int32)
            return _rearranged(lambda p, u: eqn.primitive.bind(p, index, u, **eqn.params),
                               x, updates)  # fmt: skip
        return plain(np.minimum(x.lo, lo), np.maximum(x.hi, hi))
    if kind in ("scatter-add", "scatter_add"):
        count = np.array(float(updates.lo.size))
        return plain(
            x.lo + product(count, np.array(min(lo, 0.0))),
            x.hi + product(count, np.array(max(hi, 0.0))),
        )
    if kind in ("scatter-mul", "scatter_mul") and x.hull[0] >= 0 and lo >= 0:
        return make_value(0, np.inf, x.shape)
    if kind in ("scatter-min", "scatter_min", "scatter-max", "scatter_max"):
        return plain(np.minimum(x.lo, lo), np.maximum(x.hi, hi))
    return make_value(-np.inf, np.inf, x.shape)
