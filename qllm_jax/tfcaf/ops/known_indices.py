"""Where the entries of a mask are: known when the mask is made of constants, or of a given size.

`torch.where(mask)` and `np.nonzero(mask)` give as many indices as the mask has entries that hold.
For a mask such as `~torch.eye(3, dtype=bool)` that is known at translation, and the indices are
written out. Imports the registry's context; asks the interpreter for the entries.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf.ops.context import OpCall
from qllm_jax.tfcaf.ops.numpy_like import inferred
from qllm_jax.tfcaf.ops.registry import op
from qllm_jax.tfcaf.values import Array, Sequence, Value


@op("torch", "torch.nonzero .nonzero", "x|input, *, as_tuple=False")
@op("torch", "torch.argwhere .argwhere", "x|input")
@op("numpy", "np.argwhere np.flatnonzero", "x|a")
@op("numpy", "np.nonzero", "x|a", as_tuple=True)
@op("numpy", ".nonzero", "x", as_tuple=True)
def indices(ctx: OpCall, x: Value, as_tuple: Value | bool = False) -> Value:
    """The indices of the entries that are not zero, of a mask of constants."""
    found = places(ctx, ctx.array(x))
    if as_tuple is True or (isinstance(as_tuple, Value) and ctx.bool(as_tuple)):
        return ctx.tuple([_written_out(ctx, axis) for axis in found])
    if ctx.name.endswith("flatnonzero"):
        shape = tuple(int(dim) for dim in ctx.array(x).shape)  # type: ignore[arg-type]
        return _written_out(ctx, np.ravel_multi_index(found, shape) if shape else found[0])
    return _written_out(ctx, np.stack(found, axis=-1) if found else np.zeros((0, 0), int))


@op("jnp", "jnp.nonzero", "x|a, *, size=None, fill_value=None")
@op("jnp", "jnp.argwhere jnp.flatnonzero", "x|a, *, size=None, fill_value=None")
def sized_indices(ctx: OpCall, x: Value, size: Value, fill_value: Value) -> Value:
    """As many indices as `size` says; without it, of a mask of constants."""
    x = ctx.array(x)
    if ctx.is_none(size):
        as_tuple = ctx.name.endswith(".nonzero")
        return indices(ctx, x, as_tuple)
    ctx.refuse_mixing(x, range(x.ndim))
    options: dict[str, Any] = {"size": ctx.int(size, "size")}
    if not ctx.is_none(fill_value):
        options["fill_value"] = ctx.int(fill_value, "fill_value")
    return inferred(ctx, f"jax.numpy.{ctx.name.rsplit('.', 1)[-1]}", [x], options=options)


def places(ctx: OpCall, x: Array) -> tuple[np.ndarray, ...]:
    """Where a mask of constants holds, one vector for each axis.

    Raises:
        TranslationError: Rule "dynamic-shape": its entries depend on the data.
    """
    from qllm_jax.tfcaf.interpreter.constants import known_entries

    entries = known_entries(ctx.run, x)
    if entries is None or not x.shape:
        raise ctx.dynamic_shape()
    return np.nonzero(entries)


def tuple_of_places(ctx: OpCall, condition: Value) -> Sequence:
    """`where(mask)` of a mask of constants."""
    return ctx.tuple([_written_out(ctx, axis) for axis in places(ctx, ctx.array(condition))])


def _written_out(ctx: OpCall, entries: np.ndarray) -> Array:
    """An array of known ints."""
    numbers = entries.tolist()
    options = {} if entries.size else {"dtype": c.Code("jnp.int32")}
    made = ctx.result(entries.shape, "int", c.call("jnp.array", [numbers], options))
    made.const = _tuples(numbers) if entries.size else None
    return made


def _tuples(numbers: Any) -> Any:
    return tuple(map(_tuples, numbers)) if isinstance(numbers, list) else numbers
