"""Sorting and searching of NumPy and jnp. Never along the batch."""

from __future__ import annotations

from typing import Any

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf.ops.context import OpCall
from qllm_jax.tfcaf.ops.numpy_like import (
    both,
    inferred,
    last_name,
)
from qllm_jax.tfcaf.ops.registry import op
from qllm_jax.tfcaf.values import (
    Value,
)


@both("sort", "x|a, axis=-1, kind=None, order!=None, *, stable=True, descending=False")
@both("argsort .argsort", "x|a, axis=-1, kind=None, order!=None, *, stable=True, descending=False")
@op("jnp", ".sort", "x|a, axis=-1, kind=None, order!=None, *, stable=True, descending=False")
@op(
    "jnp",
    "lax.sort",
    "x|operand, axis|dimension=-1, kind|is_stable=None, stable|num_keys=True, descending=False",
)
def sort(
    ctx: OpCall, x: Value, axis: Value, kind: Value, stable: Value, descending: Value
) -> Value:
    """Sorted values, or the indices that sort; ties keep their order."""
    x = ctx.array(x)
    if ctx.is_none(axis):
        raise ctx.refuse("argument", "axis=None flattens first.", "Sort along one axis.")
    number = ctx.axis(x, axis)
    ctx.refuse_mixing(x, [number])
    options: dict[str, Any] = {} if ctx.int(axis) == -1 else {"axis": axis.code}
    if ctx.bool(descending):
        options["descending"] = True
    name = last_name(ctx)
    return ctx.result(
        x.shape, "int" if name == "argsort" else x.dtype, ctx.emit(x, name, **options), x
    )


@both("partition argpartition", "x|a, kth, axis=-1, kind=None, order!=None")
def partition(ctx: OpCall, x: Value, kth: Value, axis: Value, kind: Value) -> Value:
    """Values (or indices) with the kth in its sorted place."""
    x = ctx.array(x)
    number = ctx.axis(x, axis)
    size, k = int(ctx.fixed_size(x, number)), int(ctx.int(kth, "kth"))
    if not -size <= k < size:
        raise ctx.refuse("argument", f"kth is out of range for {size}.", "Use a smaller kth.")
    options = {"axis": axis.code} if ctx.int(axis) != -1 else {}
    name = last_name(ctx)
    code = c.call(f"jnp.{name}", [x, k % size], options)
    return ctx.result(x.shape, "int" if name == "argpartition" else x.dtype, code, x)


@op("jnp", "lax.top_k", "x|operand, k")
@op("jnp", "jax.numpy.top_k", "x|operand, k")
def top_k(ctx: OpCall, x: Value, k: Value) -> Value:
    """The k largest of the last axis, with their indices."""
    x, count = ctx.array(x), ctx.int(k, "k")
    size = ctx.fixed_size(x, x.ndim - 1)
    if not 0 <= count <= size:
        raise ctx.refuse("argument", f"k={count} is out of range for {size}.", "Use a smaller k.")
    call = c.call("jax.lax.top_k", [x, count])
    shape = (*x.shape[:-1], count)
    parts = [
        ctx.result(shape, x.dtype, c.subscript(call, "0"), x),
        ctx.result(shape, "int", c.subscript(call, "1"), x),
    ]
    made = ctx.tuple(parts)
    made.code = call
    return made


@both("searchsorted", "x|a, v, side='left', sorter!=None")
def searchsorted(ctx: OpCall, x: Value, v: Value, side: Value) -> Value:
    """Where values would stand in a sorted array."""
    x, v = ctx.array(x), ctx.array(v)
    ctx.refuse_mixing(x, range(x.ndim))
    options = {"side": ctx.string(side)} if ctx.string(side) != "left" else {}
    return inferred(ctx, "jax.numpy.searchsorted", [x, v], options=options)


@both("digitize", "x, bins, right=False")
def digitize(ctx: OpCall, x: Value, bins: Value, right: Value) -> Value:
    """The bin of each value."""
    x, edges = ctx.array(x), ctx.array(bins)
    ctx.refuse_mixing(edges, range(edges.ndim))
    options = {"right": True} if ctx.bool(right) else {}
    return ctx.result(x.shape, "int", c.call("jnp.digitize", [x, edges], options), x)
