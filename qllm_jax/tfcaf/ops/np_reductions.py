"""Reductions, scans and sorts of NumPy and jnp. Never along the batch."""

from __future__ import annotations

from typing import Any

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf.ops.context import OpCall
from qllm_jax.tfcaf.ops.np_elementwise import jnp_name
from qllm_jax.tfcaf.ops.numpy_like import (
    as_float,
    as_number,
    both,
    cast_to,
    last_name,
    numbers,
)
from qllm_jax.tfcaf.ops.registry import op
from qllm_jax.tfcaf.values import (
    Array,
    Batch,
    Dim,
    Kind,
    Masked,
    Shape,
    Static,
    Value,
    same_dim,
    same_shape,
    static,
)

NONE = static(None)


def reduced_shape(x: Array, axes: tuple[int, ...], keepdims: bool) -> Shape:
    """The shape after reducing `axes`."""
    if keepdims:
        return tuple(1 if a in axes else dim for a, dim in enumerate(x.shape))
    return tuple(dim for a, dim in enumerate(x.shape) if a not in axes)


def reduce(
    ctx: OpCall,
    x: Array,
    axis: Value,
    keepdims: Value,
    kind: Kind,
    *,
    where: Value = NONE,
    initial: Value = NONE,
    options: dict[str, Any] | None = None,
) -> Array:
    """Emit a reduction of `x` over `axis`."""
    options = dict(options or {})
    axes = ctx.axes(x, axis)
    keep = ctx.bool(keepdims, "keepdims")
    masked = [a for a in axes if isinstance(x.shape[a], Masked)]
    if masked and ctx.dialect == "numpy" and ctx.is_none(where) and ctx.is_none(initial):
        from qllm_jax.tfcaf.ops.masked_rows import reduce_rows

        return reduce_rows(ctx, x, axes, masked[0], keep, jnp_name(ctx), kind)
    ctx.refuse_mixing(x, axes)
    if not x.shape:
        axis = NONE
    sources = [x]
    if not ctx.is_none(initial):
        options["initial"] = ctx.number(initial, "initial")
    if not ctx.is_none(where) and not (isinstance(where, Static) and where.value is True):
        mask = ctx.array(where)
        if len(ctx.broadcast(x, mask)) > x.ndim:
            raise ctx.refuse("shape", "`where` has more axes than the array.", "Reduce it first.")
        options["where"] = mask.code
        sources.append(mask)
    name = jnp_name(ctx)
    code = ctx.emit(
        x, name, axis=ctx.spell_reduced(x, axes, axis), **options, keepdims=keep or None
    )
    return ctx.result(reduced_shape(x, axes, keep), kind, code, *sources)


@both(
    "sum prod nansum nanprod .sum .prod",
    "x|a, axis=None, dtype=None, out!=None, keepdims=False, initial=None, where=None",
)
def total(
    ctx: OpCall, x: Value, axis: Value, dtype: Value, keepdims: Value, initial: Value, where: Value
) -> Value:
    """Sums and products; bools are counted."""
    x = ctx.array(x)
    made = reduce(ctx, x, axis, keepdims, as_number(x.dtype), where=where, initial=initial)
    return cast_to(ctx, made, dtype)


@both(
    "max min amax amin nanmax nanmin .max .min",
    "x|a, axis=None, out!=None, keepdims=False, initial=None, where=None",
)
def extreme(
    ctx: OpCall, x: Value, axis: Value, keepdims: Value, initial: Value, where: Value
) -> Value:
    """Largest and smallest elements."""
    x = ctx.array(x)
    return reduce(ctx, x, axis, keepdims, x.dtype, where=where, initial=initial)


@both("mean nanmean .mean", "x|a, axis=None, dtype=None, out!=None, keepdims=False, *, where=None")
def mean(ctx: OpCall, x: Value, axis: Value, dtype: Value, keepdims: Value, where: Value) -> Value:
    """Arithmetic mean."""
    x = ctx.array(x)
    return cast_to(ctx, reduce(ctx, x, axis, keepdims, "float", where=where), dtype)


@both(
    "std var nanstd nanvar .std .var",
    "x|a, axis=None, dtype=None, out!=None, ddof=0, "
    "keepdims=False, *, where=None, mean!=None, correction=None",
)
def spread(
    ctx: OpCall,
    x: Value,
    axis: Value,
    dtype: Value,
    ddof: Value,
    keepdims: Value,
    where: Value,
    correction: Value,
) -> Value:
    """Standard deviation and variance; `ddof` is 0 unless given."""
    degrees = ctx.number(ddof if ctx.is_none(correction) else correction, "ddof")
    options = {"ddof": degrees} if degrees else {}
    return reduce(ctx, ctx.array(x), axis, keepdims, "float", where=where, options=options)


@both("median nanmedian", "x|a, axis=None, out!=None, overwrite_input=False, keepdims=False")
def median(ctx: OpCall, x: Value, axis: Value, overwrite_input: Value, keepdims: Value) -> Value:
    """The middle value; the mean of the middle two of an even count."""
    return reduce(ctx, ctx.array(x), axis, keepdims, "float")


@both("ptp", "x|a, axis=None, out!=None, keepdims=False")
@op("jnp", ".ptp", "x|a, axis=None, out!=None, keepdims=False")
def peak_to_peak(ctx: OpCall, x: Value, axis: Value, keepdims: Value) -> Value:
    """Largest minus smallest."""
    x = ctx.array(x)
    return reduce(ctx, x, axis, keepdims, x.dtype)


@both("any all .any .all", "x|a, axis=None, out!=None, keepdims=False, *, where=None")
def truth(ctx: OpCall, x: Value, axis: Value, keepdims: Value, where: Value) -> Value:
    """Whether any or all are true; over the batch only an `if` may ask."""
    x = ctx.array(x)
    axes = ctx.axes(x, axis)
    if any(isinstance(x.shape[a], Batch) for a in axes) and len(axes) == x.ndim:
        code = ctx.emit(x, jnp_name(ctx))
        made = ctx.result((), "bool", code, x)
        made.row_any = True
        return made
    return reduce(ctx, x, axis, keepdims, "bool", where=where)


@both("count_nonzero", "x|a, axis=None, *, keepdims=False")
def count_nonzero(ctx: OpCall, x: Value, axis: Value, keepdims: Value) -> Value:
    """How many are not zero."""
    return reduce(ctx, ctx.array(x), axis, keepdims, "int")


@both(
    "argmax argmin nanargmax nanargmin .argmax .argmin",
    "x|a, axis=None, out!=None, *, keepdims=False",
)
def arg_extreme(ctx: OpCall, x: Value, axis: Value, keepdims: Value) -> Value:
    """Index of the first largest or smallest."""
    return reduce(ctx, ctx.array(x), axis, keepdims, "int")


@both("average", "x|a, axis=None, weights=None, returned!=False, *, keepdims=False")
def average(ctx: OpCall, x: Value, axis: Value, weights: Value, keepdims: Value) -> Value:
    """Weighted mean."""
    x = ctx.array(x)
    if ctx.is_none(weights):
        return reduce(ctx, x, axis, keepdims, "float")
    weight = ctx.array(weights)
    axes = ctx.axes(x, axis)
    ctx.refuse_mixing(x, axes)
    fits = len(axes) == 1 and weight.ndim == 1 and same_dim(weight.shape[0], x.shape[axes[0]])
    if not fits and (len(weight.shape) != x.ndim or len(ctx.broadcast(x, weight)) != x.ndim):
        raise ctx.refuse("shape", "the weights do not fit the array.", "Give one for each element.")
    keep = ctx.bool(keepdims)
    code = c.call("jnp.average", [x], _given(axis=axis, weights=weight, keepdims=keep or None))
    return ctx.result(reduced_shape(x, axes, keep), "float", code, x, weight)


def _given(**options: Any) -> dict[str, Any]:
    """Options that are not None."""
    return {
        name: value
        for name, value in options.items()
        if value is not None and not (isinstance(value, Static) and value.value is None)
    }


@both(
    "quantile percentile nanquantile nanpercentile",
    "x|a, q, axis=None, out!=None, "
    "overwrite_input!=False, method|interpolation='linear', keepdims=False",
)
def quantile(ctx: OpCall, x: Value, q: Value, axis: Value, method: Value, keepdims: Value) -> Value:
    """Quantiles at static levels."""
    x = ctx.cast(ctx.array(x), "float")
    axes = ctx.axes(x, axis)
    ctx.refuse_mixing(x, axes)
    options: dict[str, Any] = {"axis": axes[0] if len(axes) == 1 else axes}
    if ctx.bool(keepdims):
        options["keepdims"] = True
    if ctx.string(method) != "linear":
        options["method"] = ctx.string(method)
    levels = numbers(ctx, q, "q")
    if isinstance(levels, tuple):
        shape = (len(levels), *reduced_shape(x, axes, ctx.bool(keepdims)))
        given = q.code if isinstance(q, Array) else c.call("jnp.array", [list(levels)])
        code = c.call(f"jnp.{last_name(ctx)}", [x, given], options)
        return ctx.result(shape, "float", code, x)
    code = c.call(f"jnp.{last_name(ctx)}", [x, levels], options)
    return ctx.result(reduced_shape(x, axes, ctx.bool(keepdims)), "float", code, x)


@both(
    "cumsum cumprod nancumsum nancumprod .cumsum .cumprod", "x|a, axis=None, dtype=None, out!=None"
)
@both("cumulative_sum cumulative_prod", "x, *, axis=None, dtype=None, include_initial!=False")
def cumulative(ctx: OpCall, x: Value, axis: Value, dtype: Value) -> Value:
    """Running sums and products; without an axis of the flattened array."""
    x = ctx.array(x)
    name = {"cumulative_sum": "cumsum", "cumulative_prod": "cumprod"}.get(
        last_name(ctx), last_name(ctx)
    )
    if ctx.is_none(axis):
        ctx.refuse_mixing(x, range(x.ndim))
        size: Dim = 1
        for a in range(x.ndim):
            size = size * ctx.fixed_size(x, a)  # type: ignore[operator]
        made = ctx.result((size,), as_number(x.dtype), ctx.emit(x, name), x)
    else:
        number = ctx.axis(x, axis)
        ctx.refuse_mixing(x, [number])
        code = ctx.emit(x, name, axis=axis.code)
        made = ctx.result(x.shape, as_number(x.dtype), code, x)
    return cast_to(ctx, made, dtype)


@op(
    "jnp",
    "lax.cumsum lax.cumprod lax.cummax lax.cummin lax.cumlogsumexp",
    "x|operand, axis=0, reverse=False",
)
def lax_cumulative(ctx: OpCall, x: Value, axis: Value, reverse: Value) -> Value:
    """Running reductions of lax."""
    x = ctx.array(x)
    ctx.refuse_mixing(x, [ctx.axis(x, axis)])
    options = {"axis": ctx.axis(x, axis)} | ({"reverse": True} if ctx.bool(reverse) else {})
    code = c.call(f"jax.lax.{last_name(ctx)}", [x], options)
    return ctx.result(x.shape, x.dtype, code, x)


@both("maximum.accumulate minimum.accumulate", "x|array, axis=0")
def accumulate(ctx: OpCall, x: Value, axis: Value) -> Value:
    """Running extremes."""
    x = ctx.array(x)
    ctx.refuse_mixing(x, [ctx.axis(x, axis)])
    name = "cummax" if ".maximum." in ctx.name else "cummin"
    return ctx.result(
        x.shape, x.dtype, c.call(f"jax.lax.{name}", [x], {"axis": ctx.axis(x, axis)}), x
    )


@both("diff", "x|a, n=1, axis=-1, prepend=None, append=None")
@op("torch", "torch.diff .diff", "x|input, n=1, axis|dim=-1, prepend=None, append=None")
def diff(ctx: OpCall, x: Value, n: Value, axis: Value, prepend: Value, append: Value) -> Value:
    """Differences of neighbours, after what is put in front and behind."""
    x = ctx.array(x)
    number = ctx.axis(x, axis)
    ctx.refuse_mixing(x, [number])
    options: dict[str, Any] = {"axis": axis.code} if ctx.int(axis) != -1 else {}
    times = ctx.int(n)
    if times < 0:
        raise ctx.refuse("argument", "n is negative.", "Use n=1.")
    size, sources = ctx.fixed_size(x, number), [x]
    for name, value in (("prepend", prepend), ("append", append)):
        if ctx.is_none(value):
            continue
        end = ctx.array(value)
        rest = [(*a.shape[:number], *a.shape[number + 1 :]) for a in (x, end)]
        if end.ndim and (end.ndim != x.ndim or not same_shape(*rest)):
            raise ctx.refuse("shape", f"`{name}` does not fit.", "Give it the array's other axes.")
        size += ctx.fixed_size(end, number) if end.ndim else 1
        options[name] = end.code
        sources.append(end)
    shape = (*x.shape[:number], max(0, size - times), *x.shape[number + 1 :])
    code = c.call("jnp.diff", [x, *([times] if times != 1 else [])], options)
    return ctx.result(shape, ctx.promote(*sources), code, *sources)


_REDUCED_BY = {
    "add": "sum",
    "multiply": "prod",
    "maximum": "max",
    "minimum": "min",
    "logical_and": "all",
    "logical_or": "any",
}


@both(" ".join(f"{name}.reduce" for name in _REDUCED_BY), "x|array, axis=0, keepdims=False")
def ufunc_reduce(ctx: OpCall, x: Value, axis: Value, keepdims: Value) -> Value:
    """`np.add.reduce(x)`: the reduction by a ufunc, over the first axis unless said otherwise."""
    x, keep = ctx.array(x), ctx.bool(keepdims, "keepdims")
    axes = ctx.axes(x, axis)
    ctx.refuse_mixing(x, axes)
    name = _REDUCED_BY[ctx.name.split(".")[-2]]
    kinds: dict[str, Kind] = {"all": "bool", "any": "bool", "max": x.dtype, "min": x.dtype}
    options = {"axis": axis.code, **({"keepdims": True} if keep else {})}
    code = c.call(f"jnp.{name}", [x], options)
    return ctx.result(reduced_shape(x, axes, keep), kinds.get(name, as_number(x.dtype)), code, x)


@both("bincount", "x, weights=None, minlength|length=None")
@op("torch", "torch.bincount .bincount", "x|input, weights=None, minlength=None")
def bincount(ctx: OpCall, x: Value, weights: Value, minlength: Value) -> Value:
    """How often each number below `minlength` occurs, or the sum of its weights."""
    x = ctx.array(x)
    if ctx.is_none(minlength):
        raise ctx.refuse(
            "dynamic-shape", "how long it is depends on the data.", "Pass how many bins there are."
        )
    if x.dtype != "int" or x.ndim != 1:
        raise ctx.refuse("dtype", "it counts a vector of ints.", "Cast and flatten it.")
    size = ctx.int(minlength, "minlength")
    ctx.refuse_mixing(x, [0])
    given = [] if ctx.is_none(weights) else [ctx.array(weights)]
    if given and not same_shape(given[0].shape, x.shape):
        raise ctx.refuse("shape", "the weights differ in shape.", "Give one weight per number.")
    options = {"weights": given[0].code} if given else {}
    code = c.call("jnp.bincount", [x], {**options, "length": size})
    return ctx.result((size,), "float" if given else "int", code, *given)


@both("trapezoid", "x|y, t|x=None, dx=1.0, axis=-1")
@op("torch", "torch.trapezoid torch.trapz", "x|y, t|x=None, *, dx=1.0, axis|dim=-1")
def trapezoid(ctx: OpCall, x: Value, t: Value, dx: Value, axis: Value) -> Value:
    """Integral by the trapezoidal rule, with constant spacing or between sample points."""
    x = ctx.array(x)
    number = ctx.axis(x, axis)
    ctx.refuse_mixing(x, [number])
    shape = reduced_shape(x, (number,), False)
    if ctx.is_none(t):
        code = c.call("jnp.trapezoid", [x], {"dx": ctx.number(dx), "axis": number})
        return ctx.result(shape, as_float(x.dtype), code, x)
    points = ctx.array(t)
    if not same_shape(points.shape, (x.shape[number],)) and not same_shape(points.shape, x.shape):
        raise ctx.refuse("shape", "the sample points differ in shape.", "Give one per value.")
    code = c.call("jnp.trapezoid", [x, points], {"axis": number})
    return ctx.result(shape, as_float(ctx.promote(x, points)), code, x, points)
