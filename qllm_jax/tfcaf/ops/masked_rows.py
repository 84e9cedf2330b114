"""Reductions over the rows that a mask selects: the other rows get the neutral element.

Imports the registry's context. Called by the reductions of torch and NumPy.
"""

from __future__ import annotations

from typing import Any

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf.code import Code
from qllm_jax.tfcaf.ops.context import OpCall
from qllm_jax.tfcaf.ops.np_reductions import reduced_shape
from qllm_jax.tfcaf.values import Array, Batch, Kind, Masked

_NEUTRAL = {"sum": 0.0, "prod": 1.0, "max": -float("inf"), "min": float("inf")}


def reduce_rows(
    ctx: OpCall, x: Array, axes: tuple[int, ...], axis: int, keep: bool, name: str, kind: Kind
) -> Array:
    """A reduction over the rows of a mask: the other rows get the neutral element."""
    from qllm_jax.tfcaf.interpreter.indexing import spread_mask

    rows = x.shape[axis]
    assert isinstance(rows, Masked)
    if isinstance(rows.full, Batch) or x.wide or any(isinstance(d, Batch) for d in rows.shape):
        raise ctx.mixes_batch("reduces rows that a mask selects from the whole batch")
    if name not in (*_NEUTRAL, "mean", "any", "all"):
        raise ctx.dynamic_shape()
    held = rows.mask if len(rows.shape) == 1 else c.method(rows.mask, "reshape", [-1], {})
    mask = spread_mask(held, x.ndim - axis - 1)
    shown: dict[str, Any] = {"axis": axes[0] if len(axes) == 1 else axes}
    if len(axes) == x.ndim:
        shown = {}
    if keep:
        shown["keepdims"] = True
    shape = reduced_shape(x, axes, keep)
    if name in ("any", "all"):
        filled = c.call("jnp.where", [mask, x.code, name == "all"])
        return ctx.result(shape, "bool", c.call(f"jnp.{name}", [filled], shown), x)
    if name == "mean":
        total = c.call("jnp.sum", [c.call("jnp.where", [mask, x.code, 0.0])], shown)
        count = c.method(rows.mask, "sum", [], {})
        for a in axes:
            if a != axis:
                size = ctx.fixed_size(x, a)
                count = Code(f"{count.within(c.TIMES)} * {size}", c.TIMES)
        code = Code(f"{total.text} / {count.within(c.TIMES + 1)}", c.TIMES)
        return ctx.result(shape, "float", code, x)
    neutral: Any = _NEUTRAL[name]
    if kind == "int" and name in ("sum", "prod"):
        neutral = int(neutral)
    elif x.dtype != "float":
        raise ctx.dynamic_shape()
    filled = c.call("jnp.where", [mask, x.code, neutral])
    return ctx.result(shape, kind, c.call(f"jnp.{name}", [filled], shown), x)
