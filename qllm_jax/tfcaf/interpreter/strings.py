"""Formatted strings: names made of constants, and messages that nothing computes with.

Fills `state.EXPRESSIONS`.
"""

from __future__ import annotations

import ast
import re

from qllm_jax.tfcaf import limits
from qllm_jax.tfcaf.interpreter.state import Run, expression
from qllm_jax.tfcaf.values import Dropped, Static, Value, static

_FORMAT = re.compile(r"[-+ ]?0?\d{0,2}(\.\d{1,2})?[dfges%]?")


@expression(ast.JoinedStr)
def _formatted(run: Run, node: ast.JoinedStr) -> Value:
    """`f"agent_{i}"`; with data in it, a message that may only be handed on."""
    texts: list[str] = []
    for part in node.values:
        if isinstance(part, ast.FormattedValue):
            text = _part(run, part)
            if text is None:
                return Dropped("a message")
            texts.append(text)
        else:
            assert isinstance(part, ast.Constant)
            texts.append(str(part.value))
    text = "".join(texts)
    if len(text) > limits.MAX_STRING_CHARS:
        raise limits.too_big("A string grows too long", run.line)
    return static(text)


def _part(run: Run, node: ast.FormattedValue) -> str | None:
    """A static number or name as text; None for what the data decides."""
    value = run.evaluate(node.value)
    if not isinstance(value, Static) or type(value.value) not in (bool, int, float, str):
        return None
    form = ""
    if node.format_spec is not None:
        assert isinstance(node.format_spec, ast.JoinedStr)
        parts = [p.value for p in node.format_spec.values if isinstance(p, ast.Constant)]
        form = "".join(map(str, parts))
        if len(parts) < len(node.format_spec.values) or not _FORMAT.fullmatch(form):
            raise run.refuse("string", "A format is not plain.", "Write it as in `{x:.2f}`.")
    shown = repr(value.value) if node.conversion == ord("r") else value.value
    try:
        return format(shown, form)
    except ValueError as error:
        raise run.refuse("static-error", f"{error}.", "Check the format.") from None


@expression(ast.FormattedValue)
def _formatted_part(run: Run, node: ast.FormattedValue) -> Value:
    raise run.refuse("string", "A formatted value stands alone.", "Leave it out.")
