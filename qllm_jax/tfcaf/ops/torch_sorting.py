"""Sorting in torch: sort, argsort, topk, kthvalue. Never along the batch."""

from __future__ import annotations

from typing import Any

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf.ops.context import OpCall
from qllm_jax.tfcaf.ops.registry import op
from qllm_jax.tfcaf.ops.torch_reductions import kth
from qllm_jax.tfcaf.values import Array, Value


def _options(ctx: OpCall, x: Array, along: int, descending: Value) -> dict[str, Any]:
    options: dict[str, Any] = {} if along == x.ndim - 1 else {"axis": along}
    if ctx.bool(descending, "descending"):
        options["descending"] = True
    return options


def _sorted(x: Array, along: int, order: c.Code, options: dict[str, Any]) -> c.Code:
    """Sorted values; of tied ones the gradient goes to the entry that the indices name."""
    if x.grad and "descending" in options:
        return c.call("jnp.take_along_axis", [x, order], {"axis": along})
    return c.call("jnp.sort", [x], options)


@op("torch", "torch.sort .sort", "x|input, axis|dim=-1, descending=False, stable=False")
@op("torch", "torch.msort .msort", "x|input, axis=0, descending=False, stable=False")
def sort(ctx: OpCall, x: Value, axis: Value, descending: Value, stable: Value) -> Value:
    """(values, indices) in order; ties keep their order."""
    x = ctx.array(x)
    along = ctx.axis(x, axis)
    ctx.refuse_mixing(x, [along])
    options = _options(ctx, x, along, descending)
    order = c.call("jnp.argsort", [x], options)
    values = ctx.result(x.shape, x.dtype, _sorted(x, along, order, options), x)
    if "msort" in ctx.name:
        return values
    return ctx.pair([values, ctx.result(x.shape, "int", order, grad=False)], ("values", "indices"))


@op("torch", "torch.argsort .argsort", "x|input, axis|dim=-1, descending=False, stable=False")
def argsort(ctx: OpCall, x: Value, axis: Value, descending: Value, stable: Value) -> Array:
    """The indices that sort; ties keep their order."""
    x = ctx.array(x)
    along = ctx.axis(x, axis)
    ctx.refuse_mixing(x, [along])
    options = _options(ctx, x, along, descending)
    return ctx.result(x.shape, "int", c.call("jnp.argsort", [x], options), grad=False)


@op("torch", "torch.topk .topk", "x|input, k, axis|dim=-1, largest=True, sorted=True")
def topk(ctx: OpCall, x: Value, k: Value, axis: Value, largest: Value, sorted: Value) -> Value:
    """(values, indices) of the k largest or smallest, in order."""
    x, count = ctx.array(x), ctx.int(k, "k")
    along = ctx.axis(x, axis)
    size = ctx.fixed_size(x, along)
    if not 0 <= count <= size:
        raise ctx.refuse("argument", f"k is {count} of {size}.", "Use a k that fits.")
    shape = tuple(count if a == along else d for a, d in enumerate(x.shape))
    options: dict[str, Any] = {} if along == x.ndim - 1 else {"axis": along}
    if ctx.bool(largest, "largest"):
        options["descending"] = True
    cut = ":, " * along + f":{k.code.within(c.TERNARY)}"
    order = c.call("jnp.argsort", [x], options)
    indices = c.subscript(order, cut)
    values = c.subscript(c.call("jnp.sort", [x], options), cut)
    if x.grad:
        values = c.call("jnp.take_along_axis", [x, indices], {"axis": along})
    return ctx.pair(
        [ctx.result(shape, x.dtype, values, x), ctx.result(shape, "int", indices, grad=False)],
        ("values", "indices"),
    )


@op("torch", "torch.kthvalue .kthvalue", "x|input, k, axis|dim=-1, keepdims|keepdim=False")
def kthvalue(ctx: OpCall, x: Value, k: Value, axis: Value, keepdims: Value) -> Value:
    """(value, index) of the kth smallest, counted from 1."""
    x, place = ctx.array(x), ctx.int(k, "k")
    along = ctx.axis(x, axis)
    if not 1 <= place <= ctx.fixed_size(x, along):
        raise ctx.refuse("argument", f"k is {place}.", "Count from 1 to the size.")
    return kth(ctx, x, along, place - 1, ctx.bool(keepdims))
