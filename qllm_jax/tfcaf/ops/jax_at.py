"""`x.at[index].set(…)` and its kin: copies with some entries changed."""

from __future__ import annotations

import ast
from typing import Any

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf.code import Code
from qllm_jax.tfcaf.ops import operators
from qllm_jax.tfcaf.ops.context import OpCall
from qllm_jax.tfcaf.ops.numpy_like import last_name
from qllm_jax.tfcaf.ops.registry import op
from qllm_jax.tfcaf.values import Array, AtIndex, Value, same_shape

_AT = "x, value|values, *, mode=None, indices_are_sorted=False, unique_indices=False"
_BY_MASK = {"add": ast.Add, "multiply": ast.Mult, "mul": ast.Mult, "divide": ast.Div}
_BY_MASK |= {"subtract": ast.Sub, "power": ast.Pow}


@op(
    "jnp",
    " ".join(
        f".at.{n}"
        for n in ("set", "add", "multiply", "mul", "divide", "subtract", "power", "min", "max")
    ),
    _AT,
)
def at_update(
    ctx: OpCall, x: Any, value: Value, mode: Value, indices_are_sorted: Value, unique_indices: Value
) -> Value:
    """A copy with some entries changed."""
    from qllm_jax.tfcaf.interpreter.indexing import replaced

    receiver: AtIndex = x
    name, array, index = last_name(ctx), receiver.array, receiver.index
    _check_mode(ctx, mode, "drop")
    given = ctx.array(value)
    kind = array.dtype
    if index.mask is not None and name != "set":
        before = ctx.result(array.shape, kind, array.code, array)
        given = _combined(ctx, name, before, given)
        given = ctx.result(given.shape, given.dtype, given.code, given)
        if not same_shape(given.shape, array.shape) or not index.is_plain:
            raise ctx.refuse("index", "this mask update is not supported.", "Use `where`.")
        code = c.call("jnp.where", [_spread(ctx, index, array), given, array.code])
        return ctx.result(array.shape, kind, code, array, given)
    code = replaced(ctx.run, array, index, given)
    if index.mask is None:
        code = c.method(receiver.code, name, [given.code], {})
    return ctx.result(array.shape, kind, code, array, given)


def _check_mode(ctx: OpCall, mode: Value, usual: str) -> None:
    """Refuse what an index beyond the axis would mean, but for what jnp does anyway."""
    if not ctx.is_none(mode) and ctx.string(mode) not in (usual, "promise_in_bounds"):
        raise ctx.refuse(
            "argument",
            f"mode={ctx.string(mode)!r} is not supported.",
            "Clip the index first, and choose with `where`.",
        )


def _combined(ctx: OpCall, name: str, before: Array, given: Array) -> Array:
    if name in _BY_MASK:
        return operators.binary(ctx, _BY_MASK[name], before, given)
    code = c.call(f"jnp.{name}imum", [before, given])
    return ctx.result(ctx.broadcast(before, given), before.dtype, code, before, given)


def _spread(ctx: OpCall, index: Any, array: Array) -> Code:
    from qllm_jax.tfcaf.interpreter.indexing import spread_mask

    return spread_mask(index.mask.code, array.ndim - index.mask.ndim - index.mask_axis)


@op(
    "jnp",
    ".at.get",
    "x, *, mode=None, fill_value!=None, indices_are_sorted=False, unique_indices=False",
)
def at_get(
    ctx: OpCall, x: Any, mode: Value, indices_are_sorted: Value, unique_indices: Value
) -> Value:
    """The entries themselves."""
    _check_mode(ctx, mode, "clip")
    from qllm_jax.tfcaf.interpreter.indexing import read

    return read(ctx.run, x.array, x.index)


@op("jnp", ".at.apply", "x, function|func")
def at_apply(ctx: OpCall, x: Any, function: Value) -> Value:
    """A function of the entries in their place."""
    from qllm_jax.tfcaf.interpreter.calls import call
    from qllm_jax.tfcaf.interpreter.indexing import read, replaced

    changed = ctx.array(call(ctx.run, function, [read(ctx.run, x.array, x.index)], {}))
    code = replaced(ctx.run, x.array, x.index, changed)
    return ctx.result(x.array.shape, x.array.dtype, code, x.array, changed)
