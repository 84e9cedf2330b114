"""Products, norms and distances of torch, with gradient 0 where a norm is 0."""

from __future__ import annotations

import ast
import math
from typing import Any

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf.ops import np_linalg, operators
from qllm_jax.tfcaf.ops.context import OpCall
from qllm_jax.tfcaf.ops.np_reductions import reduced_shape
from qllm_jax.tfcaf.ops.registry import op
from qllm_jax.tfcaf.ops.torch_elementwise import same
from qllm_jax.tfcaf.values import Array, Batch, Sequence, Value, describe, same_dim, static


@op("torch", "torch.matmul .matmul torch.linalg.matmul", "x|input, y|other|tensor2")
@op("torch", "torch.mm .mm torch.bmm .bmm", "x|input, y|mat2")
@op("torch", "torch.mv .mv", "x|input, y|vec")
@op("torch", "torch.dot .dot torch.vdot .vdot torch.inner .inner", "x|input, y|other|tensor|vec")
def product(ctx: OpCall, x: Value, y: Value) -> Array:
    """Matrix and vector products, of the ranks that each name takes."""
    x, y = ctx.array(x), ctx.array(y)
    ranks = {"mm": (2, 2), "bmm": (3, 3), "mv": (2, 1), "dot": (1, 1), "vdot": (1, 1)}
    name = same(ctx.name)
    if name in ranks and (x.ndim, y.ndim) != ranks[name]:
        raise ctx.refuse(
            "shape",
            f"it takes {ranks[name][0]} and {ranks[name][1]} axes; received {describe(x)} "
            f"and {describe(y)}.",
            "Use `@`, or `(a * b).sum(-1)` for row-wise dot products.",
        )
    if name == "inner" and (x.ndim > 1 or y.ndim > 1):
        made = np_linalg.product_of(ctx, x, y)
        assert isinstance(made, Array)
        return made
    if name == "bmm" and not same_dim(x.shape[0], y.shape[0]):
        raise ctx.refuse("shape", "the first axes differ.", "Give both the same batch.")
    code = c.call(f"jnp.{'dot' if name in ('dot', 'vdot', 'inner') else 'matmul'}", [x, y])
    made = operators.matmul(ctx, x, y, code)
    if sum(isinstance(dim, Batch) for dim in made.shape) > 1:
        raise ctx.mixes_batch("pairs each sample with every other")
    return made


@op("torch", "torch.outer .outer torch.ger", "x|input, y|vec2")
def outer(ctx: OpCall, x: Value, y: Value) -> Array:
    """All products of two vectors."""
    x, y = ctx.array(x), ctx.array(y)
    if x.ndim != 1 or y.ndim != 1:
        raise ctx.refuse(
            "shape", "it takes two vectors.", "Use `a[..., :, None] * b[..., None, :]`."
        )
    if any(isinstance(d, Batch) for d in (*x.shape, *y.shape)):
        raise ctx.mixes_batch("pairs all rows")
    code = c.call("jnp.outer", [x, y])
    return ctx.result((*x.shape, *y.shape), ctx.promote(x, y), code, x, y)


@op(
    "torch",
    "torch.baddbmm torch.addmm torch.addmv .baddbmm .addmm .addmv",
    "x|input, a|batch1|mat1|mat, b|batch2|mat2|vec, *, beta=1, alpha=1",
)
def add_product(ctx: OpCall, x: Value, a: Value, b: Value, beta: Value, alpha: Value) -> Array:
    """beta x + alpha (a @ b)."""
    made = operators.matmul(ctx, a, b)
    if ctx.number(alpha) != 1:
        made = operators.binary(ctx, ast.Mult, alpha, made)
    if ctx.number(beta) != 1:
        x = operators.binary(ctx, ast.Mult, beta, x)
    return operators.binary(ctx, ast.Add, x, made)


@op("torch", "torch.linalg.multi_dot", "arrays|tensors")
@op("torch", "torch.chain_matmul", "*arrays")
def chain(ctx: OpCall, arrays: Value | list[Value]) -> Array:
    """a @ b @ …"""
    items = arrays if isinstance(arrays, list) else ctx.items(arrays)
    made = ctx.array(items[0])
    for item in items[1:]:
        made = operators.matmul(ctx, made, item)
    return made


@op("torch", "F.linear", "x|input, weight, bias=None")
def linear(ctx: OpCall, x: Value, weight: Value, bias: Value) -> Array:
    """x Wᵀ + b, with weights that the function writes itself."""
    weight = ctx.array(weight)
    if any(isinstance(dim, Batch) for dim in weight.shape):
        raise ctx.mixes_batch("takes the batch as weights")
    made = operators.matmul(ctx, x, _transposed(ctx, weight))
    return made if ctx.is_none(bias) else operators.binary(ctx, ast.Add, made, bias)


@op(
    "torch",
    "F.scaled_dot_product_attention",
    "query, key, value, attn_mask!=None, dropout_p!=0.0, is_causal!=False, scale=None",
)
def attention(ctx: OpCall, query: Value, key: Value, value: Value, scale: Value) -> Array:
    """softmax(Q Kᵀ / √d) V over the last two axes."""
    query, key, value = (ctx.array(x) for x in (query, key, value))
    if min(query.ndim, key.ndim, value.ndim) < 2:
        raise ctx.refuse("shape", "it takes matrices.", "Add an axis with `unsqueeze`.")
    if any(isinstance(x.shape[-2], Batch) for x in (query, key, value)):
        raise ctx.mixes_batch("attends between samples")
    width = ctx.fixed_size(query, query.ndim - 1)
    factor = 1 / math.sqrt(width) if ctx.is_none(scale) else ctx.number(scale, "scale")
    scores = operators.binary(
        ctx, ast.Mult, operators.matmul(ctx, query, _transposed(ctx, key)), static(factor)
    )
    weights = ctx.result(scores.shape, "float", c.call("jax.nn.softmax", [scores]), scores)
    return operators.matmul(ctx, weights, value)


def _transposed(ctx: OpCall, x: Array) -> Array:
    """The last two axes swapped; a vector is itself."""
    if x.ndim < 2:
        return x
    shape = (*x.shape[:-2], x.shape[-1], x.shape[-2])
    return ctx.result(shape, x.dtype, c.attribute(x.code, "mT"), x)


@op("torch", "torch.einsum", "equation, *operands")
def einsum(ctx: OpCall, equation: Value, operands: list[Value]) -> Value:
    """Einstein summation; the batch axis is never summed over."""
    given = operands
    if len(operands) == 1 and isinstance(operands[0], Sequence):
        given = ctx.items(operands[0])
    return np_linalg.einsum(ctx, equation, given)


@op("torch", "torch.tensordot", "x|a, y|b, axes|dims=2")
def tensordot(ctx: OpCall, x: Value, y: Value, axes: Value) -> Value:
    """Sums of products over several axes."""
    return np_linalg.tensordot(ctx, x, y, axes)


@op("torch", "torch.kron", "x|input, y|other")
@op("torch", "torch.cross .cross torch.linalg.cross", "x|input, y|other, axis|dim=-1")
def other_product(ctx: OpCall, x: Value, y: Value, axis: Value | None = None) -> Value:
    """Kronecker and cross products, along the last axis."""
    if axis is not None and ctx.int(axis) != -1:
        raise ctx.refuse("axis", "only the last axis is supported.", "Move it to the end.")
    return np_linalg.product_of(ctx, x, y)


@op("torch", "torch.trace .trace", "x|input")
def trace(ctx: OpCall, x: Value) -> Value:
    """The sum of the diagonal."""
    return np_linalg.trace(ctx, x, static(0), static(0), static(1))


@op("torch", "torch.linalg.vecdot", "x, y, *, axis|dim=-1")
def vecdot(ctx: OpCall, x: Value, y: Value, axis: Value) -> Array:
    """Row-wise dot products."""
    product_ = operators.binary(ctx, ast.Mult, x, y)
    along = ctx.axis(product_, axis)
    ctx.refuse_mixing(product_, [along])
    code = c.method(product_.code, "sum", [], {"axis": axis.code})
    return ctx.result(reduced_shape(product_, (along,), False), product_.dtype, code, product_)


_NORM = "x|input, p='fro', axis|dim=None, keepdims|keepdim=False, dtype=None"


@op("torch", "torch.norm .norm", _NORM)
@op(
    "torch",
    "torch.linalg.norm",
    "x|A|input, p|ord=None, axis|dim=None, keepdims|keepdim=False, *, dtype=None",
)
@op(
    "torch",
    "torch.linalg.vector_norm",
    "x|input, p|ord=2, axis|dim=None, keepdims|keepdim=False, *, dtype=None",
)
def norm(ctx: OpCall, x: Value, p: Value, axis: Value, keepdims: Value, dtype: Value) -> Array:
    """Vector norms; without an axis, of all entries."""
    order = 2.0 if ctx.is_none(p) or getattr(p, "value", None) == "fro" else _order(ctx, p)
    given = ctx.array(x)
    two_axes = isinstance(axis, Sequence) and len(axis.items) == 2
    if "linalg.norm" in ctx.name and not ctx.is_none(p):
        plain = getattr(p, "value", None) != "fro" and (
            two_axes or (given.ndim == 2 and ctx.is_none(axis))
        )
        if plain:
            raise ctx.refuse(
                "unknown-operation", "matrix norms are not known.", "Use `torch.norm(x, p, dim)`."
            )
    return vector_norm(ctx, given, order, axis, keepdims)


@op(
    "torch",
    "torch.linalg.matrix_norm",
    "x|A|input, p|ord='fro', axis|dim=None, keepdims|keepdim=False, *, dtype=None",
)
def matrix_norm(
    ctx: OpCall, x: Value, p: Value, axis: Value, keepdims: Value, dtype: Value
) -> Array:
    """The Frobenius norm of matrices."""
    if getattr(p, "value", None) != "fro":
        raise ctx.refuse("unknown-operation", "only the Frobenius norm is known.", "Use 'fro'.")
    axes = ctx.tuple([static(-2), static(-1)]) if ctx.is_none(axis) else axis
    if len(ctx.items(axes)) != 2:
        raise ctx.refuse("axis", "a matrix has two axes.", "Give two.")
    return vector_norm(ctx, ctx.array(x), 2.0, axes, keepdims)


def _order(ctx: OpCall, p: Value) -> float:
    value = getattr(p, "value", None)
    if value in ("inf", "-inf"):
        return math.inf if value == "inf" else -math.inf
    return float(ctx.number(p, "p"))


def vector_norm(ctx: OpCall, x: Array, p: float, axis: Value, keepdims: Value) -> Array:
    """(Σ |x|ᵖ)^(1/p); its gradient is 0 where it is 0."""
    if x.dtype != "float":
        raise ctx.refuse("dtype", f"of {x.dtype}s it raises in torch.", "Add `.float()`.")
    axis = axis if x.shape else static(None)
    axes, keep = ctx.axes(x, axis), ctx.bool(keepdims, "keepdim")
    ctx.refuse_mixing(x, axes)
    shape = reduced_shape(x, axes, keep)
    options: dict[str, Any] = {}
    if not ctx.is_none(axis):
        options["axis"] = axis.code
    if keep:
        options["keepdims"] = True
    if p == 2:
        squares = c.call("jnp.sum", [c.call("jnp.square", [x])], options)
        code = ctx.helper("_safe_sqrt", squares) if x.grad else c.call("jnp.sqrt", [squares])
        return ctx.result(shape, "float", code, x)
    size = ctx.helper("_abs", x) if x.grad else c.call("jnp.abs", [x])
    if p == 1:
        code = c.call("jnp.sum", [size], options)
    elif math.isinf(p):
        code = c.call("jnp.max" if p > 0 else "jnp.min", [size], options)
    elif p == 0:
        code = c.call(
            "jnp.sum",
            [
                c.method(
                    c.compare(x.code, [ast.NotEq], [c.literal(0.0)]),
                    "astype",
                    [c.Code("jnp.float32")],
                    {},
                )
            ],
            options,
        )
    elif p > 0:
        powers = c.binary(ast.Pow, size, c.literal(p))
        summed = c.call("jnp.sum", [powers], options)
        code = ctx.helper("_safe_root", summed, c.literal(p))
    else:
        raise ctx.refuse("argument", "this order is not known.", "Use p of 1, 2 or infinity.")
    return ctx.result(shape, "float", code, x, grad=x.grad and p != 0)


@op("torch", "F.normalize", "x|input, p=2.0, axis|dim=1, eps=1e-12, out!=None")
def normalize(ctx: OpCall, x: Value, p: Value, axis: Value, eps: Value) -> Array:
    """x over its norm, which counts as at least eps."""
    x = ctx.array(x)
    size = vector_norm(ctx, x, _order(ctx, p), axis, static(True))
    code = c.binary(ast.Div, x.code, c.call("jnp.maximum", [size, eps.code]))
    return ctx.result(x.shape, "float", code, x)


@op("torch", "F.cosine_similarity torch.cosine_similarity", "x|x1, y|x2, axis|dim=1, eps=1e-08")
def cosine_similarity(ctx: OpCall, x: Value, y: Value, axis: Value, eps: Value) -> Array:
    """Dot product of unit vectors, along an axis."""
    x, y = ctx.array(x), ctx.array(y)
    shape = ctx.broadcast(x, y)
    whole = ctx.result(shape, "float", x.code, x, y)
    along = ctx.axis(whole, axis)
    ctx.refuse_mixing(whole, [along])
    code = ctx.helper("_cosine", x, y, along - len(shape), eps.code)
    return ctx.result(reduced_shape(whole, (along,), False), "float", code, x, y)


@op("torch", "F.pairwise_distance", "x|x1, y|x2, p=2.0, eps=1e-06, keepdims|keepdim=False")
def pairwise_distance(
    ctx: OpCall, x: Value, y: Value, p: Value, eps: Value, keepdims: Value
) -> Array:
    """The norm of x - y + eps along the last axis."""
    apart = operators.binary(ctx, ast.Sub, x, y)
    moved = operators.binary(ctx, ast.Add, apart, eps)
    return vector_norm(ctx, moved, _order(ctx, p), static(-1), keepdims)


@op("torch", "torch.cdist", "x|x1, y|x2, p=2.0, compute_mode=None")
def cdist(ctx: OpCall, x: Value, y: Value, p: Value, compute_mode: Value) -> Array:
    """Distances between all rows of x and all rows of y."""
    x, y = ctx.array(x), ctx.array(y)
    if x.ndim < 2 or y.ndim < 2:
        raise ctx.refuse("shape", "it takes rows of points.", "Add an axis with `unsqueeze`.")
    if any(isinstance(a.shape[-2], Batch) for a in (x, y)):
        raise ctx.mixes_batch("measures between samples")
    left = ctx.result(
        (*x.shape[:-1], 1, x.shape[-1]), "float", c.subscript(x.code, "..., :, None, :"), x
    )
    right = ctx.result(
        (*y.shape[:-2], 1, *y.shape[-2:]), "float", c.subscript(y.code, "..., None, :, :"), y
    )
    apart = operators.binary(ctx, ast.Sub, left, right)
    return vector_norm(ctx, apart, _order(ctx, p), static(-1), static(False))


@op(
    "torch",
    "torch.linalg.inv torch.inverse .inverse torch.linalg.det torch.det .det "
    "torch.linalg.slogdet torch.slogdet .slogdet",
    "x|input",
)
def matrix_function(ctx: OpCall, x: Value) -> Value:
    """Inverses and determinants of square matrices."""
    x = ctx.array(x)
    if x.ndim < 2 or not isinstance(x.shape[-1], int) or not isinstance(x.shape[-2], int):
        raise ctx.mixes_batch("takes the batch as a matrix's rows")
    name = {"inverse": "inv"}.get(same(ctx.name), same(ctx.name))
    shape = x.shape[:-2] if name == "det" else (*x.shape[:-2], x.shape[-1], x.shape[-2])
    if not same_dim(x.shape[-1], x.shape[-2]):
        raise ctx.refuse("shape", "the matrix is not square.", "Use a square matrix.")
    if name == "slogdet":
        code = c.call("jnp.linalg.slogdet", [x])
        parts = [ctx.result(x.shape[:-2], "float", c.subscript(code, i), x) for i in "01"]
        return ctx.pair(list(parts), ("sign", "logabsdet"))
    return ctx.result(shape, "float", c.call(f"jnp.linalg.{name}", [x]), x)


@op("torch", "torch.linalg.solve", "x|A, y|B")
def solve(ctx: OpCall, x: Value, y: Value) -> Value:
    """The solution of linear equations."""
    return np_linalg.solve(ctx, x, y)
