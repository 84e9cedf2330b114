"""`jax.lax`: elementwise functions and slices; control flow is in `jax_control`."""

from __future__ import annotations

from typing import Any

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf.ops.context import OpCall
from qllm_jax.tfcaf.ops.np_reductions import reduced_shape
from qllm_jax.tfcaf.ops.numpy_like import emitted_name, last_name
from qllm_jax.tfcaf.ops.registry import op
from qllm_jax.tfcaf.values import Array, Value

_LAX_FLOAT = "exp expm1 log log1p sqrt cbrt sin cos tan tanh sinh cosh logistic rsqrt erf erf_inv "
_LAX_FLOAT += "asin acos atan asinh acosh atanh lgamma reciprocal exp2"
_LAX_SAME = "abs neg sign floor ceil square"
_LAX_BINARY = "add sub mul div rem max min pow atan2"


@op("jnp", " ".join(f"lax.{n}" for n in _LAX_FLOAT.split()), "x|operand")
def lax_float(ctx: OpCall, x: Value) -> Value:
    """A function of floats; lax takes no ints."""
    x = ctx.array(x)
    if x.dtype != "float":
        raise ctx.refuse("dtype", "lax needs floats here.", "Use the jnp function.")
    return ctx.result(x.shape, "float", c.call(emitted_name(ctx), [x]), x)


@op("jnp", " ".join(f"lax.{n}" for n in _LAX_SAME.split()), "x|operand")
def lax_same(ctx: OpCall, x: Value) -> Value:
    """A function that keeps the dtype."""
    x = ctx.array(x)
    return ctx.result(x.shape, x.dtype, c.call(emitted_name(ctx), [x]), x)


@op("jnp", "lax.round", "x|operand, method!=None")
def lax_round(ctx: OpCall, x: Value) -> Value:
    """Round half away from zero."""
    x = ctx.array(x)
    return ctx.result(x.shape, x.dtype, c.call(emitted_name(ctx), [x]), x)


@op("jnp", "lax.is_finite", "x|operand")
def is_finite(ctx: OpCall, x: Value) -> Value:
    """Whether each element is finite."""
    x = ctx.array(x)
    return ctx.result(x.shape, "bool", c.call("jnp.isfinite", [x]), x)


@op("jnp", " ".join(f"lax.{n}" for n in _LAX_BINARY.split()), "x|lhs, y|rhs")
def lax_binary(ctx: OpCall, x: Value, y: Value) -> Value:
    """Arithmetic; emitted as the jnp function, which promotes and broadcasts."""
    x, y = ctx.array(x), ctx.array(y)
    names = {"sub": "subtract", "mul": "multiply", "div": "divide", "rem": "fmod"}
    names |= {"max": "maximum", "min": "minimum", "pow": "power", "atan2": "arctan2"}
    name = last_name(ctx)
    if name in ("div", "rem") and "float" not in (x.dtype, y.dtype):
        raise ctx.refuse("dtype", "lax divides ints towards zero.", "Use `//` or floats.")
    code = c.call(f"jnp.{names.get(name, name)}", [x, y])
    return ctx.result(ctx.broadcast(x, y), ctx.promote(x, y), code, x, y)


@op("jnp", " ".join(f"lax.{n}" for n in ("eq", "ne", "lt", "le", "gt", "ge")), "x, y")
def lax_compare(ctx: OpCall, x: Value, y: Value) -> Value:
    """Comparisons."""
    x, y = ctx.array(x), ctx.array(y)
    names = {"eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal"}
    names |= {"gt": "greater", "ge": "greater_equal"}
    code = c.call(f"jnp.{names[last_name(ctx)]}", [x, y])
    return ctx.result(ctx.broadcast(x, y), "bool", code, x, y)


@op("jnp", "lax.integer_pow", "x, y")
def integer_pow(ctx: OpCall, x: Value, y: Value) -> Value:
    """A static integer power."""
    x = ctx.array(x)
    return ctx.result(x.shape, x.dtype, c.call("jax.lax.integer_pow", [x, ctx.int(y)]), x)


@op("jnp", "lax.stop_gradient", "x")
def stop_gradient(ctx: OpCall, x: Value) -> Value:
    """The value without its gradient."""
    x = ctx.array(x)
    return ctx.result(x.shape, x.dtype, c.call("jax.lax.stop_gradient", [x]), x, grad=False)


@op("jnp", "lax.argmax lax.argmin", "x|operand, axis, index_dtype")
def lax_arg(ctx: OpCall, x: Value, axis: Value, index_dtype: Value) -> Value:
    """Index of the first extreme along one axis."""
    x = ctx.array(x)
    place = ctx.axis(x, axis)
    ctx.refuse_mixing(x, [place])
    code = c.call(f"jnp.{last_name(ctx)}", [x], {"axis": axis.code})
    return ctx.result(reduced_shape(x, (place,), False), "int", code, x)


@op("jnp", "lax.convert_element_type", "x|operand, dtype|new_dtype")
def convert(ctx: OpCall, x: Value, dtype: Value) -> Value:
    """A cast."""
    return ctx.cast(ctx.array(x), ctx.kind(dtype) or "float")


def _offset(ctx: OpCall, start: Value) -> Array:
    """One start index: static or a scalar of the data."""
    index = ctx.array(start)
    if index.shape != ():
        raise ctx.refuse("shape", "a start index is one number.", "Index it first.")
    return index


@op("jnp", "lax.dynamic_slice", "x|operand, start|start_indices, sizes|slice_sizes")
def dynamic_slice(ctx: OpCall, x: Value, start: Value, sizes: Value) -> Value:
    """A block of static size that starts where the data says."""
    x = ctx.array(x)
    starts = [_offset(ctx, item) for item in ctx.items(start)]
    widths = [ctx.int(item, "slice_sizes") for item in ctx.items(sizes)]
    if len(starts) != x.ndim or len(widths) != x.ndim:
        raise ctx.refuse("argument", "one start and size per axis is needed.", "Give all axes.")
    for axis, width in enumerate(widths):
        _check_width(ctx, x, axis, width)
    code = c.call("jax.lax.dynamic_slice", [x, start.code, sizes.code])
    return ctx.result(tuple(widths), x.dtype, code, x)


def _check_width(ctx: OpCall, x: Array, axis: int, width: int) -> None:
    size = ctx.fixed_size(x, axis)
    if not 0 <= width <= size:
        raise ctx.refuse("shape", f"a slice of {width} does not fit {size}.", "Make it smaller.")


@op("jnp", "lax.dynamic_slice_in_dim", "x|operand, start|start_index, size|slice_size, axis=0")
def dynamic_slice_in_dim(ctx: OpCall, x: Value, start: Value, size: Value, axis: Value) -> Value:
    """A static number of entries along an axis, from where the data says."""
    x, place, width = ctx.array(x), ctx.axis(ctx.array(x), axis), ctx.int(size, "slice_size")
    _check_width(ctx, x, place, width)
    given = [x, _offset(ctx, start), width]
    code = c.call("jax.lax.dynamic_slice_in_dim", given, {"axis": place} if place else {})
    return ctx.result((*x.shape[:place], width, *x.shape[place + 1 :]), x.dtype, code, x)


@op("jnp", "lax.dynamic_index_in_dim", "x|operand, index, axis=0, keepdims=True")
@op("jnp", "lax.index_in_dim", "x|operand, index, axis=0, keepdims=True")
def dynamic_index_in_dim(
    ctx: OpCall, x: Value, index: Value, axis: Value, keepdims: Value
) -> Value:
    """One entry of an axis."""
    x, place, keep = ctx.array(x), ctx.axis(ctx.array(x), axis), ctx.bool(keepdims)
    ctx.refuse_mixing(x, [place])
    options: dict[str, Any] = {"axis": place} | ({} if keep else {"keepdims": False})
    code = c.call(emitted_name(ctx), [x, _offset(ctx, index)], options)
    return ctx.result(reduced_shape(x, (place,), keep), x.dtype, code, x)


@op("jnp", "lax.slice_in_dim", "x|operand, start|start_index, stop|limit_index, stride=1, axis=0")
def slice_in_dim(
    ctx: OpCall, x: Value, start: Value, stop: Value, stride: Value, axis: Value
) -> Value:
    """A static slice of one axis."""
    x, place = ctx.array(x), ctx.axis(ctx.array(x), axis)
    size = ctx.fixed_size(x, place)
    bounds = [None if ctx.is_none(b) else ctx.int(b) for b in (start, stop)]
    step = ctx.int(stride)
    count = len(range(size)[slice(bounds[0], bounds[1], step)])
    options: dict[str, Any] = {"axis": place}
    if ctx.int(stride) != 1:
        options["stride"] = ctx.int(stride)
    code = c.call("jax.lax.slice_in_dim", [x, *bounds], options)
    return ctx.result((*x.shape[:place], count, *x.shape[place + 1 :]), x.dtype, code, x)


@op("jnp", "lax.dynamic_update_slice", "x|operand, update, start|start_indices")
def dynamic_update_slice(ctx: OpCall, x: Value, update: Value, start: Value) -> Value:
    """The array with a block replaced, from where the data says."""
    x, update = ctx.array(x), ctx.array(update)
    starts = [_offset(ctx, item) for item in ctx.items(start)]
    if not len(starts) == x.ndim == update.ndim:
        raise ctx.refuse("argument", "one start per axis is needed.", "Give all axes.")
    for axis in range(x.ndim):
        _check_width(ctx, x, axis, ctx.fixed_size(update, axis))
    code = c.call("jax.lax.dynamic_update_slice", [x, ctx.cast(update, x.dtype), start.code])
    return ctx.result(x.shape, x.dtype, code, x, update)


@op(
    "jnp",
    "jax.ops.segment_sum jax.ops.segment_max jax.ops.segment_min jax.ops.segment_prod",
    "x|data, ids|segment_ids, count|num_segments=None, indices_are_sorted=False, "
    "unique_indices=False, bucket_size!=None, mode!=None",
)
def segments(ctx: OpCall, x: Value, ids: Value, count: Value, **hints: Value) -> Value:
    """Rows with the same number reduced to one; how many numbers there are must be given."""
    x, ids = ctx.array(x), ctx.array(ids)
    if ctx.is_none(count):
        raise ctx.refuse("dynamic-shape", "num_segments is not given.", "Pass num_segments.")
    if ids.dtype != "int" or ids.ndim != 1 or not x.ndim or x.shape[0] != ids.shape[0]:
        raise ctx.refuse("shape", "it needs one int per row.", "Give a vector of segment ids.")
    ctx.refuse_mixing(x, [0])
    size = ctx.int(count, "num_segments")
    code = c.call(emitted_name(ctx), [x, ids], {"num_segments": size})
    return ctx.result((size, *x.shape[1:]), x.dtype, code, x)
