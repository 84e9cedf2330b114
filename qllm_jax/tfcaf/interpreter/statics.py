"""Arithmetic on static Python values, within bounds; the batch size is a symbol in it.

Imports values and limits. Called where both operands of an operator are static.
"""

from __future__ import annotations

import ast
import math
import operator
from typing import Any

from qllm_jax.tfcaf import limits
from qllm_jax.tfcaf.interpreter.state import Run
from qllm_jax.tfcaf.values import Batch, Row

_BINARY: dict[type[ast.AST], Any] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
}
_COMPARE: dict[type[ast.AST], Any] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def binary(run: Run, op: type[ast.AST], left: Any, right: Any) -> Any:
    """`left op right` for numbers.

    Raises:
        TranslationError: Rules "mixes-batch" (arithmetic on the batch size that is no size),
            "string", "static-error" (it fails in Python), "too-big".
    """
    if isinstance(left, Batch) or isinstance(right, Batch):
        return _with_batch(run, op, left, right)
    for value in (left, right):
        if isinstance(value, str):
            raise run.refuse("string", "Strings are not computed with.", "Use numbers.")
        if isinstance(value, Row):
            raise run.refuse(
                "mixes-batch",
                "The number of a sample is computed with, so it could name another sample.",
                "Index with the loop's variable alone.",
            )
        if not isinstance(value, bool | int | float):
            what = type(value).__name__
            raise run.refuse("type", f"A {what} cannot be computed with.", "Use numbers.")
    _check_size(run, op, left, right)
    try:
        value = _BINARY[op](left, right)
    except (ArithmeticError, ValueError, TypeError) as error:
        message = f"This arithmetic on constants fails in Python: {error}."
        raise run.refuse("static-error", message, "Check the constants.") from None
    value = checked(run, value)
    finite = all(isinstance(side, int) or math.isfinite(side) for side in (left, right))
    if isinstance(value, float) and not math.isfinite(value) and finite:
        raise run.refuse("static-error", "A constant overflows.", "Use smaller constants.")
    return value


def checked(run: Run, value: Any) -> Any:
    """A static result, refused where it is complex or too large."""
    if isinstance(value, complex):
        raise run.refuse("static-error", "The result is complex.", "Keep to real numbers.")
    if isinstance(value, int) and value.bit_length() > limits.MAX_INT_BITS:
        raise limits.too_big("A static integer grows too large", run.line)
    return value


def _check_size(run: Run, op: type[ast.AST], left: Any, right: Any) -> None:
    """Refuse integer powers and shifts before they are computed."""
    if not (isinstance(left, int) and isinstance(right, int)):
        return
    bits = left.bit_length()
    if op is ast.LShift:
        bits += max(right, 0) if right.bit_length() < 32 else limits.MAX_INT_BITS + 1
    elif op is ast.Pow and right.bit_length() < 32:
        bits *= abs(right)
    elif op is ast.Pow and bits > 1:
        bits = limits.MAX_INT_BITS + 1
    if op in (ast.LShift, ast.Pow) and bits > limits.MAX_INT_BITS:
        raise limits.too_big("A static integer grows too large", run.line)


def _with_batch(run: Run, op: type[ast.AST], left: Any, right: Any) -> Any:
    """Products and exact quotients of the batch size are sizes; nothing else is allowed."""
    if op is ast.Mult and type(left if isinstance(right, Batch) else right) is int:
        factor = left if isinstance(right, Batch) else right
        batch = right if isinstance(right, Batch) else left
        if factor > 0:
            return Batch(batch.factor * factor)
    if op in (ast.FloorDiv, ast.Div) and isinstance(left, Batch):
        if type(right) is int and right > 0 and left.factor % right == 0 and op is ast.FloorDiv:
            return Batch(left.factor // right)
        if isinstance(right, Batch) and left.factor % right.factor == 0:
            quotient = left.factor // right.factor
            return quotient if op is ast.FloorDiv else float(quotient)
    raise run.refuse(
        "mixes-batch",
        "The batch size enters a computation, so q_tot would depend on how many samples there are.",
        "Use the batch size only as a shape; average over agents, not over the batch.",
    )


def compare(run: Run, op: type[ast.AST], left: Any, right: Any) -> bool:
    """`left op right` for static values; the batch size is larger than 1 and equals no number."""
    if isinstance(left, Batch) and isinstance(right, Batch):
        left, right = left.factor, right.factor
    elif isinstance(left, Batch) or isinstance(right, Batch):
        number = right if isinstance(left, Batch) else left
        if op in (ast.Eq, ast.NotEq):
            return op is ast.NotEq
        if isinstance(number, int | float) and number <= 1:
            left = math.inf if isinstance(left, Batch) else left
            right = math.inf if isinstance(right, Batch) else right
        else:
            raise run.refuse(
                "mixes-batch",
                "A condition depends on the batch size.",
                "Treat every sample alike.",
            )
    try:
        return bool(_COMPARE[op](left, right))
    except TypeError as error:
        message = f"This comparison fails in Python: {error}."
        raise run.refuse("static-error", message, "Compare numbers with numbers.") from None
