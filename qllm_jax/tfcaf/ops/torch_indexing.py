"""Gathering and scattering in torch, one-hot, diagonals and triangles."""

from __future__ import annotations

from typing import Any

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf.ops import np_indexing, np_linalg
from qllm_jax.tfcaf.ops.context import OpCall
from qllm_jax.tfcaf.ops.registry import op
from qllm_jax.tfcaf.ops.torch_elementwise import names, same
from qllm_jax.tfcaf.values import Array, Batch, Value, describe, same_dim


def _index(ctx: OpCall, value: Value) -> Array:
    index = ctx.array(value)
    if index.dtype != "int":
        raise ctx.refuse("dtype", "indices must be ints.", "Cast with `.long()`.")
    return index


@op("torch", "torch.gather .gather", "x|input, axis|dim, index, *, sparse_grad=False")
@op("torch", "torch.take_along_dim .take_along_dim", "x|input, index|indices, axis|dim")
def gather(
    ctx: OpCall, x: Value, axis: Value, index: Value, sparse_grad: Value | None = None
) -> Array:
    """One entry per position of the index, along an axis."""
    x, index = ctx.array(x), _index(ctx, index)
    if x.ndim != index.ndim:
        raise ctx.refuse(
            "shape",
            f"{describe(x)} and an index of {index.ndim} axes.",
            "Give both the same number of axes (`unsqueeze`).",
        )
    along = ctx.axis(x, axis)
    ctx.refuse_mixing(x, [along])
    ctx.refuse_mixing(index, [along])
    np_indexing.check_indices(ctx, index, ctx.fixed_size(x, along))
    source = x.code
    cuts = []
    for a, (have, want) in enumerate(zip(x.shape, index.shape, strict=True)):
        if a == along or same_dim(have, want):
            cuts.append(":")
        elif isinstance(have, int) and isinstance(want, int) and want <= have:
            cuts.append(f":{want}")
        elif same(ctx.name) == "take_along_dim" and (have == 1 or want == 1):
            cuts.append(":")
        else:
            raise ctx.refuse(
                "shape",
                f"the index has {want} entries on axis {a}, where {describe(x)} has {have}.",
                "Expand the index to the size of the array.",
            )
    if any(cut != ":" for cut in cuts):
        source = c.subscript(source, ", ".join(cuts))
    shape = index.shape
    if same(ctx.name) == "take_along_dim":
        lead = [1 if a == along else d for a, d in enumerate(x.shape)]
        shape = ctx.broadcast(index, ctx.result(lead, "int", index.code))
    code = c.call("jnp.take_along_axis", [source, index], {"axis": axis.code})
    return ctx.result(shape, x.dtype, code, x)


@op("torch", "torch.index_select .index_select", "x|input, axis|dim, index")
def index_select(ctx: OpCall, x: Value, axis: Value, index: Value) -> Array:
    """Entries of an axis by number."""
    x, index = ctx.array(x), _index(ctx, index)
    along = ctx.axis(x, axis)
    np_indexing.check_indices(ctx, index, ctx.fixed_size(x, along))
    if index.ndim > 1 or any(isinstance(d, Batch) for d in index.shape):
        raise ctx.refuse("shape", "the index must be a vector for all samples.", "Use `gather`.")
    count = index.shape if index.ndim else (1,)
    given = index.code if index.ndim else c.call("jnp.atleast_1d", [index])
    shape = (*x.shape[:along], *count, *x.shape[along + 1 :])
    return ctx.result(shape, x.dtype, c.call("jnp.take", [x, given], {"axis": axis.code}), x)


@op("torch", "F.embedding", "index|input, x|weight, *, max_norm!=None, sparse=False")
def embedding(ctx: OpCall, index: Value, x: Value, sparse: Value) -> Array:
    """Rows of a table by number."""
    x, index = ctx.array(x), _index(ctx, index)
    if x.ndim != 2:
        raise ctx.refuse("shape", f"{describe(x)} is not a table.", "Pass a matrix of rows.")
    np_indexing.check_indices(ctx, index, ctx.fixed_size(x, 0))
    code = c.subscript(ctx.atom(x), index.code.text)
    return ctx.result((*index.shape, x.shape[1]), x.dtype, code, x)


@op("torch", "torch.take .take", "x|input, index")
def take(ctx: OpCall, x: Value, index: Value) -> Array:
    """Entries of the flattened array."""
    x, index = ctx.array(x), _index(ctx, index)
    size = 1
    for a in range(x.ndim):
        size *= ctx.fixed_size(x, a)
    np_indexing.check_indices(ctx, index, size)
    flat = c.method(ctx.atom(x), "reshape", [-1], {})
    return ctx.result(index.shape, x.dtype, c.subscript(flat, index.code.text), x)


_SCATTER = "x|input, axis|dim, index, source|src|value"


@op("torch", "torch.scatter .scatter", f"{_SCATTER}, *, reduce=None")
@op("torch", "torch.scatter_add .scatter_add", _SCATTER)
@op("torch", "torch.scatter_reduce .scatter_reduce", f"{_SCATTER}, reduce, *, include_self=True")
def scatter(
    ctx: OpCall,
    x: Value,
    axis: Value,
    index: Value,
    source: Value,
    reduce: Value | None = None,
    include_self: Value | None = None,
) -> Array:
    """Entries of the source put (or added) at the positions of the index, along an axis."""
    x, index, source = ctx.array(x), _index(ctx, index), ctx.array(source)
    along = ctx.axis(x, axis)
    ctx.refuse_mixing(x, [along])
    if index.ndim != x.ndim or (source.ndim not in (0, x.ndim)):
        raise ctx.refuse("shape", "array, index and source need as many axes.", "Unsqueeze them.")
    for a, (have, want) in enumerate(zip(x.shape, index.shape, strict=True)):
        if a != along and not same_dim(have, want):
            raise ctx.refuse(
                "shape", f"axis {a} differs.", "Give the index the array's other axes."
            )
        if source.ndim and not same_dim(source.shape[a], want):
            raise ctx.refuse("shape", f"axis {a} of the source differs.", "Match the index.")
    np_indexing.check_indices(ctx, index, ctx.fixed_size(x, along))
    how = "sum" if "scatter_add" in ctx.name else "set"
    if reduce is not None and not ctx.is_none(reduce):
        how = "sum" if ctx.string(reduce) == "add" else ctx.string(reduce)
        if how not in _SCATTERED_BY or (how == "mean" and x.dtype != "float"):
            raise ctx.refuse("argument", "this reduction is not supported.", "Use 'sum'.")
    grid = _grid(ctx, index, along)
    start, counted = x.code, 1.0
    if include_self is not None and not ctx.bool(include_self):
        if x.dtype != "float":
            raise ctx.refuse("dtype", "without itself it reduces floats.", "Cast to float.")
        start, counted = _at(start, grid, "set", c.Code(_REDUCTION_OF_NOTHING[how])), 0.0
    source = ctx.cast(source, x.dtype)
    code = _at(start, grid, _SCATTERED_BY.get(how, how), source.code)
    if how == "mean":
        ones = c.call("jnp.full_like", [x, c.literal(counted)], {})
        counts = c.call("jnp.maximum", [_at(ones, grid, "add", c.literal(1.0)), c.literal(1.0)], {})
        code = c.Code(f"{code.within(c.TIMES)} / {counts.within(c.POWER)}", c.TIMES)
    return ctx.result(x.shape, x.dtype, code, x, source)


# Not "prod": JAX has no gradient of products at positions that may repeat.
_SCATTERED_BY = {"sum": "add", "mean": "add", "amax": "max", "amin": "min"}
_REDUCTION_OF_NOTHING = {"sum": "0.0", "mean": "0.0", "amax": "-jnp.inf", "amin": "jnp.inf"}


def _at(array: c.Code, grid: str, how: str, given: c.Code) -> c.Code:
    """`array.at[grid].how(given)`."""
    return c.method(c.subscript(c.attribute(array, "at"), grid), how, [given], {})


def _grid(ctx: OpCall, index: Array, along: int) -> str:
    """An index that pairs each position with its own place on the other axes."""
    parts = []
    for a in range(index.ndim):
        if a == along:
            parts.append(index.code.text)
            continue
        size = c.subscript(c.attribute(ctx.atom(index), "shape"), str(a))
        ones = tuple(-1 if b == a else 1 for b in range(index.ndim))
        parts.append(c.method(c.call("jnp.arange", [size]), "reshape", [ones], {}).text)
    return ", ".join(parts)


@op("torch", "torch.index_fill .index_fill", "x|input, axis|dim, index, value")
@op(
    "torch",
    "torch.index_add .index_add torch.index_copy .index_copy",
    "x|input, axis|dim, index, value|source, *, alpha=1",
)
def index_update(
    ctx: OpCall, x: Value, axis: Value, index: Value, value: Value, alpha: Value | None = None
) -> Array:
    """Entries of an axis set or added to, by number."""
    x, index, value = ctx.array(x), _index(ctx, index), ctx.array(value)
    along = ctx.axis(x, axis)
    np_indexing.check_indices(ctx, index, ctx.fixed_size(x, along))
    shape = (*x.shape[:along], *index.shape, *x.shape[along + 1 :])
    ctx.broadcast(ctx.result(shape, x.dtype, x.code), value)
    text = ":, " * along + index.code.text
    how = "add" if "index_add" in ctx.name else "set"
    given = ctx.cast(value, x.dtype).code
    if alpha is not None and ctx.number(alpha) != 1:
        given = c.Code(f"{alpha.code.within(c.TIMES)} * {given.within(c.POWER)}", c.TIMES)
    code = c.method(c.subscript(c.attribute(x.code, "at"), text), how, [given], {})
    return ctx.result(x.shape, x.dtype, code, x, value)


@op("torch", "torch.masked_select .masked_select", "x|input, mask")
def masked_select(ctx: OpCall, x: Value, mask: Value) -> Value:
    """The rows of a mask, as `x[mask]`."""
    from qllm_jax.tfcaf.interpreter import indexing

    x, mask = ctx.array(x), ctx.array(mask)
    if x.shape != mask.shape:
        raise ctx.dynamic_shape()
    return indexing.read(ctx.run, x, indexing.resolve(ctx.run, x, mask))


@op(
    "torch",
    "torch.unique .unique torch.masked_scatter .masked_scatter",
    "x|input, *ignored, sorted=True, return_inverse=False, return_counts=False, dim=None",
)
@op("torch", "torch.unique_consecutive", "x|input, *ignored")
def dynamic(ctx: OpCall, x: Value, **ignored: Any) -> Value:
    """Refused: the size of the result depends on the data."""
    raise ctx.refuse(
        "dynamic-shape",
        "the size of its result depends on the data.",
        "Keep all entries and use `torch.where(mask, value, other)`.",
    )


@op("torch", ".fill_diagonal", "x, value|fill_value, wrap!=False", in_place=True)
def fill_diagonal(ctx: OpCall, x: Value, value: Value) -> Value:
    """The diagonal of a matrix set to a number, in place."""
    return np_indexing.with_diagonal(ctx, ctx.array(x), value)


@op("torch", "F.one_hot", "x|input|tensor, classes|num_classes=-1")
def one_hot(ctx: OpCall, x: Value, classes: Value) -> Array:
    """One where the class is, as ints; the number of classes must be given."""
    x, count = _index(ctx, x), ctx.int(classes, "num_classes")
    if count < 1:
        raise ctx.refuse("dynamic-shape", "num_classes is not given.", "Pass num_classes.")
    options = {"dtype": c.Code("jnp.int32")}
    code = c.call("jax.nn.one_hot", [x, classes.code], options)
    return ctx.result((*x.shape, count), "int", code)


@op("torch", names("tril triu"), "x|input, k|diagonal=0")
def triangle(ctx: OpCall, x: Value, k: Value) -> Value:
    """A triangle of the last two axes."""
    return np_linalg.triangle(ctx, x, k)


@op("torch", names("diag"), "x|input, k|diagonal=0")
def diag(ctx: OpCall, x: Value, k: Value) -> Value:
    """A matrix with this diagonal, or the diagonal of a matrix."""
    return np_linalg.diag(ctx, x, k)


@op("torch", "torch.diagonal .diagonal", "x|input, offset=0, axis1|dim1=0, axis2|dim2=1")
def diagonal(ctx: OpCall, x: Value, offset: Value, axis1: Value, axis2: Value) -> Value:
    """The diagonal of two axes, as the last axis."""
    from qllm_jax.tfcaf.ops.np_rearranging import diagonal as shared

    return shared(ctx, x, offset, axis1, axis2)


@op("torch", "torch.diag_embed .diag_embed", "x|input, offset=0, axis1|dim1=-2, axis2|dim2=-1")
def diag_embed(ctx: OpCall, x: Value, offset: Value, axis1: Value, axis2: Value) -> Array:
    """Matrices with the last axis on their diagonals."""
    x = ctx.array(x)
    if ctx.int(offset) or (ctx.int(axis1), ctx.int(axis2)) != (-2, -1):
        raise ctx.refuse("argument", "only the plain form is supported.", "Drop the arguments.")
    size = ctx.fixed_size(x, x.ndim - 1)
    spread = c.subscript(x.code, "..., None")
    zero = {"float": 0.0, "int": 0, "bool": False}[x.dtype]
    diagonal = c.Code(f"jnp.eye({size}, dtype=jnp.bool_)")
    code = c.call("jnp.where", [diagonal, spread, zero])
    return ctx.result((*x.shape, size), x.dtype, code, x)


@op(
    "torch",
    "torch.bucketize .bucketize",
    "x|input, edges|boundaries, *, right=False, out_int32=False",
)
@op(
    "torch",
    "torch.searchsorted",
    "edges|sorted_sequence, x|input|values, *, right=False, out_int32=False, side=None",
)
def searchsorted(
    ctx: OpCall,
    x: Value,
    edges: Value,
    right: Value,
    out_int32: Value,
    side: Value | None = None,
) -> Array:
    """In which interval between sorted edges each number falls."""
    x, edges = ctx.array(x), ctx.array(edges)
    if edges.ndim != 1:
        raise ctx.refuse("shape", "the edges must be a vector.", "Use one vector of edges.")
    ctx.refuse_mixing(edges, [0])
    is_right = ctx.bool(right)
    if side is not None and not ctx.is_none(side):
        is_right = ctx.string(side) == "right"
    options = {"side": "right"} if is_right else {}
    return ctx.result(x.shape, "int", c.call("jnp.searchsorted", [edges, x], options))


@op(
    "torch",
    "torch.tril_indices torch.triu_indices",
    "row, col, offset=0, *, dtype=None, device=None, layout=None",
)
def triangle_indices(ctx: OpCall, row: Value, col: Value, offset: Value, **ignored: Value) -> Array:
    """Row and column numbers of a triangle, as two rows."""
    rows, columns, k = ctx.int(row), ctx.int(col), ctx.int(offset)
    if not 0 <= rows * columns <= 4096:
        raise ctx.refuse("too-big", "so many indices.", "Use a mask from `torch.triu`.")
    lower = same(ctx.name) == "tril_indices"
    pairs = [
        (i, j) for i in range(rows) for j in range(columns) if (j - i <= k if lower else j - i >= k)
    ]
    const = (tuple(i for i, _ in pairs), tuple(j for _, j in pairs))
    sizes = [rows, *([k] if k or columns != rows else []), *([columns] if columns != rows else [])]
    text = f"jnp.stack(jnp.{same(ctx.name)}({', '.join(map(str, sizes))}))"
    made = ctx.result((2, len(pairs)), "int", c.Code(text))
    made.const = const
    return made
