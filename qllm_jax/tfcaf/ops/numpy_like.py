"""What NumPy's and jnp's operations share: registering for both, and results by shape inference.

Most operations of the two dialects are the jnp function of the same name, so a handler checks the
arguments, works out the result's shape and emits that call. Where the shape is not plain,
`inferred` asks `jax.eval_shape`, on sizes only: the batch stands in as a large prime, which comes
back as the batch. Nothing is allocated or compiled, and only functions named in our own tables
are traced.

Imports the registry and the context. Used by the `np_*` and `jax_*` modules beside it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf import limits
from qllm_jax.tfcaf.code import Code
from qllm_jax.tfcaf.ops.context import OpCall
from qllm_jax.tfcaf.ops.registry import op
from qllm_jax.tfcaf.values import (
    Array,
    Batch,
    Dim,
    Kind,
    Masked,
    Sequence,
    Shape,
    Static,
    Value,
    promote,
)

_BATCH = 1_000_003  # stands for B while shapes are inferred
_DTYPES: dict[Kind, Any] = {"bool": jnp.bool_, "int": jnp.int32, "float": jnp.float32}


def both(names: str, signature: str, **extra: Any) -> Callable[[Any], Any]:
    """Register for NumPy and jnp: `sum` is `np.sum` and `jnp.sum`, `.sum` the method of both."""

    def register(handler: Any) -> Any:
        for dialect, module in (("numpy", "np"), ("jnp", "jnp")):
            full = " ".join(n if n[0] in ".@" else f"{module}.{n}" for n in names.split())
            op(dialect, full, signature, **extra)(handler)
        return handler

    return register


def last_name(ctx: OpCall) -> str:
    """`sum` for `jax.numpy.sum` and `.sum`."""
    return ctx.name.rsplit(".", 1)[-1].lstrip("@")


def emitted_name(ctx: OpCall) -> str:
    """The function as emitted, with `jnp.` for `jax.numpy.` and JAX's of SciPy's name."""
    name = ctx.name.replace("jax.numpy.", "jnp.")
    return f"jax.{name}" if name.startswith("scipy.") else name


def has_batch(shape: Shape) -> bool:
    """Whether an axis is the batch."""
    return any(isinstance(dim, Batch) for dim in shape)


def inferred(
    ctx: OpCall,
    function: str,
    arrays: list[Array],
    *,
    before: tuple[Any, ...] = (),
    after: tuple[Any, ...] = (),
    options: dict[str, Any] | None = None,
    shown: dict[str, Any] | None = None,
    as_list: bool = False,
) -> Array | Sequence:
    """The result of `function(*before, *arrays, *after, **options)`.

    Args:
        ctx: The call.
        function: Dotted name below `jax`, such as "jax.numpy.kron"; emitted with `jnp.` where
            it can be.
        arrays: The array arguments.
        before: Static arguments in front.
        after: Static arguments behind.
        options: Static keyword arguments.
        shown: How options are spelled in the emitted source, where not as literals.
        as_list: The arrays are passed as one list.

    Raises:
        TranslationError: Rules "shape" (jax refuses the shapes), "mixes-batch", "dynamic-shape".
    """
    options = options or {}
    for array in arrays:
        ctx.refuse_mixing(array, [a for a, d in enumerate(array.shape) if isinstance(d, Masked)])
    keys = tuple((tuple(_stand_in(d) for d in a.shape), a.dtype) for a in arrays)
    try:
        result = _abstract(function, keys, before, after, tuple(sorted(options.items())), as_list)
    except (TypeError, ValueError, LookupError, ArithmeticError) as error:
        reason = str(error).split("\n")[0][:200]
        raise ctx.refuse("shape", f"{reason}.", "Check the shapes and axes.") from None
    text = function.replace("jax.numpy.", "jnp.")
    given = [c.display([a.code for a in arrays], False)] if as_list else [a.code for a in arrays]
    code = c.call(text, [*before, *given, *after], {**options, **(shown or {})})
    return _as_value(ctx, result, code, arrays)


def _as_value(ctx: OpCall, result: Any, code: Code, arrays: list[Array]) -> Array | Sequence:
    if isinstance(result, tuple | list):
        items = [
            _as_value(ctx, item, c.subscript(code, str(i)), arrays) for i, item in enumerate(result)
        ]
        return Sequence(list(items), "tuple", code)
    shape = tuple(_from_stand_in(size) for size in result.shape)
    if any(has_batch(a.shape) for a in arrays) and not has_batch(shape):
        raise ctx.mixes_batch("reduces over the batch axis")
    kind: Kind = "bool" if result.dtype == bool else "int" if result.dtype.kind in "iu" else "float"
    return ctx.result(shape, kind, code, *arrays)


@functools.lru_cache(maxsize=4096)
def _abstract(
    function: str,
    keys: tuple[Any, ...],
    before: tuple[Any, ...],
    after: tuple[Any, ...],
    options: tuple[Any, ...],
    as_list: bool,
) -> Any:
    called: Any = jax
    for part in function.split(".")[1:]:
        called = getattr(called, part)  # a name of our own tables, never of the source
    shapes = [jax.ShapeDtypeStruct(shape, _DTYPES[kind]) for shape, kind in keys]

    def run(*given: Any) -> Any:
        middle = (list(given),) if as_list else given
        return called(*before, *middle, *after, **dict(options))

    return jax.eval_shape(run, *shapes)


def _stand_in(dim: Dim) -> int:
    return _BATCH * dim.factor if isinstance(dim, Batch) else int(dim)  # type: ignore[arg-type]


def _from_stand_in(size: int) -> Dim:
    return Batch(size // _BATCH) if size and size % _BATCH == 0 else size


def numbers(ctx: OpCall, value: Value, what: str) -> Any:
    """A static number, or a tuple (of tuples) of them, also out of an array of constants."""
    if isinstance(value, Array) and isinstance(value.const, tuple):
        return value.const
    if isinstance(value, Sequence):
        return tuple(numbers(ctx, item, what) for item in ctx.items(value, what))
    if isinstance(value, Static) and value.value is None:
        return None
    number = ctx.number(value, what)
    if isinstance(number, int) and abs(number) > limits.MAX_ELEMENTS:
        raise limits.too_big(f"`{ctx.shown}` takes {number}, which", ctx.line)
    return number


def cast_to(ctx: OpCall, x: Array, dtype: Value) -> Array:
    """`x` in the asked dtype; None asks for nothing."""
    kind = ctx.kind(dtype)
    return x if kind is None else ctx.cast(x, kind)


def as_float(kind: Kind) -> Kind:
    """What division, means and transcendental functions make of a kind."""
    return promote(kind, "float")


def as_number(kind: Kind) -> Kind:
    """What sums make of a kind: bools are counted."""
    return promote(kind, "int")
