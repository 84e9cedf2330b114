"""Reductions, statistics and scans of torch, with its gradients at ties and zeros."""

from __future__ import annotations

import ast
import dataclasses
from typing import Any

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf.ops import operators
from qllm_jax.tfcaf.ops.context import OpCall
from qllm_jax.tfcaf.ops.masked_rows import reduce_rows
from qllm_jax.tfcaf.ops.np_reductions import reduced_shape
from qllm_jax.tfcaf.ops.registry import op
from qllm_jax.tfcaf.ops.torch_linalg import vector_norm
from qllm_jax.tfcaf.values import (
    Array,
    Batch,
    Kind,
    Masked,
    Shape,
    Value,
    promote,
    static,
)


def reduce(
    ctx: OpCall,
    x: Array,
    axis: Value,
    keepdims: Value,
    name: str,
    kind: Kind,
    **options: Any,
) -> Array:
    """Emit jnp's reduction `name` of `x` over static axes.

    Rows that a mask selected are reduced by way of the neutral element of sums, products and
    extremes.
    """
    axes = ctx.axes(x, axis)
    keep = ctx.bool(keepdims, "keepdim")
    masked = [a for a in axes if isinstance(x.shape[a], Masked)]
    if masked:
        return reduce_rows(ctx, x, axes, masked[0], keep, name, kind)
    ctx.refuse_mixing(x, axes)
    if not x.shape:
        return dataclasses.replace(ctx.cast(x, kind), const=None) if x.dtype != kind else x
    shown = ctx.spell_reduced(x, axes, axis)
    code = ctx.emit(x, name, axis=shown, **options, keepdims=keep or None)
    return ctx.result(reduced_shape(x, axes, keep), kind, code, x)


_REDUCE = "x|input, axis|dim=None, keepdims|keepdim=False, *, dtype=None"


@op("torch", "torch.sum .sum torch.nansum .nansum", _REDUCE)
def sum_(ctx: OpCall, x: Value, axis: Value, keepdims: Value, dtype: Value) -> Array:
    """Sums; bools are counted."""
    x = ctx.array(x)
    name = "nansum" if "nansum" in ctx.name else "sum"
    made = reduce(ctx, x, axis, keepdims, name, promote(x.dtype, "int"))
    kind = ctx.kind(dtype)
    return ctx.cast(made, kind) if kind else made


@op("torch", "torch.count_nonzero .count_nonzero", "x|input, axis|dim=None")
def count_nonzero(ctx: OpCall, x: Value, axis: Value) -> Array:
    """How many are not zero."""
    x = ctx.array(x)
    code = c.compare(x.code, [ast.NotEq], [c.literal(0)])
    tests = x if x.dtype == "bool" else ctx.result(x.shape, "bool", code, x)
    return reduce(ctx, tests, axis, static(False), "sum", "int")


@op("torch", "torch.mean .mean torch.nanmean .nanmean", _REDUCE)
def mean(ctx: OpCall, x: Value, axis: Value, keepdims: Value, dtype: Value) -> Array:
    """Means; of floats only, as torch has it."""
    x = ctx.array(x)
    kind = ctx.kind(dtype)
    if kind:
        x = ctx.cast(x, kind)
    if x.dtype != "float":
        raise ctx.refuse("dtype", f"the mean of {x.dtype}s raises in torch.", "Add `.float()`.")
    return reduce(ctx, x, axis, keepdims, "nanmean" if "nan" in ctx.name else "mean", "float")


@op("torch", "torch.prod .prod", "x|input, axis|dim=None, keepdims|keepdim=False, *, dtype=None")
def prod(ctx: OpCall, x: Value, axis: Value, keepdims: Value, dtype: Value) -> Array:
    """Products."""
    x = ctx.array(x)
    made = reduce(ctx, x, axis, keepdims, "prod", promote(x.dtype, "int"))
    kind = ctx.kind(dtype)
    return ctx.cast(made, kind) if kind else made


@op("torch", "torch.amax .amax", "x|input, axis|dim=(), keepdims|keepdim=False", which="max")
@op("torch", "torch.amin .amin", "x|input, axis|dim=(), keepdims|keepdim=False", which="min")
def extreme(ctx: OpCall, x: Value, axis: Value, keepdims: Value, which: str) -> Array:
    """Largest or smallest values; ties share the gradient, as in jnp."""
    x = ctx.array(x)
    return reduce(ctx, x, axis, keepdims, which, x.dtype)


@op("torch", "torch.aminmax .aminmax", "x|input, *, axis|dim=None, keepdims|keepdim=False")
def both_extremes(ctx: OpCall, x: Value, axis: Value, keepdims: Value) -> Value:
    """(smallest, largest); ties share the gradient."""
    x = ctx.array(x)
    found: list[Value] = [
        reduce(ctx, x, axis, keepdims, which, x.dtype) for which in ("min", "max")
    ]
    return ctx.pair(found, ("min", "max"))


_EXTREME = "x|input, axis|dim|other=None, keepdims|keepdim=False"


@op("torch", "torch.max .max", _EXTREME, which="max")
@op("torch", "torch.min .min", _EXTREME, which="min")
def extreme_pair(ctx: OpCall, x: Value, axis: Value, keepdims: Value, which: str) -> Value:
    """`x.max()`, `x.max(dim)` with indices, or `torch.max(a, b)` elementwise."""
    x = ctx.array(x)
    if isinstance(axis, Array):
        from qllm_jax.tfcaf.ops.torch_elementwise import elementwise_extreme

        return elementwise_extreme(ctx, x, axis, f"{which}imum")
    if ctx.is_none(axis):
        return reduce(ctx, x, axis, keepdims, which, x.dtype)
    return picked(ctx, x, axis, keepdims, f"arg{which}")


def picked(ctx: OpCall, x: Array, axis: Value, keepdims: Value, arg: str) -> Value:
    """(values, indices) along an axis; of tied values only the first has a gradient."""
    along, keep = ctx.axis(x, axis), ctx.bool(keepdims, "keepdim")
    if x.ndim:
        ctx.refuse_mixing(x, [along])
    shape = reduced_shape(x, (along,), keep)
    index_code = c.call(
        f"jnp.{arg}", [x], {"axis": axis.code} | ({"keepdims": True} if keep else {})
    )
    indices = ctx.result(shape, "int", index_code, grad=False)
    if not x.grad:
        name = arg.removeprefix("arg")
        code = c.call(
            f"jnp.{name}", [x], {"axis": axis.code} | ({"keepdims": True} if keep else {})
        )
    elif keep:
        code = c.call("jnp.take_along_axis", [x, index_code], {"axis": axis.code})
    else:
        code = ctx.helper("_pick", x, index_code, axis.code)
    values = ctx.result(shape, x.dtype, code, x)
    return ctx.pair([values, indices], ("values", "indices"))


@op("torch", "torch.argmax .argmax", "x|input, axis|dim=None, keepdims|keepdim=False")
@op("torch", "torch.argmin .argmin", "x|input, axis|dim=None, keepdims|keepdim=False")
def arg_extreme(ctx: OpCall, x: Value, axis: Value, keepdims: Value) -> Array:
    """Index of the first largest or smallest."""
    x = ctx.array(x)
    return reduce(ctx, x, axis, keepdims, ctx.name.rsplit(".", 1)[-1], "int")


@op("torch", "torch.any .any", "x|input, axis|dim=None, keepdims|keepdim=False", which="any")
@op("torch", "torch.all .all", "x|input, axis|dim=None, keepdims|keepdim=False", which="all")
def truth(ctx: OpCall, x: Value, axis: Value, keepdims: Value, which: str) -> Array:
    """Whether any or all are true; over the batch only an `if` may ask."""
    x = ctx.array(x)
    over_batch = any(
        isinstance(d, Batch) or (isinstance(d, Masked) and isinstance(d.full, Batch))
        for d in (x.shape[a] for a in ctx.axes(x, axis))
    )
    if over_batch and ctx.is_none(axis) and not x.wide:
        made = ctx.result((), "bool", ctx.emit(x, which), x)
        made.row_any = True
        return made
    return reduce(ctx, x, axis, keepdims, which, "bool")


_SPREAD = "x|input, axis|dim=None, unbiased=None, keepdims|keepdim=False, *, correction=None"


def _degrees(ctx: OpCall, axis: Value, unbiased: Value, correction: Value) -> tuple[Value, float]:
    """The axis and ddof of torch's std and var, whose second argument may be `unbiased`."""
    if isinstance(getattr(axis, "value", None), bool):
        axis, unbiased = static(None), axis
    if not ctx.is_none(correction):
        return axis, ctx.number(correction, "correction")
    return axis, 1 if ctx.is_none(unbiased) else int(ctx.bool(unbiased, "unbiased"))


@op("torch", "torch.var .var", _SPREAD)
@op("torch", "torch.std .std", _SPREAD)
def spread(
    ctx: OpCall, x: Value, axis: Value, unbiased: Value, keepdims: Value, correction: Value
) -> Array:
    """Variance and standard deviation, by default of a sample (ddof 1)."""
    x = ctx.array(x)
    if x.dtype != "float":
        raise ctx.refuse("dtype", f"of {x.dtype}s it raises in torch.", "Add `.float()`.")
    if not x.shape:
        raise ctx.refuse("shape", "of a single number it is not defined.", "Pass several numbers.")
    axis, ddof = _degrees(ctx, axis, unbiased, correction)
    made = reduce(ctx, x, axis, keepdims, "var", "float", ddof=ddof or None)
    if ctx.name.endswith("var"):
        return made
    options = {"axis": ctx.spell_reduced(x, ctx.axes(x, axis), axis)}
    options |= {} if ddof == 1 else {"ddof": c.literal(ddof)}
    options["keepdims"] = ctx.bool(keepdims, "keepdim")
    return ctx.result(made.shape, "float", ctx.helper("_std", x, **options), x)


@op("torch", "torch.var_mean", _SPREAD, which="var")
@op("torch", "torch.std_mean", _SPREAD, which="std")
def spread_mean(
    ctx: OpCall,
    x: Value,
    axis: Value,
    unbiased: Value,
    keepdims: Value,
    correction: Value,
    which: str,
) -> Value:
    """(spread, mean)."""
    inner = dataclasses.replace(ctx, name=f"torch.{which}")
    first = spread(inner, x, axis, unbiased, keepdims, correction)
    second = mean(inner, x, axis, keepdims, static(None))
    return ctx.pair([first, second], (which, "mean"))


@op("torch", "torch.median .median torch.nanmedian", _EXTREME)
def median(ctx: OpCall, x: Value, axis: Value, keepdims: Value) -> Value:
    """The lower middle value; along an axis with its index."""
    x = ctx.array(x)
    if ctx.is_none(axis):
        ctx.refuse_mixing(x, range(x.ndim))
        flat = c.call("jnp.sort", [c.call("jnp.ravel", [x])])
        size = 1
        for a in range(x.ndim):
            size *= ctx.fixed_size(x, a)
        return ctx.result((), x.dtype, c.subscript(flat, str((size - 1) // 2)), x)
    along, keep = ctx.axis(x, axis), ctx.bool(keepdims)
    size = ctx.fixed_size(x, along)
    return kth(ctx, x, along, (size - 1) // 2, keep)


def kth(ctx: OpCall, x: Array, along: int, place: int, keep: bool) -> Value:
    """(value, index) at a place of the sorted axis."""
    shape = reduced_shape(x, (along,), keep)
    lead = ":, " * along
    index = f"{lead}{place}:{place + 1}" if keep else f"{lead}{place}"
    options = {} if along == x.ndim - 1 else {"axis": along}
    values = c.subscript(c.call("jnp.sort", [x], options), index)
    indices = c.subscript(c.call("jnp.argsort", [x], options), index)
    return ctx.pair(
        [ctx.result(shape, x.dtype, values, x), ctx.result(shape, "int", indices, grad=False)],
        ("values", "indices"),
    )


@op("torch", "torch.mode .mode", _EXTREME)
def mode(ctx: OpCall, x: Value, axis: Value, keepdims: Value) -> Value:
    """Refused: ties are decided differently by version."""
    raise ctx.refuse("unknown-operation", "it is not supported.", "Use `median` or `argmax`.")


_LOGSUMEXP = "torch.logsumexp .logsumexp torch.special.logsumexp"


@op("torch", _LOGSUMEXP, "x|input, axis|dim, keepdims|keepdim=False")
def logsumexp(ctx: OpCall, x: Value, axis: Value, keepdims: Value) -> Array:
    """log Σ exp."""
    x = ctx.array(x)
    axes = ctx.axes(x, axis)
    ctx.refuse_mixing(x, axes)
    keep = ctx.bool(keepdims)
    code = ctx.call("jax.nn.logsumexp", x, axis=axis.code, keepdims=keep or None)
    return ctx.result(reduced_shape(x, axes, keep), "float", code, x)


@op("torch", "torch.cumsum .cumsum", "x|input, axis|dim, *, dtype=None")
@op("torch", "torch.cumprod .cumprod", "x|input, axis|dim, *, dtype=None")
def cumulative(ctx: OpCall, x: Value, axis: Value, dtype: Value) -> Array:
    """Running sums and products along an axis."""
    x = ctx.array(x)
    ctx.refuse_mixing(x, [ctx.axis(x, axis)])
    code = ctx.emit(x, ctx.name.rsplit(".", 1)[-1], axis=axis.code)
    made = ctx.result(x.shape, promote(x.dtype, "int"), code, x)
    kind = ctx.kind(dtype)
    return ctx.cast(made, kind) if kind else made


@op("torch", "torch.cummax .cummax", "x|input, axis|dim", which="cummax")
@op("torch", "torch.cummin .cummin", "x|input, axis|dim", which="cummin")
def running_extreme(ctx: OpCall, x: Value, axis: Value, which: str) -> Value:
    """(values, indices) of the largest or smallest so far; the last of equal ones."""
    x = ctx.array(x)
    along = ctx.axis(x, axis)
    size = ctx.fixed_size(x, along)
    values = c.call(f"jax.lax.{which}", [x], {"axis": along})
    shape = [1] * x.ndim
    shape[along] = size
    places = c.method(c.call("jnp.arange", [size]), "reshape", [tuple(shape)], {})
    seen = c.call("jnp.where", [c.compare(x.code, [ast.Eq], [values]), places, 0])
    indices = c.call("jax.lax.cummax", [seen], {"axis": along})
    if x.grad:
        values = c.call("jnp.take_along_axis", [x, indices], {"axis": along})
    return ctx.pair(
        [ctx.result(x.shape, x.dtype, values, x), ctx.result(x.shape, "int", indices, grad=False)],
        ("values", "indices"),
    )


@op("torch", "torch.logcumsumexp .logcumsumexp", "x|input, axis|dim")
def logcumsumexp(ctx: OpCall, x: Value, axis: Value) -> Array:
    """Running log Σ exp."""
    x = ctx.array(x)
    ctx.refuse_mixing(x, [ctx.axis(x, axis)])
    code = c.call("jax.lax.cumlogsumexp", [x], {"axis": ctx.axis(x, axis)})
    return ctx.result(x.shape, "float", code, x)


@op(
    "torch",
    "torch.quantile .quantile torch.nanquantile .nanquantile",
    "x|input, q, axis|dim=None, keepdims|keepdim=False, *, interpolation='linear'",
)
def quantile(
    ctx: OpCall, x: Value, q: Value, axis: Value, keepdims: Value, interpolation: Value
) -> Array:
    """A quantile at one static level, or at each of a vector of them."""
    x = ctx.array(x)
    levels: tuple[Any, ...]
    lead: Shape = ()
    if isinstance(q, Array) and isinstance(q.const, tuple) and q.ndim == 1:
        levels, lead = q.const, q.shape
    else:
        levels = (ctx.number(q, "q"),)
    if not all(0 <= level <= 1 for level in levels):
        raise ctx.refuse("argument", "q is outside of 0 to 1.", "Use a q between them.")
    axes, keep = ctx.axes(x, axis), ctx.bool(keepdims)
    ctx.refuse_mixing(x, axes)
    options: dict[str, Any] = {} if ctx.is_none(axis) else {"axis": axis.code}
    if ctx.string(interpolation) != "linear":
        options["method"] = ctx.string(interpolation)
    if keep:
        options["keepdims"] = True
    code = c.call(f"jnp.{ctx.name.rsplit('.', 1)[-1]}", [x, q], options)
    return ctx.result((*lead, *reduced_shape(x, axes, keep)), "float", code, x)


@op("torch", "torch.dist .dist", "x|input, other, p=2")
def dist(ctx: OpCall, x: Value, other: Value, p: Value) -> Array:
    """The norm of a difference."""
    apart = operators.binary(ctx, ast.Sub, x, other)
    return vector_norm(ctx, apart, ctx.number(p), static(None), static(False))
