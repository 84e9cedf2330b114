"""Functions that torch, NumPy and jnp spell alike: membership, differences, numbering of cells.

Most are jnp's function of the same name. Imports the registry, the context and shape inference.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import Any

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf import limits
from qllm_jax.tfcaf.ops.common import array_of
from qllm_jax.tfcaf.ops.context import OpCall
from qllm_jax.tfcaf.ops.numpy_like import both, has_batch, inferred, last_name, numbers
from qllm_jax.tfcaf.ops.registry import op
from qllm_jax.tfcaf.values import Array, Sequence, Value


@op(
    "torch",
    "torch.isin",
    "x|elements, tests|test_elements, *, assume_unique=False, invert=False",
)
@both("isin", "x|element, tests|test_elements, assume_unique=False, invert=False, *, kind=None")
def isin(ctx: OpCall, x: Value, tests: Value, invert: Value, **hints: Value) -> Array:
    """Whether each element is one of the given ones."""
    x, among = ctx.array(x), ctx.array(tests)
    ctx.refuse_mixing(among, range(among.ndim))
    options = {"invert": True} if ctx.bool(invert, "invert") else {}
    return ctx.result(x.shape, "bool", c.call("jnp.isin", [x, among], options))


@op("torch", "torch.gradient", "x|input, *, spacing=1, axis|dim=None, edge_order=1")
@both("gradient", "x|f, *spacing, axis=None, edge_order=1")
def gradient(
    ctx: OpCall, x: Value, spacing: Value | list[Value], axis: Value, edge_order: Value
) -> Value:
    """Central differences along axes; torch always gives a tuple of them."""
    x = ctx.cast(ctx.array(x), "float")
    axes = ctx.axes(x, axis)
    ctx.refuse_mixing(x, axes)
    if ctx.int(edge_order, "edge_order") != 1:
        raise ctx.refuse("argument", "only edge_order=1 is known.", "Leave it out.")
    given = spacing if isinstance(spacing, list) else ctx.items(spacing, "spacing")
    steps = [ctx.number(step, "spacing") for step in given]
    if steps == [1]:
        steps = []
    single = len(axes) == 1
    options = {"axis": axes[0] if single else axes}
    made = inferred(ctx, "jax.numpy.gradient", [x], after=tuple(steps), options=options)
    return ctx.tuple([made]) if ctx.dialect == "torch" and isinstance(made, Array) else made


@both("ediff1d", "x|ary, to_end!=None, to_begin!=None")
def ediff1d(ctx: OpCall, x: Value) -> Value:
    """Differences of neighbours in the flattened array."""
    x = ctx.array(x)
    ctx.refuse_mixing(x, range(x.ndim))
    return inferred(ctx, "jax.numpy.ediff1d", [x])


@op("torch", "torch.block_diag", "*arrays")
@op("jnp", "jax.scipy.linalg.block_diag", "*arrays")
@op("numpy", "scipy.linalg.block_diag", "*arrays")
def block_diag(ctx: OpCall, arrays: list[Value]) -> Value:
    """Matrices along the diagonal of one matrix."""
    given = [ctx.array(item) for item in arrays]
    for x in given:
        ctx.refuse_mixing(x, range(x.ndim))
    kind = ctx.promote(*given)
    return inferred(ctx, "jax.scipy.linalg.block_diag", [ctx.cast(x, kind) for x in given])


def _sizes(ctx: OpCall, shape: Value) -> tuple[int, ...]:
    found = numbers(ctx, shape, "shape")
    sizes = found if isinstance(found, tuple) else (found,)
    if not sizes or any(type(size) is not int or size < 1 for size in sizes):
        raise ctx.refuse("argument", "the sizes are not positive.", "Give the grid's shape.")
    return sizes


@op("torch", "torch.unravel_index", "x|indices, shape")
@both("unravel_index", "x|indices, shape, order!='C'")
def unravel_index(ctx: OpCall, x: Value, shape: Value) -> Value:
    """The place in a grid of each number of a cell, one array for each axis of the grid."""
    x, sizes = ctx.array(x), _sizes(ctx, shape)
    if x.dtype != "int":
        raise ctx.refuse("dtype", "indices must be ints.", "Cast them to int.")
    return inferred(ctx, "jax.numpy.unravel_index", [x], after=(sizes,))


@both("ravel_multi_index", "places|multi_index, shape|dims, mode='raise', order!='C'")
def ravel_multi_index(ctx: OpCall, places: Value, shape: Value, mode: Value) -> Value:
    """The number of the cell at each place of a grid."""
    sizes = _sizes(ctx, shape)
    parts = [ctx.array(item) for item in ctx.items(places, "multi_index")]
    if len(parts) != len(sizes) or any(part.dtype != "int" for part in parts):
        raise ctx.refuse("argument", "it needs ints for each axis.", "Give one array per axis.")
    how = ctx.string(mode, "mode")
    if how not in ("raise", "clip", "wrap"):
        raise ctx.refuse("argument", f"the mode {how!r} is unknown.", "Use 'clip' or 'wrap'.")
    shown = c.display([part.code for part in parts], True)
    options = {"mode": "clip" if how == "raise" else how}
    code = c.call("jnp.ravel_multi_index", [shown, sizes], options)
    return ctx.result(ctx.broadcast(*parts), "int", code)


@op("torch", "torch.combinations", "x|input, r=2, with_replacement=False")
def combinations(ctx: OpCall, x: Value, r: Value, with_replacement: Value) -> Array:
    """All choices of r entries of a vector, one a row."""
    x, length = ctx.array(x), ctx.int(r, "r")
    size = ctx.fixed_size(x, 0)
    again = ctx.bool(with_replacement)
    count = math.comb(size + length - 1, length) if again else math.comb(size, max(length, 0))
    if x.ndim != 1 or length < 1 or not 0 < count * length <= limits.MAX_ITEMS:
        raise ctx.refuse("shape", "it takes a short vector.", "Use a smaller r.")
    choose: Any = itertools.combinations_with_replacement if again else itertools.combinations
    return _rows(ctx, x, choose(range(size), length))


@op("torch", "torch.cartesian_prod", "*arrays|tensors")
def cartesian_prod(ctx: OpCall, arrays: list[Value]) -> Array:
    """All choices of one entry of each vector, one a row."""
    vectors = [ctx.array(item) for item in arrays]
    sizes = [ctx.fixed_size(x, 0) for x in vectors]
    if any(x.ndim != 1 for x in vectors) or math.prod(sizes) > limits.MAX_ITEMS:
        raise ctx.refuse("shape", "it takes short vectors.", "Use `torch.meshgrid`.")
    if len(vectors) == 1:
        return vectors[0]
    columns = [
        _rows(ctx, x, [(places[i],) for places in itertools.product(*map(range, sizes))])
        for i, x in enumerate(vectors)
    ]
    shape = (math.prod(sizes), len(vectors))
    code = c.call("jnp.concatenate", [c.display([x.code for x in columns], False)], {"axis": 1})
    made = ctx.result(shape, ctx.promote(*columns), code, *columns)
    if all(x.const is not None for x in columns):
        rows = zip(*(x.const for x in columns), strict=True)
        made.const = tuple(tuple(part[0] for part in row) for row in rows)
        made.code = c.call("jnp.array", [made.const])
    return made


def _rows(ctx: OpCall, x: Array, rows: Iterable[tuple[int, ...]]) -> Array:
    """Entries of a vector by number, one row for each tuple; written out where they are known."""
    chosen = [tuple(row) for row in rows]
    shape = (len(chosen), len(chosen[0]))
    if x.const is not None:
        entries = tuple(tuple(x.const[i] for i in row) for row in chosen)
        made = ctx.result(shape, x.dtype, c.call("jnp.array", [entries]))
        made.const = entries
        return made
    index = c.call("jnp.array", [chosen])
    return ctx.result(shape, x.dtype, c.subscript(ctx.atom(x), index.text), x)


@both("ix_", "*vectors|args")
def open_mesh(ctx: OpCall, vectors: list[Value]) -> Value:
    """Vectors of indices that cross each other: `x[np.ix_(rows, columns)]`."""
    arrays = [array_of(ctx, item) for item in vectors]
    made: list[Value] = []
    for place, x in enumerate(arrays):
        if x.ndim != 1 or x.dtype != "int":
            raise ctx.refuse("shape", "it takes vectors of ints.", "Give lists of numbers.")
        size = ctx.fixed_size(x, 0)
        sizes = tuple(-1 if i == place else 1 for i in range(len(arrays)))
        shape = tuple(size if i == place else 1 for i in range(len(arrays)))
        made.append(ctx.result(shape, "int", c.method(x.code, "reshape", [sizes], {}), x))
    return Sequence(made, "tuple", c.display([x.code for x in made], True))


@op(
    "torch", "torch.allclose .allclose", "x|input, y|other, rtol=1e-05, atol=1e-08, equal_nan=False"
)
@both("allclose", "x|a, y|b, rtol=1e-05, atol=1e-08, equal_nan=False")
def allclose(ctx: OpCall, x: Value, y: Value, rtol: Value, atol: Value, equal_nan: Value) -> Array:
    """Whether all elements are equal within a tolerance; over the batch only an `if` may ask."""
    x, y = ctx.array(x), ctx.array(y)
    shape = ctx.broadcast(x, y)
    options: dict[str, Any] = {"rtol": ctx.number(rtol), "atol": ctx.number(atol)}
    if ctx.bool(equal_nan):
        options["equal_nan"] = True
    made = ctx.result((), "bool", c.call("jnp.allclose", [x, y], options))
    made.row_any = has_batch(shape)
    return made


@both("convolve", "x|a, y|v, mode='full'")
@both("correlate", "x|a, y|v, mode='valid'")
def convolve(ctx: OpCall, x: Value, y: Value, mode: Value) -> Value:
    """Sums of products of two vectors, one moved along the other."""
    x, y = (ctx.cast(ctx.array(item), "float") for item in (x, y))
    for vector in (x, y):
        ctx.refuse_mixing(vector, range(vector.ndim))
    options = {"mode": ctx.string(mode, "mode")}
    return inferred(ctx, f"jax.numpy.{last_name(ctx)}", [x, y], options=options)
