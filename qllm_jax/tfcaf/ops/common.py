"""What every dialect's arrays have: shape, dtype; and making arrays of Python lists.

Imports the registry's context and values. Used by the interpreter's state and by the tables of
shapes and constructors.
"""

from __future__ import annotations

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf.code import Code
from qllm_jax.tfcaf.ops.context import OpCall
from qllm_jax.tfcaf.ops.registry import op
from qllm_jax.tfcaf.values import (
    JNP_DTYPE,
    Array,
    Batch,
    Dropped,
    DType,
    Masked,
    Sequence,
    Shape,
    Static,
    Value,
    promote,
    same_shape,
)

MAX_CONST = 256  # entries that are remembered of a constant array


@op("torch", "@shape", "x")
@op("numpy", "@shape", "x")
@op("jnp", "@shape", "x")
def shape_of(ctx: OpCall, x: Array) -> Value:
    """The sizes as a tuple of Python ints."""
    code = c.attribute(ctx.atom(x), "shape")
    items: list[Value] = []
    for axis, dim in enumerate(x.shape):
        if isinstance(dim, Masked):
            raise ctx.dynamic_shape()
        items.append(Static(dim, c.subscript(code, str(axis))))
    return Sequence(items, "tuple", code)


@op("torch", "@dtype", "x")
@op("numpy", "@dtype", "x")
@op("jnp", "@dtype", "x")
def dtype_of(ctx: OpCall, x: Array) -> Value:
    """The dtype."""
    return DType(x.dtype, Code(JNP_DTYPE[x.dtype]))


@op("torch", "@device @layout @requires_grad @is_cuda @grad_fn", "x")
@op("jnp", "@device @sharding", "x")
def device_of(ctx: OpCall, x: Array) -> Value:
    """Where an array lives; only handed on."""
    return Dropped("a device")


def array_of(ctx: OpCall, value: Value) -> Array:
    """A list (of lists) of numbers and arrays as one array.

    Raises:
        TranslationError: Rules "ragged" (sizes differ), "type".
    """
    if not isinstance(value, Sequence):
        return ctx.array(value)
    rows = [array_of(ctx, item) for item in value.items]
    if value.of_batch:
        shape: Shape = (Batch(), *rows[0].shape)
    else:
        shape = (len(rows), *(rows[0].shape if rows else ()))
    if any(not same_shape(row.shape, rows[0].shape) for row in rows):
        raise ctx.refuse(
            "ragged", "the items of a list differ in shape.", "Give all of them the same shape."
        )
    if sum(isinstance(dim, Batch) for dim in shape) > 1:
        raise ctx.mixes_batch("collects whole batches for each sample")
    kind = promote(*(row.dtype for row in rows)) if rows else "float"
    code = value.code
    made = ctx.result(shape, kind, c.call("jnp.array", [code]), *rows)
    consts = [row.const for row in rows]
    known = rows and not value.of_batch and all(item is not None for item in consts)
    if known and _count(consts) <= MAX_CONST and not _varying(value):
        made.const = tuple(consts)
    return made


def _varying(value: Value) -> bool:
    if isinstance(value, Sequence):
        return value.varying or any(_varying(item) for item in value.items)
    return isinstance(value, Static) and value.varying


def _count(consts: object) -> int:
    if isinstance(consts, list | tuple):
        return sum(_count(item) for item in consts)
    return 1
