"""`jax.lax` on whole arrays: reductions, padding, general products, updates of an axis."""

from __future__ import annotations

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf.ops import np_shapes
from qllm_jax.tfcaf.ops.context import OpCall
from qllm_jax.tfcaf.ops.np_reductions import reduced_shape
from qllm_jax.tfcaf.ops.numpy_like import emitted_name, has_batch, inferred, numbers
from qllm_jax.tfcaf.ops.registry import op
from qllm_jax.tfcaf.values import Array, Value, static


@op("jnp", "lax.reduce_max lax.reduce_min lax.reduce_sum lax.reduce_prod", "x|operand, axes")
@op("jnp", "lax.reduce_and lax.reduce_or", "x|operand, axes")
def reduce(ctx: OpCall, x: Value, axes: Value) -> Array:
    """A reduction over static axes."""
    x = ctx.array(x)
    places = tuple(ctx.axis(x, item) for item in ctx.items(axes, "axes"))
    ctx.refuse_mixing(x, places)
    logical = ctx.name.endswith(("_and", "_or"))
    if logical and x.dtype != "bool":
        raise ctx.refuse("dtype", "of ints it works on bits.", "Compare first, as in `x > 0`.")
    code = c.call(emitted_name(ctx), [x], {"axes": places})
    return ctx.result(reduced_shape(x, places, False), x.dtype, code, x)


@op("jnp", "lax.pad", "x|operand, value|padding_value, config|padding_config")
def pad(ctx: OpCall, x: Value, value: Value, config: Value) -> Value:
    """Entries added before, after and between those of each axis; negative ones are cut off."""
    x, fill = ctx.array(x), ctx.array(value)
    widths = numbers(ctx, config, "padding_config")
    triples = isinstance(widths, tuple) and all(
        isinstance(w, tuple) and len(w) == 3 and all(type(n) is int for n in w) for w in widths
    )
    if not triples or len(widths) != x.ndim:
        raise ctx.refuse("argument", "it needs (low, high, inside) for each axis.", "Give all.")
    if fill.shape != () or (fill.dtype != x.dtype and not fill.weak):
        raise ctx.refuse("dtype", "the padding is no number of that dtype.", "Cast it.")
    ctx.refuse_mixing(x, [a for a, width in enumerate(widths) if any(width)])
    return inferred(ctx, "jax.lax.pad", [x, ctx.cast(fill, x.dtype)], after=(widths,))


@op(
    "jnp",
    "lax.dot_general",
    "x|lhs, y|rhs, axes|dimension_numbers, precision=None, preferred_element_type=None, "
    "out_sharding=None",
)
def dot_general(ctx: OpCall, x: Value, y: Value, axes: Value, **how: Value) -> Value:
    """Sums over pairs of axes, side by side over others."""
    x, y = ctx.array(x), ctx.array(y)
    pairs = numbers(ctx, axes, "dimension_numbers")
    try:
        (left, right), (left_batch, right_batch) = pairs
    except (TypeError, ValueError):
        raise ctx.refuse("argument", "it needs two pairs of axes.", "Use `einsum`.") from None
    for array, used in ((x, (*left, *left_batch)), (y, (*right, *right_batch))):
        if any(not 0 <= axis < array.ndim for axis in used):
            raise ctx.refuse("axis", "an axis is out of range.", "Count axes from 0.")
    ctx.refuse_mixing(x, left)
    ctx.refuse_mixing(y, right)
    if (
        has_batch(x.shape)
        and has_batch(y.shape)
        and (0, 0) not in zip(left_batch, right_batch, strict=False)
    ):
        raise ctx.mixes_batch("pairs every sample with every other")
    return inferred(ctx, "jax.lax.dot_general", [x, y], after=(pairs,))


@op("jnp", "lax.dynamic_update_index_in_dim", "x|operand, update, index, axis")
@op("jnp", "lax.dynamic_update_slice_in_dim", "x|operand, update, index|start_index, axis")
def update_in_dim(ctx: OpCall, x: Value, update: Value, index: Value, axis: Value) -> Array:
    """The array with an entry or a block of an axis replaced."""
    x, part, place = ctx.array(x), ctx.array(update), ctx.array(index)
    along = ctx.axis(x, axis)
    size = ctx.fixed_size(x, along)
    one = "index" in ctx.name.rsplit(".", 1)[-1]
    rest = (*x.shape[:along], *x.shape[along + 1 :])
    fits = part.shape == rest if one and part.ndim < x.ndim else part.ndim == x.ndim
    if not fits or place.shape != () or place.dtype != "int":
        raise ctx.refuse("shape", "the update does not fit.", "Give it the array's other axes.")
    if part.ndim == x.ndim:
        width = ctx.fixed_size(part, along)
        others = (*part.shape[:along], *part.shape[along + 1 :])
        if others != rest or width > size or (one and width != 1):
            raise ctx.refuse("shape", "the update does not fit.", "Match the other axes.")
    code = c.call(emitted_name(ctx), [x, ctx.cast(part, x.dtype), place, along])
    return ctx.result(x.shape, x.dtype, code, x, part)


@op("jnp", "lax.reshape", "x|operand, sizes|new_sizes, dimensions!=None")
def reshape(ctx: OpCall, x: Value, sizes: Value) -> Value:
    """Other sizes for the same numbers."""
    return np_shapes.reshape(ctx, x, sizes, static(None))
