"""Functions of NumPy that change an array in place: `np.add.at`, `np.put_along_axis`.

jnp has the second as a function of its own; the first is `x.at[index].add(values)`.
"""

from __future__ import annotations

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf.ops.context import OpCall
from qllm_jax.tfcaf.ops.np_indexing import check_indices
from qllm_jax.tfcaf.ops.registry import op
from qllm_jax.tfcaf.values import Array, Value, same_dim, static

_AT = {
    "add": "add",
    "subtract": "subtract",
    "multiply": "multiply",
    "maximum": "max",
    "minimum": "min",
}


@op("numpy", " ".join(f"np.{name}.at" for name in _AT), "x|a, index|indices, values|b")
def ufunc_at(ctx: OpCall, x: Value, index: Value, values: Value) -> Value:
    """A ufunc applied at indices, in place; repeated indices count each time."""
    from qllm_jax.tfcaf.interpreter import indexing, mutation

    x, given = ctx.array(x), ctx.array(values)
    place = indexing.resolve(ctx.run, x, index)
    if place.mask is not None:
        raise ctx.dynamic_shape()
    whole = ctx.result(place.shape, x.dtype, x.code)
    if len(ctx.broadcast(whole, given)) > len(place.shape):
        raise ctx.refuse("shape", "the values have too many axes.", "Give one for each index.")
    if ctx.promote(x, given) != x.dtype:
        raise ctx.refuse("dtype", "floats are put into ints.", "Make the array of floats.")
    target = c.subscript(c.attribute(ctx.atom(x), "at"), place.text)
    code = c.method(target, _AT[ctx.name.split(".")[-2]], [ctx.cast(given, x.dtype)], {})
    mutation.update(ctx.run, x, ctx.result(x.shape, x.dtype, code, x, given))
    return static(None)


@op("numpy", "np.put_along_axis", "x|arr, index|indices, values, axis")
def put_along_axis(ctx: OpCall, x: Value, index: Value, values: Value, axis: Value) -> Value:
    """Values at one index for each position along an axis, in place."""
    from qllm_jax.tfcaf.interpreter import mutation

    x = ctx.array(x)
    mutation.update(ctx.run, x, _put_along_axis(ctx, x, index, values, axis))
    return static(None)


@op(
    "jnp",
    "jnp.put_along_axis",
    "x|arr, index|indices, values, axis, inplace=True, *, mode!=None",
)
def with_entries(
    ctx: OpCall, x: Value, index: Value, values: Value, axis: Value, inplace: Value
) -> Value:
    """The array with values at one index for each position along an axis."""
    if ctx.bool(inplace, "inplace"):
        raise ctx.refuse("immutable", "an array cannot be changed.", "Pass `inplace=False`.")
    return _put_along_axis(ctx, ctx.array(x), index, values, axis)


def _put_along_axis(ctx: OpCall, x: Array, index: Value, values: Value, axis: Value) -> Array:
    index, given = ctx.array(index), ctx.array(values)
    if index.dtype != "int" or index.ndim != x.ndim:
        raise ctx.refuse("shape", "it needs ints with as many axes.", "Add an axis.")
    along = ctx.axis(x, axis)
    check_indices(ctx, index, ctx.fixed_size(x, along))
    others = zip(x.shape, index.shape, strict=True)
    if any(a != along and not same_dim(have, want) for a, (have, want) in enumerate(others)):
        raise ctx.refuse("shape", "the other axes differ.", "Match them.")
    if len(ctx.broadcast(index, given)) > x.ndim:
        raise ctx.refuse("shape", "the values have too many axes.", "Give one for each index.")
    shown = [x, index, ctx.cast(given, x.dtype), along]
    code = c.call("jnp.put_along_axis", shown, {"inplace": False})
    return ctx.result(x.shape, x.dtype, code, x, given)
