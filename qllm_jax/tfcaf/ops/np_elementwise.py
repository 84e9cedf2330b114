"""Elementwise operations of NumPy and jnp: one number in, one number out, broadcasting."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf.code import Code
from qllm_jax.tfcaf.ops.context import OpCall
from qllm_jax.tfcaf.ops.known_indices import tuple_of_places
from qllm_jax.tfcaf.ops.numpy_like import as_float, both, cast_to, last_name
from qllm_jax.tfcaf.ops.registry import op
from qllm_jax.tfcaf.values import Array, Kind, Static, Value, same_shape, static

_UNARY = "x|a|input, out=None, *, where=True, dtype=None"
_BINARY = "x|x1|a, y|x2|b, out=None, *, where=True, dtype=None"
_FLOAT_UNARY = (
    "exp expm1 exp2 log log2 log10 log1p sqrt cbrt sin cos tan sinh cosh tanh deg2rad rad2deg "
    "degrees radians sinc"
)
_SAME_UNARY = "abs absolute square negative positive sign floor ceil trunc rint"
_RENAMED = {"fabs": "abs", "fix": "trunc", "round_": "round", "around": "round", "conj": "asarray"}
_RENAMED |= {"true_divide": "divide", "mod": "remainder", "pow": "power", "acos": "arccos"}
_RENAMED |= {"asin": "arcsin", "atan": "arctan", "atan2": "arctan2", "amax": "max"}
_RENAMED |= {"acosh": "arccosh", "asinh": "arcsinh", "atanh": "arctanh", "concat": "concatenate"}


_NONE, _EVERYWHERE = static(None), static(True)


def ufunc(names: str, signature: str) -> Callable[[Any], Any]:
    """Register for NumPy and jnp, with NumPy's `out` and `where`."""

    def register(handler: Any) -> Any:
        @functools.wraps(handler)
        def with_out(
            ctx: OpCall,
            *args: Value,
            out: Value = _NONE,
            where: Value = _EVERYWHERE,
            **given: Value,
        ) -> Value:
            if isinstance(where, Static) and where.value is True:
                made = handler(ctx, *args, **given)
                return made if ctx.is_none(out) else _written(ctx, out, made)
            if ctx.is_none(out):
                raise ctx.refuse(
                    "uninitialised",
                    "where its `where` does not hold, the result is whatever memory held.",
                    "Pass `out=np.zeros_like(x)` too, or use `np.where`.",
                )
            test, old = ctx.array(where), ctx.array(out)
            last = "y" if "y" in given else "x"
            argument = ctx.array(given[last])
            # The function is taken at 1 where it does not count: a division by zero there would
            # give the credit a NaN, `where` or not.
            safe = c.call("jnp.where", [test, argument, Code("1")])
            shape = ctx.broadcast(test, argument)
            given[last] = ctx.result(shape, argument.dtype, safe, argument)
            made = handler(ctx, **given)
            code = c.call("jnp.where", [test, made, old])
            shape = ctx.broadcast(test, made, old)
            kind = ctx.promote(made, old)
            return _written(ctx, out, ctx.result(shape, kind, code, made, old))

        return both(names, signature)(with_out)

    return register


def _written(ctx: OpCall, out: Value, made: Array) -> Value:
    """A result that was written into `out`: what has that name has the result now."""
    from qllm_jax.tfcaf.interpreter.calls import in_place_result

    old = ctx.array(out)
    if not same_shape(old.shape, made.shape):
        raise ctx.refuse("shape", "`out` has another shape.", "Leave `out` out.")
    made = ctx.cast(made, old.dtype)
    return in_place_result(ctx.run, old, made) if old.code.is_name else made


def jnp_name(ctx: OpCall) -> str:
    """The jnp function of an operation's name."""
    name = last_name(ctx)
    return _RENAMED.get(name, name)


def _apply(ctx: OpCall, kind: Kind, dtype: Value, *arrays: Array, name: str = "") -> Array:
    shape = ctx.broadcast(*arrays)
    code = c.call(f"jnp.{name or jnp_name(ctx)}", list(arrays))
    return cast_to(ctx, ctx.result(shape, kind, code, *arrays), dtype)


@ufunc(_FLOAT_UNARY, _UNARY)
@ufunc("arcsin arccos arctan arcsinh arccosh arctanh asin acos atan asinh acosh atanh", _UNARY)
@ufunc("reciprocal fabs", _UNARY)
def float_unary(ctx: OpCall, x: Value, dtype: Value) -> Value:
    """A function of floats; ints are taken as floats."""
    x = ctx.array(x)
    if x.dtype != "float" and jnp_name(ctx) in ("reciprocal", "abs"):
        x = ctx.cast(x, "float")
    return _apply(ctx, as_float(x.dtype), dtype, x)


@ufunc(_SAME_UNARY, _UNARY)
@ufunc("fix conj conjugate real", _UNARY)
def same_unary(ctx: OpCall, x: Value, dtype: Value) -> Value:
    """A function that keeps the dtype."""
    x = ctx.array(x)
    if last_name(ctx) in ("conj", "conjugate", "real"):
        return x
    return _apply(ctx, x.dtype, dtype, x)


@ufunc("isnan isinf isfinite isposinf isneginf logical_not iscomplex signbit", _UNARY)
def bool_unary(ctx: OpCall, x: Value, dtype: Value) -> Value:
    """A test of each element."""
    return _apply(ctx, "bool", dtype, ctx.array(x))


@ufunc("invert bitwise_not", _UNARY)
def invert(ctx: OpCall, x: Value, dtype: Value) -> Value:
    """`~x`, for bools and ints."""
    x = ctx.array(x)
    if x.dtype == "float":
        raise ctx.refuse("dtype", "it needs bools or ints.", "Compare first, as in `x > 0`.")
    return _apply(ctx, x.dtype, dtype, x, name="invert")


@ufunc("add subtract multiply maximum minimum fmax fmin floor_divide remainder mod fmod", _BINARY)
@ufunc("power pow", _BINARY)
def same_binary(ctx: OpCall, x: Value, y: Value, dtype: Value) -> Value:
    """Arithmetic in the common dtype."""
    x, y = ctx.array(x), ctx.array(y)
    return _apply(ctx, ctx.promote(x, y), dtype, x, y)


@ufunc("divide true_divide hypot arctan2 atan2 logaddexp logaddexp2 copysign float_power", _BINARY)
@ufunc("heaviside", _BINARY)
def float_binary(ctx: OpCall, x: Value, y: Value, dtype: Value) -> Value:
    """Arithmetic that gives floats."""
    return _apply(ctx, "float", dtype, ctx.array(x), ctx.array(y))


@ufunc("equal not_equal less less_equal greater greater_equal", _BINARY)
@ufunc("logical_and logical_or logical_xor", _BINARY)
def bool_binary(ctx: OpCall, x: Value, y: Value, dtype: Value) -> Value:
    """Comparisons and logic."""
    return _apply(ctx, "bool", dtype, ctx.array(x), ctx.array(y))


@ufunc("bitwise_and bitwise_or bitwise_xor left_shift right_shift", _BINARY)
def bits(ctx: OpCall, x: Value, y: Value, dtype: Value) -> Value:
    """Logic on bools and bits of ints."""
    x, y = ctx.array(x), ctx.array(y)
    if "float" in (x.dtype, y.dtype):
        raise ctx.refuse("dtype", "it needs bools or ints.", "Compare first, as in `x > 0`.")
    return _apply(ctx, ctx.promote(x, y), dtype, x, y)


@both("isclose", "x|a, y|b, rtol=1e-05, atol=1e-08, equal_nan=False")
def isclose(ctx: OpCall, x: Value, y: Value, rtol: Value, atol: Value, equal_nan: Value) -> Value:
    """Equality within a tolerance."""
    x, y = ctx.array(x), ctx.array(y)
    options = {"rtol": ctx.number(rtol, "rtol"), "atol": ctx.number(atol, "atol")}
    if ctx.bool(equal_nan):
        options["equal_nan"] = True
    code = c.call("jnp.isclose", [x, y], options)
    return ctx.result(ctx.broadcast(x, y), "bool", code, x, y)


@both("round around round_ .round", "x|a, decimals=0, out!=None")
def round_(ctx: OpCall, x: Value, decimals: Value) -> Value:
    """Round half to even."""
    x, places = ctx.array(x), ctx.int(decimals, "decimals")
    code = c.call("jnp.round", [x], {"decimals": places} if places else {})
    return ctx.result(x.shape, x.dtype, code, x)


@ufunc("clip", "x|a|arr, low|a_min|min=None, high|a_max|max=None, out=None")
@both(".clip", "x, low|min|a_min=None, high|max|a_max=None, out!=None")
@op("jnp", "lax.clamp", "low|min, x, high|max")
def clip(ctx: OpCall, x: Value, low: Value, high: Value) -> Value:
    """`minimum(maximum(x, low), high)`; either bound may be None."""
    x = ctx.array(x)
    bounds = [None if ctx.is_none(bound) else ctx.array(bound) for bound in (low, high)]
    given = [bound for bound in bounds if bound is not None]
    shape = ctx.broadcast(x, *given)
    code = ctx.emit(x, "clip", *[None if b is None else b.code for b in bounds])
    return ctx.result(shape, ctx.promote(x, *given), code, x, *given)


@both("nan_to_num", "x, copy=True, nan=0.0, posinf=None, neginf=None")
def nan_to_num(
    ctx: OpCall, x: Value, copy: Value, nan: Value, posinf: Value, neginf: Value
) -> Value:
    """NaN and infinities replaced."""
    x = ctx.array(x)
    options: dict[str, Any] = {}
    for name, value in (("nan", nan), ("posinf", posinf), ("neginf", neginf)):
        if not ctx.is_none(value) and not (name == "nan" and ctx.number(value, name) == 0):
            options[name] = ctx.number(value, name)
    return ctx.result(x.shape, x.dtype, c.call("jnp.nan_to_num", [x], options), x)


@both("where", "condition, x=None, y=None")
@op("jnp", "lax.select", "condition|pred, x|on_true, y|on_false")
@op("jnp", "lax.select_n", "condition|which, y, x")
def where(ctx: OpCall, condition: Value, x: Value, y: Value) -> Value:
    """`x` where the condition holds, else `y`; of a condition alone, where it holds."""
    if ctx.is_none(x) or ctx.is_none(y):
        return tuple_of_places(ctx, condition)
    condition, x, y = ctx.array(condition), ctx.array(x), ctx.array(y)
    shape = ctx.broadcast(condition, x, y)
    code = c.call("jnp.where", [condition, x, y])
    return ctx.result(shape, ctx.promote(x, y), code, x, y)


@both("select", "conditions|condlist, choices|choicelist, default=0")
def select(ctx: OpCall, conditions: Value, choices: Value, default: Value) -> Value:
    """The choice of the first condition that holds."""
    tests = [ctx.array(item) for item in ctx.items(conditions)]
    values = [ctx.array(item) for item in ctx.items(choices)]
    if len(tests) != len(values) or not tests:
        raise ctx.refuse("argument", "it needs as many choices as conditions.", "Pair them up.")
    other = ctx.array(default)
    shape = ctx.broadcast(*tests, *values, other)
    lists = [c.display([a.code for a in arrays], False) for arrays in (tests, values)]
    code = c.call("jnp.select", [*lists, other])
    return ctx.result(shape, ctx.promote(*values, other), code, *values, other)


@both("piecewise", "x, conditions|condlist, functions|funclist")
def piecewise(ctx: OpCall, x: Value, conditions: Value, functions: Value) -> Value:
    """The function of the last condition that holds; one more function is for all others."""
    from qllm_jax.tfcaf.interpreter.standard_library import call_value

    x = ctx.array(x)
    tests = [ctx.array(item) for item in ctx.items(conditions)]
    choices = ctx.items(functions)
    if not tests or not 0 <= len(choices) - len(tests) <= 1:
        raise ctx.refuse("argument", "it needs as many functions as conditions.", "Pair them up.")
    values = [
        ctx.array(v if isinstance(v, Array | Static) else call_value(ctx.run, v, [x]))
        for v in choices
    ]
    made = values.pop() if len(values) > len(tests) else ctx.array(static(0.0))
    for test, value in zip(tests, values, strict=True):
        shape = ctx.broadcast(test, value, made)
        code = c.call("jnp.where", [test, value, made])
        made = ctx.result(shape, ctx.promote(value, made), code, value, made)
    return ctx.result(ctx.broadcast(x, made), x.dtype, ctx.cast(made, x.dtype).code, made)


@both("astype", "x, dtype")
@both(".astype", "x, dtype, copy=True, order!='K', casting!='unsafe'")
def astype(ctx: OpCall, x: Value, dtype: Value, copy: Value | None = None) -> Value:
    """The array in another dtype; a copy."""
    x = ctx.array(x)
    kind = ctx.kind(dtype)
    made = ctx.cast(x, kind or "float")
    return ctx.result(made.shape, made.dtype, made.code, x)


@both(".copy copy", "x|a, order!='K'")
@both(".conj .conjugate", "x")
@op("jnp", ".block_until_ready", "x")
def copy(ctx: OpCall, x: Value) -> Value:
    """The same numbers in new memory."""
    x = ctx.array(x)
    return ctx.result(x.shape, x.dtype, x.code, x)


@both("array_equal", "x|a1|a, y|a2|b, equal_nan!=False")
def array_equal(ctx: OpCall, x: Value, y: Value) -> Value:
    """Refused: it looks at all samples at once."""
    raise ctx.mixes_batch("compares whole arrays")
