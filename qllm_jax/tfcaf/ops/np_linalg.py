"""Products and norms of NumPy and jnp; never along the batch."""

from __future__ import annotations

import ast
import math
from typing import Any

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf.ops import operators
from qllm_jax.tfcaf.ops.context import OpCall
from qllm_jax.tfcaf.ops.np_reductions import reduced_shape
from qllm_jax.tfcaf.ops.numpy_like import both, has_batch, inferred, last_name, numbers
from qllm_jax.tfcaf.ops.registry import op
from qllm_jax.tfcaf.values import Array, Batch, Static, Value, View, describe, same_dim


def _pair(ctx: OpCall, x: Value, y: Value) -> tuple[Array, Array]:
    """Two arrays of one common number type."""
    x, y = ctx.array(x), ctx.array(y)
    kind = ctx.promote(x, y)
    return ctx.cast(x, kind), ctx.cast(y, kind)


@both("dot vdot inner outer kron cross", "x|a, y|b, out!=None")
@op("numpy", ".dot", "x, y|b, out!=None")
@op("jnp", ".dot", "x, y|b")
@op("jnp", "lax.dot", "x|lhs, y|rhs, precision=None, preferred_element_type=None")
def product_of(ctx: OpCall, x: Value, y: Value, **how: Value) -> Value:
    """Products of vectors and matrices; in what precision is the trainer's to say."""
    x, y = ctx.array(x), ctx.array(y)
    name = last_name(ctx)
    if name in ("vdot", "outer", "kron") and (has_batch(x.shape) or has_batch(y.shape)):
        raise ctx.mixes_batch("flattens the batch")
    if name in ("dot", "inner") and x.ndim and y.ndim:
        ctx.refuse_mixing(x, [x.ndim - 1])
        last = y.ndim == 1 or name == "inner"
        ctx.refuse_mixing(y, [y.ndim - (1 if last else 2)])
        if has_batch(x.shape) and has_batch(y.shape):
            raise ctx.mixes_batch("pairs every sample with every other")
    return inferred(ctx, f"jax.numpy.{name}", [x, y])


_OUTER = "add subtract multiply divide true_divide maximum minimum power"


@both(" ".join(f"{name}.outer" for name in _OUTER.split()), "x|a, y|b")
def ufunc_outer(ctx: OpCall, x: Value, y: Value) -> Value:
    """`np.subtract.outer(x, y)`: the ufunc of every pair."""
    x, y = ctx.array(x), ctx.array(y)
    if has_batch(x.shape) or has_batch(y.shape):
        raise ctx.mixes_batch("pairs every sample with every other")
    ufunc = ctx.name.split(".")[-2].replace("true_divide", "divide")
    kind = "float" if ufunc == "divide" else ctx.promote(x, y)
    spread = c.subscript(x.code, ", ".join([":"] * x.ndim + ["None"] * y.ndim)) if y.ndim else x
    code = c.call(f"jnp.{ufunc}", [spread, y])
    return ctx.result((*x.shape, *y.shape), kind, code, x, y)


@both("tensordot", "x|a, y|b, axes=2")
def tensordot(ctx: OpCall, x: Value, y: Value, axes: Value) -> Value:
    """Sum of products over the given axes."""
    x, y = ctx.array(x), ctx.array(y)
    pairs = numbers(ctx, axes, "axes")
    if isinstance(pairs, int):
        left, right = tuple(range(x.ndim - pairs, x.ndim)), tuple(range(pairs))
    else:
        left, right = (p if isinstance(p, tuple) else (p,) for p in pairs)
    ctx.refuse_mixing(x, [a % x.ndim for a in left])
    ctx.refuse_mixing(y, [a % y.ndim for a in right])
    if has_batch(x.shape) and has_batch(y.shape):
        raise ctx.mixes_batch("pairs every sample with every other")
    return inferred(ctx, "jax.numpy.tensordot", [x, y], options={"axes": pairs})


@both("linalg.norm", "x|a, ord=None, axis=None, keepdims=False")
def norm(ctx: OpCall, x: Value, ord: Value, axis: Value, keepdims: Value) -> Value:
    """Vector norms along one axis, matrix norms along two."""
    x = ctx.cast(ctx.array(x), "float")
    axes = ctx.axes(x, axis)
    ctx.refuse_mixing(x, axes)
    options: dict[str, Any] = {}
    if not ctx.is_none(ord):
        named = isinstance(ord, Static) and isinstance(ord.value, str)
        value = ctx.string(ord) if named else ctx.number(ord)
        if isinstance(value, str) and value not in ("fro", "nuc"):
            raise ctx.refuse("argument", f"ord={value!r} is unknown.", "Use 1, 2 or inf.")
        if (len(axes) == 2 and value in (2, -2)) or value == "nuc":
            raise ctx.iterates()
        options["ord"] = ord.code if not isinstance(value, float) or math.isfinite(value) else value
        if ctx.is_none(axis) and x.ndim > 2:
            raise ctx.refuse("argument", "`ord` needs an axis here.", "Give axis=-1.")
    if len(axes) > 2 and not ctx.is_none(axis):
        raise ctx.refuse("axis", "a norm is over one or two axes.", "Give axis=-1.")
    if not ctx.is_none(axis):
        options["axis"] = axis.code
    keep = ctx.bool(keepdims)
    if keep:
        options["keepdims"] = True
    code = c.call("jnp.linalg.norm", [x], options)
    return ctx.result(reduced_shape(x, axes, keep), "float", code, x)


@both("linalg.vector_norm", "x, *, axis=None, keepdims=False, ord=2")
def vector_norm(ctx: OpCall, x: Value, axis: Value, keepdims: Value, ord: Value) -> Value:
    """Vector norm over axes."""
    x = ctx.cast(ctx.array(x), "float")
    axes = ctx.axes(x, axis)
    ctx.refuse_mixing(x, axes)
    keep = ctx.bool(keepdims)
    options = {"axis": axis.code, "ord": ord.code} | ({"keepdims": True} if keep else {})
    code = c.call("jnp.linalg.vector_norm", [x], options)
    return ctx.result(reduced_shape(x, axes, keep), "float", code, x)


@both("linalg.det linalg.inv linalg.matrix_norm linalg.slogdet", "x|a")
@op("jnp", "jnp.linalg.cholesky", "x|a")
def matrix_function(ctx: OpCall, x: Value) -> Value:
    """Functions of the matrices in the last two axes."""
    x = ctx.cast(ctx.array(x), "float")
    ctx.refuse_mixing(x, range(max(0, x.ndim - 2), x.ndim))
    return inferred(ctx, f"jax.numpy.linalg.{last_name(ctx)}", [x])


@op("numpy", "np.linalg.cholesky", "x|a")
def cholesky(ctx: OpCall, x: Value) -> Value:
    """The lower factor; NumPy reads one triangle of the matrix, jnp the mean of both."""
    x = ctx.cast(ctx.array(x), "float")
    ctx.refuse_mixing(x, range(max(0, x.ndim - 2), x.ndim))
    if x.ndim < 2 or not same_dim(x.shape[-1], x.shape[-2]):
        raise ctx.refuse("shape", f"{describe(x)} is not square.", "Use a square matrix.")
    x = ctx.result(x.shape, "float", ctx.helper("_from_lower", x), x)
    return inferred(ctx, "jax.numpy.linalg.cholesky", [x])


_ITERATIVE = "eigvalsh eigh eigvals eig svd svdvals qr pinv cond matrix_rank lstsq"


_HOW = "*x, UPLO=None, compute_uv=None, full_matrices=None, mode=None, hermitian=None, rcond=None"


@both(" ".join(f"linalg.{name}" for name in _ITERATIVE.split()), _HOW)
@op("torch", " ".join(f"torch.linalg.{name}" for name in _ITERATIVE.split()), _HOW)
@op("torch", "torch.pinverse .pinverse torch.svd .svd torch.qr .qr", _HOW)
def factorisation(ctx: OpCall, x: list[Value], **how: Value) -> Value:
    """Refused: it iterates, and is neither unique nor differentiable at equal values."""
    raise ctx.iterates()


@both("linalg.solve", "x|a, y|b")
def solve(ctx: OpCall, x: Value, y: Value) -> Value:
    """Solve linear systems of static size."""
    x, y = _pair(ctx, x, y)
    for array in (x, y):
        ctx.refuse_mixing(array, range(max(0, array.ndim - 2), array.ndim))
    return inferred(ctx, "jax.numpy.linalg.solve", [x, y])


@both("trace .trace", "x|a, offset=0, axis1=0, axis2=1")
@both("linalg.trace linalg.diagonal", "x|a, offset=0, axis1=-2, axis2=-1")
def trace(ctx: OpCall, x: Value, offset: Value, axis1: Value, axis2: Value) -> Value:
    """Sum along a diagonal (or the diagonal)."""
    x = ctx.array(x)
    first, second = ctx.axis(x, axis1), ctx.axis(x, axis2)
    ctx.refuse_mixing(x, [first, second])
    options = {"offset": ctx.int(offset), "axis1": first, "axis2": second}
    return inferred(ctx, f"jax.numpy.{last_name(ctx)}", [x], options=options)


@both("diag", "x|v, k=0")
@both("diagflat", "x|v, k=0")
def diag(ctx: OpCall, x: Value, k: Value) -> Value:
    """A matrix from its diagonal, or its diagonal."""
    x = ctx.array(x)
    ctx.refuse_mixing(x, range(x.ndim))
    options = {"k": ctx.int(k)} if ctx.int(k) else {}
    made = inferred(ctx, f"jax.numpy.{last_name(ctx)}", [x], options=options)
    if ctx.dialect != "numpy" or x.ndim != 2 or not isinstance(made, Array):
        return made
    shown = View(lambda base: c.call("jnp.diag", [base], options), None)
    return ctx.view(x, made.shape, made.code, shown)


@both("triu tril", "x|m, k=0")
def triangle(ctx: OpCall, x: Value, k: Value) -> Value:
    """The upper or lower triangle of the last two axes."""
    x = ctx.array(x)
    ctx.refuse_mixing(x, range(max(0, x.ndim - 2), x.ndim))
    options = {"k": ctx.int(k)} if ctx.int(k) else {}
    return ctx.result(x.shape, x.dtype, c.call(f"jnp.{last_name(ctx)}", [x], options), x)


@both("linalg.matrix_power", "x|a, n")
@op("torch", "torch.matrix_power .matrix_power torch.linalg.matrix_power", "x|input|A, n")
def matrix_power(ctx: OpCall, x: Value, n: Value) -> Value:
    """The product of n equal square matrices."""
    x, times = ctx.array(x), ctx.int(n, "n")
    if x.ndim < 2 or not 0 <= times <= 64:
        raise ctx.refuse("argument", "it needs a matrix and 0 ≤ n ≤ 64.", "Use a small power.")
    ctx.refuse_mixing(x, [x.ndim - 2, x.ndim - 1])
    if not same_dim(x.shape[-1], x.shape[-2]):
        raise ctx.refuse("shape", f"{describe(x)} is not square.", "Use a square matrix.")
    return ctx.result(x.shape, "float", c.call("jnp.linalg.matrix_power", [x, times]), x)


@both("linalg.multi_dot", "arrays")
def multi_dot(ctx: OpCall, arrays: Value) -> Value:
    """A chain of matrix products."""
    items = [ctx.array(item) for item in ctx.items(arrays)]
    if any(has_batch(item.shape) for item in items):
        raise ctx.mixes_batch("multiplies through the batch axis")
    return inferred(ctx, "jax.numpy.linalg.multi_dot", items, as_list=True)


@both("cov corrcoef", "x|m, *, rowvar=True")
def covariance(ctx: OpCall, x: Value, rowvar: Value) -> Value:
    """Covariance of rows (variables) over columns (observations)."""
    x = ctx.array(x)
    ctx.refuse_mixing(x, range(x.ndim))
    if last_name(ctx) == "corrcoef":
        if x.ndim != 2 or not ctx.bool(rowvar):
            raise ctx.refuse("shape", "it needs a matrix with one variable per row.", "Stack them.")
        rows = x.shape[0]
        return ctx.result((rows, rows), "float", ctx.helper("_corrcoef", x), x)
    options = {} if ctx.bool(rowvar) else {"rowvar": False}
    return inferred(ctx, "jax.numpy.cov", [x], options=options)


@both("interp", "x, xp, fp")
def interp(ctx: OpCall, x: Value, xp: Value, fp: Value) -> Value:
    """Piecewise linear interpolation through given points."""
    x, xp, fp = ctx.array(x), ctx.array(xp), ctx.array(fp)
    for points in (xp, fp):
        ctx.refuse_mixing(points, range(points.ndim))
        if points.ndim != 1 or not same_dim(points.shape[0], xp.shape[0]):
            raise ctx.refuse("shape", "xp and fp must be vectors of one length.", "Pair them up.")
    return ctx.result(x.shape, "float", c.call("jnp.interp", [x, xp, fp]), x, fp)


@both("polyval", "p, x")
def polyval(ctx: OpCall, p: Value, x: Value) -> Value:
    """A polynomial, the coefficient of the highest power first."""
    p, x = ctx.array(p), ctx.array(x)
    ctx.refuse_mixing(p, range(p.ndim))
    if p.ndim != 1:
        raise ctx.refuse("shape", "the coefficients are no vector.", "Pass a list of numbers.")
    return ctx.result(x.shape, "float", c.call("jnp.polyval", [p, x]), x, p)


@both("matmul", "x|x1|a, y|x2|b, out!=None, *, precision=None")
@both("linalg.matmul", "x, y")
def matmul(ctx: OpCall, x: Value, y: Value, precision: Value | None = None) -> Value:
    """The matrix product `x @ y`."""
    given = c.call("jnp.matmul", [ctx.array(x), ctx.array(y)])
    return operators.matmul(ctx, x, y, given)


@both("linalg.vecdot vecdot", "x, y, *, axis=-1")
def vecdot(ctx: OpCall, x: Value, y: Value, axis: Value) -> Value:
    """Row-wise dot products over the last axis."""
    x, y = ctx.array(x), ctx.array(y)
    shape = ctx.broadcast(x, y)
    if ctx.int(axis) != -1 or not shape:
        raise ctx.refuse("axis", "only the last axis is supported.", "Use `(x * y).sum(axis)`.")
    ctx.refuse_mixing(x, [x.ndim - 1])
    return ctx.result(shape[:-1], ctx.promote(x, y), c.call("jnp.vecdot", [x, y]), x, y)


@both(
    "einsum",
    "equation|subscripts, *operands, out=None, optimize=None, precision=None, "
    "dtype=None, order=None, casting=None",
)
def einsum(ctx: OpCall, equation: Value, operands: list[Value], **options: Value) -> Value:
    """Einstein summation; the batch axis is never summed over."""
    arrays = [ctx.array(item) for item in operands]
    text = ctx.string(equation, "subscripts").replace(" ", "")
    inputs, arrow, output = text.partition("->")
    terms = inputs.split(",")
    if len(terms) != len(arrays):
        raise ctx.refuse("argument", f"{text!r} is not for {len(arrays)} arrays.", "Count them.")
    if not arrow:
        letters = inputs.replace(",", "").replace(".", "")
        output = "".join(sorted(x for x in set(letters) if letters.count(x) == 1))
        output = ("..." if "." in inputs else "") + output
    for term, array in zip(terms, arrays, strict=True):
        head, _, tail = term.partition("...")
        places = list(enumerate(head)) + [(i - len(tail), x) for i, x in enumerate(tail)]
        for position, letter in places:
            if -array.ndim <= position < array.ndim and letter not in output:
                ctx.refuse_mixing(array, [position % array.ndim])
    made = inferred(ctx, "jax.numpy.einsum", arrays, before=(text,))
    assert isinstance(made, Array)
    if sum(isinstance(dim, Batch) for dim in made.shape) > 1:
        raise ctx.mixes_batch("pairs each sample with every other")
    made.code = c.call("jnp.einsum", [equation.code, *[item.code for item in operands]])
    if len(arrays) == 1 and set(inputs) <= set(output):  # no sum: a view, maybe of the diagonal
        view = View(lambda base: c.call("jnp.einsum", [equation.code, base]), None)
        return ctx.view(arrays[0], made.shape, made.code, view)
    return made


_METRICS = {
    "euclidean": ("jnp.square", "sum", True),
    "sqeuclidean": ("jnp.square", "sum", False),
    "cityblock": ("jnp.abs", "sum", False),
    "chebyshev": ("jnp.abs", "max", False),
}


@op("numpy", "scipy.spatial.distance.cdist", "x|XA, y|XB, metric='euclidean'")
def cdist(ctx: OpCall, x: Value, y: Value, metric: Value) -> Array:
    """Distances between all rows of x and all rows of y."""
    x, y, name = ctx.array(x), ctx.array(y), ctx.string(metric, "metric")
    if x.ndim != 2 or y.ndim != 2 or not same_dim(x.shape[1], y.shape[1]):
        raise ctx.refuse("shape", "it takes two matrices of points.", "Give [points, 2] each.")
    if has_batch(x.shape) or has_batch(y.shape):
        raise ctx.mixes_batch("measures between samples")
    if name not in _METRICS:
        raise ctx.refuse("argument", f"the metric {name!r} is unknown.", "Use 'euclidean'.")
    size, total, root = _METRICS[name]
    apart = c.binary(ast.Sub, c.subscript(x.code, ":, None"), c.subscript(y.code, "None"))
    code = c.call(f"jnp.{total}", [c.call(size, [apart])], {"axis": -1})
    if root:
        code = ctx.helper("_safe_sqrt", code)
    return ctx.result((x.shape[0], y.shape[0]), "float", code, x, y)
