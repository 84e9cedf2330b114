"""Whether a reshape of a view shows the same memory or copies, as torch and NumPy decide it.

The view is made again of an array of NumPy's, which keeps account of strides; the batch stands in
as a small prime. Only sizes and steps are read: what is evaluated is source that we emitted, from
a list of forms. Called where an array is reshaped.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

import numpy as np

from qllm_jax.tfcaf.code import Code, words
from qllm_jax.tfcaf.values import Array, Batch, Shape, Static

if TYPE_CHECKING:
    from qllm_jax.tfcaf.interpreter.state import Run

_BATCH = 7  # stands for B
_MOST_ELEMENTS = 1 << 20
_METHODS = frozenset(words("reshape ravel squeeze swapaxes transpose"))
_FUNCTIONS = frozenset(
    words("expand_dims moveaxis swapaxes transpose squeeze reshape ravel flip broadcast_to")
)


def copies_when(run: Run, x: Array, shape: Shape | None) -> bool:
    """Whether reshaping a view, or making it contiguous (no shape), copies it.

    False where it shares memory, and where that cannot be told.
    """
    stand_in = _strided(run, x) if x.path else None
    if stand_in is None:
        return False
    if shape is None:
        return not stand_in.flags.c_contiguous
    return not np.shares_memory(stand_in, stand_in.reshape(_sizes(shape)))


def _strided(run: Run, x: Array) -> np.ndarray | None:
    """An array with the strides of a view; None where they are not known."""
    whole = x.cell.shape
    if whole is None or any(not isinstance(dim, int | Batch) for dim in (*whole, *x.shape)):
        return None
    sizes = _sizes(whole)
    if not 0 < np.prod(sizes, initial=1) <= _MOST_ELEMENTS:
        return None
    code = Code("base")
    for view in x.path:
        code = view.get(code)
    try:
        made = _Made(run, np.empty(sizes, np.int8)).of(ast.parse(code.text, mode="eval").body)
    except (_Unknown, TypeError, ValueError, LookupError):
        return None
    return made if isinstance(made, np.ndarray) and made.shape == _sizes(x.shape) else None


def _sizes(shape: Shape) -> tuple[int, ...]:
    return tuple(d.factor * _BATCH if isinstance(d, Batch) else d for d in shape)  # type: ignore[misc]


class _Unknown(Exception):
    """Source that is not of the forms read here."""


class _Made:
    """Evaluates the source of a view over a stand-in for what it views."""

    def __init__(self, run: Run, base: np.ndarray):
        self.run, self.base = run, base

    def of(self, node: ast.expr) -> Any:
        """The value of an expression: the stand-in, a view of it, or a size."""
        match node:
            case ast.Constant(value=bool() | int() | None as value):
                return value
            case ast.Constant(value=value) if value is Ellipsis:
                return value
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self.of(operand)
            case ast.Tuple(elts=items):
                return tuple(self.of(item) for item in items)
            case ast.Slice():
                bounds = (node.lower, node.upper, node.step)
                return slice(*(None if bound is None else self.of(bound) for bound in bounds))
            case ast.Name(id="base"):
                return self.base
            case ast.Name(id=name):
                return self._static(name)
            case ast.Attribute(value=of, attr="shape"):
                return _sizes(self._array(of).shape)
            case ast.Attribute(value=of, attr="T" | "mT" as attr):
                made = self.of(of)
                return made.T if attr == "T" else made.swapaxes(-1, -2)
            case ast.Subscript(value=of, slice=index):
                return self.of(of)[self.of(index)]
            case ast.Call(func=ast.Attribute(value=of, attr=attr), args=args, keywords=keywords):
                given = [self.of(arg) for arg in args]
                named = {keyword.arg or "": self.of(keyword.value) for keyword in keywords}
                if isinstance(of, ast.Name) and of.id == "jnp" and attr in _FUNCTIONS:
                    return getattr(np, attr)(*given, **named)
                if attr == "stop_gradient":
                    return given[0]
                if attr in _METHODS:
                    return getattr(self.of(of), attr)(*given, **named)
        raise _Unknown

    def _static(self, name: str) -> Any:
        found = self.run.find(name)
        value = found[1] if found is not None else None
        if isinstance(value, Static) and not value.varying:
            if isinstance(value.value, Batch):
                return _BATCH * value.value.factor
            if type(value.value) is int:
                return value.value
        raise _Unknown

    def _array(self, node: ast.expr) -> Array:
        found = self.run.find(node.id) if isinstance(node, ast.Name) else None
        if found is None or not isinstance(found[1], Array):
            raise _Unknown
        return found[1]
