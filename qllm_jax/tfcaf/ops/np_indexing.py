"""NumPy's and jnp's functions that index: take, take_along_axis, choose."""

from __future__ import annotations

from typing import Any

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf.ops.context import OpCall
from qllm_jax.tfcaf.ops.numpy_like import both
from qllm_jax.tfcaf.ops.registry import op
from qllm_jax.tfcaf.values import Array, Value, static


@op("numpy", "np.fill_diagonal", "x|a, value|val, wrap!=False")
def fill_diagonal(ctx: OpCall, x: Value, value: Value) -> Value:
    """The diagonal of a matrix set to a number, in place."""
    from qllm_jax.tfcaf.interpreter import mutation

    x = ctx.array(x)
    mutation.update(ctx.run, x, with_diagonal(ctx, x, value))
    return static(None)


@op("jnp", "jnp.fill_diagonal", "x|a, value|val, wrap!=False, *, inplace=True")
def filled_diagonal(ctx: OpCall, x: Value, value: Value, inplace: Value) -> Value:
    """A matrix with a number in its diagonal."""
    if ctx.bool(inplace, "inplace"):
        raise ctx.refuse("immutable", "an array cannot be changed.", "Pass `inplace=False`.")
    return with_diagonal(ctx, ctx.array(x), value)


def with_diagonal(ctx: OpCall, x: Array, value: Value) -> Array:
    """A matrix with a number in its diagonal."""
    number = ctx.array(value)
    if any(not isinstance(dim, int) for dim in x.shape):
        raise ctx.mixes_batch("takes the batch as a matrix's rows")
    if x.ndim != 2 or number.shape != ():
        raise ctx.refuse("shape", "it takes a matrix and a number.", "Use `where` with `eye`.")
    code = c.call("jnp.fill_diagonal", [x, number], {"inplace": False})
    return ctx.result(x.shape, x.dtype, code, x, number)


@both("take", "x|a, indices, axis=None, out!=None, mode=None, *, fill_value!=None")
@both(".take", "x, indices, axis=None, out!=None, mode=None")
def take(ctx: OpCall, x: Value, indices: Value, axis: Value, mode: Value) -> Value:
    """Entries of an axis by index; without an axis, of the flattened array."""
    x, index = ctx.array(x), ctx.array(indices)
    if index.dtype != "int":
        raise ctx.refuse("dtype", "indices must be ints.", "Cast with `.astype(int)`.")
    if ctx.is_none(axis):
        ctx.refuse_mixing(x, range(x.ndim))
        shape = index.shape
        size = 1
        for a in range(x.ndim):
            size *= ctx.fixed_size(x, a)
    else:
        place = ctx.axis(x, axis)
        size = ctx.fixed_size(x, place)
        if any(not isinstance(d, int) for d in index.shape) and not all(
            isinstance(d, int) for d in x.shape
        ):
            raise ctx.mixes_batch("pairs every sample with every other")
        shape = (*x.shape[:place], *index.shape, *x.shape[place + 1 :])
    check_indices(ctx, index, size)
    options: dict[str, Any] = {} if ctx.is_none(axis) else {"axis": axis.code}
    if not ctx.is_none(mode):
        if ctx.string(mode) not in ("clip", "wrap", "fill"):
            raise ctx.refuse("argument", "the mode is unknown.", "Use 'clip' or 'wrap'.")
        options["mode"] = mode.code
    return ctx.result(shape, x.dtype, ctx.emit(x, "take", index.code, **options), x)


def check_indices(ctx: OpCall, index: Array, size: int) -> None:
    """Refuse static indices that are out of range."""
    pending = [index.const] if index.const is not None else []
    while pending:
        item = pending.pop()
        if isinstance(item, tuple | list):
            pending.extend(item)
        elif not -size <= item < size:
            message = f"index {item} is out of range for size {size}."
            raise ctx.refuse("index-range", message, "Check the number of agents and the stride.")


@both("take_along_axis", "x|arr, indices, axis=-1, *, mode!=None")
def take_along_axis(ctx: OpCall, x: Value, indices: Value, axis: Value) -> Value:
    """One entry per position, by index along an axis."""
    x, index = ctx.array(x), ctx.array(indices)
    if x.ndim != index.ndim:
        raise ctx.refuse("shape", "array and indices need as many axes.", "Add an axis.")
    if index.dtype != "int":
        raise ctx.refuse("dtype", "indices must be ints.", "Cast with `.astype(int)`.")
    place = ctx.axis(x, axis)
    ctx.refuse_mixing(x, [place])
    ctx.refuse_mixing(index, [place])
    rest = [tuple(d for i, d in enumerate(a.shape) if i != place) for a in (x, index)]
    arrays = [ctx.result(s, x.dtype, x.code) for s in rest]
    lead = ctx.broadcast(*arrays)
    shape = (*lead[:place], index.shape[place], *lead[place:])
    code = c.call("jnp.take_along_axis", [x, index], {"axis": axis.code})
    return ctx.result(shape, x.dtype, code, x)


@both("choose", "index|a, choices, out!=None, mode=None")
def choose(ctx: OpCall, index: Value, choices: Value, mode: Value) -> Value:
    """For each index, the entry of the array that it names."""
    index = ctx.array(index)
    values = [ctx.array(item) for item in ctx.items(choices)]
    shape = ctx.broadcast(index, *values)
    options = {} if ctx.is_none(mode) else {"mode": ctx.string(mode)}
    code = c.call("jnp.choose", [index, choices.code], options or {"mode": "clip"})
    return ctx.result(shape, ctx.promote(*values), code, *values)
