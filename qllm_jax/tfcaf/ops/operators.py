"""Python's operators on arrays: arithmetic, comparison, negation, matmul.

Imports the registry's context. Called by the interpreter for `a + b` and by the dialects' named
forms of the same (`torch.add`, `torch.lt`).
"""

from __future__ import annotations

import ast

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf.ops.context import OpCall
from qllm_jax.tfcaf.values import Array, Masked, Value, format_shape, promote, same_dim

_NAMES: dict[type[ast.AST], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: "**",
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.BitXor: "^",
    ast.LShift: "<<",
    ast.RShift: ">>",
    ast.MatMult: "@",
}
_BITWISE = (ast.BitAnd, ast.BitOr, ast.BitXor, ast.LShift, ast.RShift)


def binary(ctx: OpCall, op: type[ast.AST], left: Value, right: Value) -> Array:
    """`left op right`, with the dialect's promotion; at least one side is an array."""
    if op is ast.MatMult:
        return matmul(ctx, left, right)
    x, y = ctx.array(left), ctx.array(right)
    shape = ctx.broadcast(x, y)
    kind = promote(x.dtype, y.dtype)
    if op is ast.Sub and kind == "bool":
        raise ctx.refuse(
            "dtype", "bools cannot be subtracted.", "Use `^`, or cast with `.float()`."
        )
    if op in _BITWISE and kind == "float":
        raise ctx.refuse("dtype", "it needs bools or ints.", "Compare first, as in `x > 0`.")
    if op is ast.Div:
        kind = "float"
    if op in (ast.FloorDiv, ast.Mod) and kind != "float" and y.const == 0:
        raise ctx.refuse("static-error", "an int is divided by zero.", "Divide floats.")
    if op is ast.Pow:
        return power(ctx, x, y)
    if op in (ast.FloorDiv, ast.Mod) and kind == "bool":
        kind = "int"
    return ctx.result(shape, kind, c.binary(op, x.code, y.code), x, y)


def power(ctx: OpCall, x: Array, y: Array) -> Array:
    """`x ** y`; a constant exponent of zero gives ones, with gradient zero as in torch."""
    shape, kind = ctx.broadcast(x, y), promote(x.dtype, y.dtype)
    exponent = y.const if isinstance(y.const, int | float) else None
    if exponent is not None and not isinstance(exponent, bool) and exponent == 0:
        ones = c.call("jnp.ones_like", [x.code])
        made = ctx.result(x.shape, x.dtype, ones)
        return ctx.cast(made, kind)
    if kind != "float" and isinstance(exponent, int) and exponent < 0:
        raise ctx.refuse("dtype", "an int is raised to a negative power.", "Cast to float first.")
    if kind == "bool":
        kind = "int"
    return ctx.result(shape, kind, c.binary(ast.Pow, x.code, y.code), x, y)


def compare(ctx: OpCall, op: type[ast.AST], left: Value, right: Value) -> Array:
    """`left op right` for one comparison, elementwise."""
    x, y = ctx.array(left), ctx.array(right)
    shape = ctx.broadcast(x, y)
    return ctx.result(shape, "bool", c.compare(x.code, [op], [y.code]), x, y)


def unary(ctx: OpCall, op: type[ast.AST], operand: Value) -> Array:
    """`-x`, `+x`, `~x`."""
    x = ctx.array(operand)
    if op is ast.Invert and x.dtype == "float":
        raise ctx.refuse("dtype", "it needs bools or ints.", "Compare first, as in `~(x > 0)`.")
    if op is not ast.Invert and x.dtype == "bool":
        raise ctx.refuse("dtype", "a bool has no sign.", "Use `~`, or cast to float first.")
    return ctx.result(x.shape, x.dtype, c.unary(op, x.code), x)


def matmul(ctx: OpCall, left: Value, right: Value, code: c.Code | None = None) -> Array:
    """`left @ right`: the last axis of one against the last but one of the other."""
    x, y = ctx.array(left), ctx.array(right)
    fix = "Check which axis is summed; `(a * b).sum(-1)` is a row-wise dot product."
    if not x.shape or not y.shape:
        raise ctx.refuse("shape", "a number cannot be multiplied as a matrix.", "Use `*`.")
    if ctx.dialect == "torch" and x.dtype != y.dtype:
        raise ctx.refuse("dtype", "both sides need the same dtype.", "Cast with `.float()`.")
    inner, outer = x.shape[-1], y.shape[-2 if y.ndim > 1 else -1]
    if not same_dim(inner, outer):
        shapes = f"{format_shape(x.shape)} and {format_shape(y.shape)}"
        raise ctx.refuse("shape", f"shapes {shapes} do not multiply.", fix)
    if isinstance(inner, Masked):
        raise ctx.dynamic_shape()
    if not isinstance(inner, int):
        raise ctx.mixes_batch("sums over the batch axis")
    lead = ctx.broadcast(
        ctx.result(x.shape[:-2], x.dtype, x.code), ctx.result(y.shape[:-2], y.dtype, y.code)
    )
    rows = x.shape[-2:-1] if x.ndim > 1 else ()
    columns = y.shape[-1:] if y.ndim > 1 else ()
    made = code or c.binary(ast.MatMult, x.code, y.code)
    return ctx.result((*lead, *rows, *columns), promote(x.dtype, y.dtype), made, x, y)


def symbol(op: type[ast.AST]) -> str:
    """The operator as the author typed it."""
    return _NAMES.get(op) or c.COMPARISONS.get(op) or c.UNARY_SIGNS[op][0].strip()
