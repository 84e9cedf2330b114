"""The entries of small arrays that are made of constants alone, such as `~jnp.eye(3, dtype=bool)`.

A mask whose entries are known selects a known number of rows: `distances[:, mask]` has a shape.
What is read here is emitted source, whose calls are all of our own tables; it is interpreted over
NumPy, from a list of functions, and never evaluated as Python. Called by `state` where a variable
is assigned and by `index_parts` where a mask is used.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from qllm_jax.tfcaf.code import words
from qllm_jax.tfcaf.values import Array, Static

if TYPE_CHECKING:
    from qllm_jax.tfcaf.interpreter.state import Run

_MOST_ELEMENTS = 1024
_MOST_CHARS = 1000
_MODULES = ("jnp", "jax")
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    name: getattr(np, name)
    for name in words(
        "arange array asarray diag equal expand_dims eye full greater less logical_and "
        "logical_not logical_or logical_xor not_equal ones ones_like tril triu where zeros "
        "zeros_like"
    )
}
_DTYPES = {"bool_": bool, "int32": np.int32, "float32": np.float32}
_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Mod: operator.mod,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.USub: operator.neg,
    ast.Invert: operator.invert,
}


def closed_source(run: Run, array: Array) -> str | None:
    """The source of an array with the variables in it replaced by what they hold.

    None where the data takes part, or the array or its source is not small.
    """
    if array.grad or not _is_small(array) or len(array.code.text) > _MOST_CHARS:
        return None
    tree = ast.parse(array.code.text, mode="eval")
    names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)} - {*_MODULES, "bool"}
    texts = {name: _source_of(run, name) for name in names}
    if None in texts.values():
        return None
    text = ast.unparse(_Filled({k: v for k, v in texts.items() if v is not None}).visit(tree))
    return text if len(text) <= _MOST_CHARS else None


def known_entries(run: Run, array: Array) -> np.ndarray | None:
    """The entries of an array of constants; None where they are not known."""
    text = closed_source(run, array)
    if text is None:
        return None
    try:
        entries = _array(_evaluated(ast.parse(text, mode="eval").body))
    except (_Unknown, TypeError, ValueError, LookupError):
        return None
    return entries if entries.shape == array.shape else None


def _is_small(array: Array) -> bool:
    size = 1
    for dim in array.shape:
        if not isinstance(dim, int):
            return False
        size *= dim
    return size <= _MOST_ELEMENTS


def _source_of(run: Run, name: str) -> str | None:
    found = run.find(name)
    if found is None:
        return None
    scope, value = found
    if isinstance(value, Array):
        return scope.closed.get(name)
    if isinstance(value, Static) and type(value.value) in (bool, int, float):
        return None if value.varying else repr(value.value)
    return None


class _Filled(ast.NodeTransformer):
    """Puts sources in the place of names."""

    def __init__(self, texts: dict[str, str]):
        self.texts = texts

    def visit_Name(self, node: ast.Name) -> ast.AST:
        text = self.texts.get(node.id)
        return node if text is None else ast.parse(text, mode="eval").body


class _Unknown(Exception):
    """Source that is not of the forms read here."""


def _evaluated(node: ast.expr) -> Any:
    """The value of an expression, of sizes that the translator has bounded already."""
    match node:
        case ast.Constant(value=bool() | int() | float() | None as value):
            return value
        case ast.List(elts=items):
            return [_evaluated(item) for item in items]
        case ast.Tuple(elts=items):
            return tuple(_evaluated(item) for item in items)
        case ast.Name(id="bool"):
            return bool
        case ast.Attribute(value=ast.Name(id="jnp"), attr=attr) if attr in _DTYPES:
            return _DTYPES[attr]
        case ast.Attribute(value=of, attr="T"):
            return _array(_evaluated(of)).T
        case ast.UnaryOp(op=op, operand=operand):
            return _operator(op)(_array(_evaluated(operand)))
        case ast.BinOp(left=left, op=op, right=right):
            return _operator(op)(_array(_evaluated(left)), _array(_evaluated(right)))
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return _operator(op)(_array(_evaluated(left)), _array(_evaluated(right)))
        case ast.Subscript(value=of, slice=index):
            return _array(_evaluated(of))[_index(index)]
        case ast.Call(func=func, args=args, keywords=keywords):
            return _called(func, args, {k.arg or "": k.value for k in keywords})
    raise _Unknown


def _array(value: Any) -> np.ndarray:
    """As the emitted source has it: its floats are of 32 bits, in which 3 * 0.1 is 0.3."""
    array = np.asarray(value)
    return array.astype(np.float32) if array.dtype == np.float64 else array


def _operator(op: ast.AST) -> Callable[..., Any]:
    if type(op) not in _OPERATORS:
        raise _Unknown
    return _OPERATORS[type(op)]


def _called(func: ast.expr, args: list[ast.expr], keywords: dict[str, ast.expr]) -> Any:
    given = [_evaluated(arg) for arg in args]
    named = {key: _evaluated(value) for key, value in keywords.items()}
    match func:
        case ast.Attribute(value=ast.Name(id="jnp"), attr=attr) if attr in _FUNCTIONS:
            return _array(_FUNCTIONS[attr](*given, **named))
        case ast.Attribute(value=of, attr="astype" | "reshape" as attr):
            return getattr(_array(_evaluated(of)), attr)(*given)
        case ast.Attribute(
            value=ast.Subscript(value=ast.Attribute(value=of, attr="at"), slice=index), attr="set"
        ):
            changed = np.array(_array(_evaluated(of)))
            changed[_index(index)] = given[0]
            return changed
    raise _Unknown


def _index(node: ast.expr) -> Any:
    if isinstance(node, ast.Slice):
        bounds = (node.lower, node.upper, node.step)
        return slice(*(None if bound is None else _evaluated(bound) for bound in bounds))
    if isinstance(node, ast.Tuple):
        return tuple(_index(item) for item in node.elts)
    if isinstance(node, ast.Constant) and node.value is Ellipsis:
        return Ellipsis
    return _evaluated(node)
