"""Elementwise operations of torch: arithmetic, mathematics, comparisons, casts, choices."""

from __future__ import annotations

import ast
import math
from typing import Any

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf.code import Code, words
from qllm_jax.tfcaf.ops import operators
from qllm_jax.tfcaf.ops.context import OpCall
from qllm_jax.tfcaf.ops.known_indices import tuple_of_places
from qllm_jax.tfcaf.ops.registry import constant, dropped, dtype, op
from qllm_jax.tfcaf.values import Array, Static, Value, promote

for _name, _value in (("pi", math.pi), ("e", math.e), ("inf", math.inf), ("nan", math.nan)):
    constant(f"torch.{_name}", _value)
for _name in ("float", "float32", "float64", "double", "float16", "half", "bfloat16"):
    dtype(f"torch.{_name}", "float", usual=_name in ("float", "float32"))
for _name in ("int", "int8", "int16", "int32", "int64", "long", "short"):
    dtype(f"torch.{_name}", "int", usual=_name in ("int64", "long"))
dtype("torch.bool", "bool")
for _name in ("FloatTensor", "LongTensor", "BoolTensor", "dtype", "Size", "types"):
    dropped(f"torch.{_name}", f"the type {_name}")
for _name in ("strided", "contiguous_format", "preserve_format"):
    dropped(f"torch.{_name}", f"the layout {_name}")


def names(words: str, extra: str = "") -> str:
    """Registered names for a function that is also a method: `exp` is `torch.exp` and `.exp`."""
    return " ".join(f"torch.{w} .{w}" for w in words.split()) + " " + extra


def same(word: str) -> str:
    """The last part of a registered name."""
    return word.rsplit(".", 1)[-1]


_JNP = {  # torch's name -> jnp's, for functions of floats
    **{w: w for w in words("exp expm1 exp2 log log2 log10 log1p sqrt sin cos tan sinh cosh")},
    **{w: w for w in ["tanh", "deg2rad", "rad2deg", "sinc", "arcsin", "arccos", "arctan"]},
    **{w: w for w in ["arcsinh", "arccosh", "arctanh", "i0"]},
    "asin": "arcsin",
    "acos": "arccos",
    "atan": "arctan",
    "asinh": "arcsinh",
    "acosh": "arccosh",
    "atanh": "arctanh",
    "reciprocal": "reciprocal",
}


@op("torch", names(" ".join(_JNP), "F.tanh"), "x|input")
@op("torch", "torch.special.expm1 torch.special.log1p torch.special.exp2", "x|input")
def float_unary(ctx: OpCall, x: Value) -> Array:
    """A function of floats; ints are taken as floats."""
    x = ctx.array(x)
    name = _JNP[same(ctx.name)]
    given = ctx.cast(x, "float") if name == "reciprocal" else x
    return ctx.result(x.shape, "float", c.call(f"jnp.{name}", [given]), x)


_SPECIAL = {
    "sigmoid": "jax.nn.sigmoid",
    "erf": "jax.scipy.special.erf",
    "rsqrt": "jax.lax.rsqrt",
    "erfc": "jax.scipy.special.erfc",
    "erfinv": "jax.scipy.special.erfinv",
    "lgamma": "jax.scipy.special.gammaln",
    "digamma": "jax.scipy.special.digamma",
    "expit": "jax.nn.sigmoid",
    "gammaln": "jax.scipy.special.gammaln",
    "entr": "jax.scipy.special.entr",
    "ndtr": "jax.scipy.special.ndtr",
}


@op("torch", names("sigmoid erf rsqrt erfc erfinv lgamma digamma", "F.sigmoid"), "x|input")
@op("torch", "torch.special.expit torch.special.erf torch.special.erfc", "x|input")
@op("torch", "torch.special.entr torch.special.ndtr", "x|input")
@op("torch", "torch.special.gammaln torch.special.digamma torch.special.erfinv", "x|input")
def special_unary(ctx: OpCall, x: Value) -> Array:
    """A function that jax has outside of jnp."""
    x = ctx.array(x)
    given = x if x.dtype == "float" else ctx.cast(x, "float")
    return ctx.result(x.shape, "float", c.call(_SPECIAL[same(ctx.name)], [given]), x)


@op("torch", names("abs absolute"), "x|input")
def absolute(ctx: OpCall, x: Value) -> Array:
    """|x|, with gradient 0 at 0."""
    x = ctx.array(x)
    code = ctx.helper("_abs", x) if x.grad else c.call("jnp.abs", [x])
    return ctx.result(x.shape, x.dtype, code, x)


@op("torch", names("sign sgn floor ceil trunc fix"), "x|input")
def steps(ctx: OpCall, x: Value) -> Array:
    """Functions that are constant in pieces."""
    x = ctx.array(x)
    name = {"sgn": "sign", "fix": "trunc"}.get(same(ctx.name), same(ctx.name))
    if x.dtype != "float" and name != "sign":
        return x
    return ctx.result(x.shape, x.dtype, c.call(f"jnp.{name}", [x]), x)


@op("torch", names("round"), "x|input, *, decimals=0")
def round_(ctx: OpCall, x: Value, decimals: Value) -> Array:
    """Round half to even."""
    x, places = ctx.array(x), ctx.int(decimals)
    code = c.call("jnp.round", [x], {"decimals": places} if places else {})
    return ctx.result(x.shape, x.dtype, code, x)


@op("torch", names("frac"), "x|input")
def frac(ctx: OpCall, x: Value) -> Array:
    """The part after the point, with the sign of x."""
    x = ctx.array(x)
    code = c.binary(ast.Sub, x.code, c.call("jnp.trunc", [x]))
    return ctx.result(x.shape, x.dtype, code, x)


@op("torch", names("neg negative"), "x|input")
def negative(ctx: OpCall, x: Value) -> Array:
    """-x."""
    return operators.unary(ctx, ast.USub, x)


@op("torch", names("positive"), "x|input")
def positive(ctx: OpCall, x: Value) -> Array:
    """x."""
    return ctx.array(x)


@op("torch", names("square"), "x|input")
def square(ctx: OpCall, x: Value) -> Array:
    """x²."""
    x = ctx.array(x)
    return ctx.result(x.shape, x.dtype, c.call("jnp.square", [x]), x)


@op("torch", names("logit", "torch.special.logit"), "x|input, eps=None")
def logit(ctx: OpCall, x: Value, eps: Value) -> Array:
    """log(x / (1 - x)), with x kept `eps` away from 0 and 1."""
    x = ctx.array(x)
    code = x.code
    if not ctx.is_none(eps):
        low = ctx.number(eps)
        code = ctx.helper("_at_most", ctx.helper("_at_least", code, low), 1.0 - low)
    return ctx.result(x.shape, "float", c.call("jax.scipy.special.logit", [code]), x)


@op("torch", names("isnan isinf isfinite isposinf isneginf logical_not signbit"), "x|input")
def tests(ctx: OpCall, x: Value) -> Array:
    """A test of each element."""
    x = ctx.array(x)
    return ctx.result(x.shape, "bool", c.call(f"jnp.{same(ctx.name)}", [x]), x)


@op("torch", names("bitwise_not"), "x|input")
def invert(ctx: OpCall, x: Value) -> Array:
    """~x."""
    return operators.unary(ctx, ast.Invert, x)


_BINARY = {
    "add": ast.Add,
    "sub": ast.Sub,
    "subtract": ast.Sub,
    "mul": ast.Mult,
    "multiply": ast.Mult,
    "true_divide": ast.Div,
    "pow": ast.Pow,
    "floor_divide": ast.FloorDiv,
    "remainder": ast.Mod,
    "bitwise_and": ast.BitAnd,
    "bitwise_or": ast.BitOr,
    "bitwise_xor": ast.BitXor,
}


@op("torch", names("mul multiply true_divide floor_divide remainder"), "x|input, y|other")
@op("torch", names("bitwise_and bitwise_or bitwise_xor"), "x|input, y|other")
@op("torch", names("pow"), "x|input|self, y|exponent")
@op("torch", names("add sub subtract"), "x|input, y|other, *, alpha=1")
def arithmetic(ctx: OpCall, x: Value, y: Value, alpha: Value | None = None) -> Array:
    """The named form of an operator."""
    if alpha is not None and ctx.number(alpha) != 1:
        y = operators.binary(ctx, ast.Mult, alpha, ctx.array(y))
    return operators.binary(ctx, _BINARY[same(ctx.name)], x, y)


@op("torch", names("rsub"), "x|input, y|other")
def reversed_subtract(ctx: OpCall, x: Value, y: Value) -> Array:
    """y - x."""
    return operators.binary(ctx, ast.Sub, y, x)


@op("torch", names("div divide"), "x|input, y|other, *, rounding_mode=None")
def divide(ctx: OpCall, x: Value, y: Value, rounding_mode: Value) -> Array:
    """x / y, rounded down or towards zero where asked."""
    if ctx.is_none(rounding_mode):
        return operators.binary(ctx, ast.Div, x, y)
    if ctx.string(rounding_mode) == "floor":
        return operators.binary(ctx, ast.FloorDiv, x, y)
    kind = ctx.promote(ctx.array(x), ctx.array(y))
    whole = operators.binary(ctx, ast.Div, x, y)
    made = ctx.result(whole.shape, "float", c.call("jnp.trunc", [whole]), whole)
    return ctx.cast(made, kind)


@op("torch", names("fmod"), "x|input, y|other")
def fmod(ctx: OpCall, x: Value, y: Value) -> Array:
    """Remainder with the sign of x."""
    x, y = ctx.array(x), ctx.array(y)
    return ctx.result(ctx.broadcast(x, y), ctx.promote(x, y), c.call("jnp.fmod", [x, y]), x, y)


_COMPARE = {
    "eq": ast.Eq,
    "ne": ast.NotEq,
    "not_equal": ast.NotEq,
    "lt": ast.Lt,
    "less": ast.Lt,
    "le": ast.LtE,
    "less_equal": ast.LtE,
    "gt": ast.Gt,
    "greater": ast.Gt,
    "ge": ast.GtE,
    "greater_equal": ast.GtE,
}


@op("torch", names(" ".join(_COMPARE)), "x|input, y|other")
def comparison(ctx: OpCall, x: Value, y: Value) -> Array:
    """The named form of a comparison."""
    return operators.compare(ctx, _COMPARE[same(ctx.name)], x, y)


@op("torch", names("isclose"), "x|input, y|other, rtol=1e-05, atol=1e-08, equal_nan=False")
def isclose(ctx: OpCall, x: Value, y: Value, rtol: Value, atol: Value, equal_nan: Value) -> Array:
    """Equality within a tolerance."""
    x, y = ctx.array(x), ctx.array(y)
    options: dict[str, Any] = {"rtol": ctx.number(rtol), "atol": ctx.number(atol)}
    if ctx.bool(equal_nan):
        options["equal_nan"] = True
    return ctx.result(ctx.broadcast(x, y), "bool", c.call("jnp.isclose", [x, y], options), x, y)


@op("torch", names("logical_and logical_or logical_xor"), "x|input, y|other")
def logic(ctx: OpCall, x: Value, y: Value) -> Array:
    """Logic of truth values."""
    x, y = ctx.array(x), ctx.array(y)
    return ctx.result(ctx.broadcast(x, y), "bool", c.call(f"jnp.{same(ctx.name)}", [x, y]), x, y)


@op("torch", names("fmax fmin"), "x|input, y|other")
def extreme_of_numbers(ctx: OpCall, x: Value, y: Value) -> Array:
    """The larger or smaller, NaN aside; of tied ones the first has the gradient."""
    x, y = ctx.array(x), ctx.array(y)
    code = ctx.helper(f"_{same(ctx.name)}", x, y)
    return ctx.result(ctx.broadcast(x, y), ctx.promote(x, y), code, x, y)


@op("torch", names("maximum minimum"), "x|input, y|other")
def extreme(ctx: OpCall, x: Value, y: Value) -> Array:
    """The larger or smaller of two arrays; ties share the gradient."""
    for side in (x, y):
        if isinstance(side, Static):
            raise ctx.refuse(
                "type",
                "torch takes two tensors here, not a number.",
                "Use `torch.clamp(x, min=…)`.",
            )
    return elementwise_extreme(ctx, x, y, same(ctx.name))


def elementwise_extreme(ctx: OpCall, x: Value, y: Value, name: str) -> Array:
    """`jnp.maximum(x, y)` and its like."""
    x, y = ctx.array(x), ctx.array(y)
    return ctx.result(ctx.broadcast(x, y), ctx.promote(x, y), c.call(f"jnp.{name}", [x, y]), x, y)


@op("torch", names("hypot copysign logaddexp logaddexp2 nextafter"), "x|input, y|other")
def float_binary(ctx: OpCall, x: Value, y: Value) -> Array:
    """Functions of two floats."""
    x, y = ctx.array(x), ctx.array(y)
    return ctx.result(ctx.broadcast(x, y), "float", c.call(f"jnp.{same(ctx.name)}", [x, y]), x, y)


@op("torch", names("atan2 arctan2"), "y|input, x|other")
def arctan2(ctx: OpCall, y: Value, x: Value) -> Array:
    """The angle of (x, y), with gradient 0 at the origin."""
    y, x = ctx.array(y), ctx.array(x)
    safe = y.grad or x.grad
    code = ctx.helper("_angle", y, x) if safe else c.call("jnp.arctan2", [y, x])
    return ctx.result(ctx.broadcast(y, x), "float", code, y, x)


@op("torch", names("xlogy", "torch.special.xlogy torch.special.xlog1py"), "x|input, y|other")
def xlogy(ctx: OpCall, x: Value, y: Value) -> Array:
    """x log y or x log(1 + y), 0 where x is 0."""
    x, y = ctx.array(x), ctx.array(y)
    code = c.call(f"jax.scipy.special.{same(ctx.name)}", [x, y])
    return ctx.result(ctx.broadcast(x, y), "float", code, x, y)


@op("torch", names("heaviside"), "x|input, values")
def heaviside(ctx: OpCall, x: Value, values: Value) -> Array:
    """The step function."""
    x, values = ctx.array(x), ctx.array(values)
    code = c.call("jax.lax.stop_gradient", [c.call("jnp.heaviside", [x, values])])
    return ctx.result(ctx.broadcast(x, values), x.dtype, code, grad=False)


@op("torch", names("lerp"), "x|input, end, weight")
def lerp(ctx: OpCall, x: Value, end: Value, weight: Value) -> Array:
    """x + weight (end - x)."""
    apart = operators.binary(ctx, ast.Sub, end, x)
    return operators.binary(ctx, ast.Add, x, operators.binary(ctx, ast.Mult, weight, apart))


@op("torch", names("addcmul addcdiv"), "x|input, a|tensor1, b|tensor2, *, value=1")
def add_product(ctx: OpCall, x: Value, a: Value, b: Value, value: Value) -> Array:
    """x + value a b, or x + value a / b."""
    kind: type[ast.AST] = ast.Div if ctx.name.endswith("div") else ast.Mult
    scaled = a if ctx.number(value) == 1 else operators.binary(ctx, ast.Mult, value, a)
    return operators.binary(ctx, ast.Add, x, operators.binary(ctx, kind, scaled, b))


@op("torch", names("clamp clip"), "x|input, low|min=None, high|max=None")
def clamp(ctx: OpCall, x: Value, low: Value, high: Value) -> Array:
    """x between two bounds; at a bound the gradient is that of x."""
    x = ctx.array(x)
    bounds = [None if ctx.is_none(b) else ctx.array(b) for b in (low, high)]
    if bounds == [None, None]:
        raise ctx.refuse("argument", "it needs a bound.", "Pass min or max.")
    given = [b for b in bounds if b is not None]
    shape, kind = ctx.broadcast(x, *given), promote(x.dtype, *(b.dtype for b in given))
    if not any(a.grad for a in (x, *given)):
        return ctx.result(shape, kind, c.call("jnp.clip", [x, *(b and b.code for b in bounds)]), x)
    code = x.code
    for bound, helper in zip(bounds, ("_at_least", "_at_most"), strict=True):
        if bound is not None:
            code = ctx.helper(helper, code, bound.code)
    return ctx.result(shape, kind, code, x, *given)


@op("torch", names("clamp_min"), "x|input, low|min")
def clamp_min(ctx: OpCall, x: Value, low: Value) -> Array:
    """At least a bound."""
    return clamp(ctx, x, low, Static(None, Code("None")))


@op("torch", names("clamp_max"), "x|input, high|max")
def clamp_max(ctx: OpCall, x: Value, high: Value) -> Array:
    """At most a bound."""
    return clamp(ctx, x, Static(None, Code("None")), high)


@op("torch", names("nan_to_num"), "x|input, nan=0.0, posinf=None, neginf=None")
def nan_to_num(ctx: OpCall, x: Value, nan: Value, posinf: Value, neginf: Value) -> Array:
    """NaN and infinities replaced."""
    x = ctx.array(x)
    options = {"nan": nan, "posinf": posinf, "neginf": neginf}
    given = {k: ctx.number(v, k) for k, v in options.items() if not ctx.is_none(v)}
    if given.get("nan") == 0:
        del given["nan"]
    return ctx.result(x.shape, x.dtype, c.call("jnp.nan_to_num", [x], given), x)


@op("torch", "torch.where", "condition, x|input|self=None, y|other=None")
@op("torch", ".where", "x, condition, y|other")
def where(ctx: OpCall, condition: Value, x: Value, y: Value) -> Value:
    """x where the condition holds, else y; of a condition alone, where it holds."""
    if ctx.is_none(x) or ctx.is_none(y):
        return tuple_of_places(ctx, condition)
    condition, x, y = ctx.array(condition), ctx.array(x), ctx.array(y)
    if condition.dtype != "bool":
        raise ctx.refuse("dtype", "the condition must be bool.", "Compare, or add `.bool()`.")
    shape = ctx.broadcast(condition, x, y)
    return ctx.result(shape, ctx.promote(x, y), c.call("jnp.where", [condition, x, y]), x, y)


@op("torch", names("masked_fill"), "x|input, mask, value")
def masked_fill(ctx: OpCall, x: Value, mask: Value, value: Value) -> Array:
    """A number where the mask holds."""
    x, mask, fill = ctx.array(x), ctx.array(mask), ctx.array(value)
    if mask.dtype != "bool":
        raise ctx.refuse("dtype", "the mask must be bool.", "Compare, or add `.bool()`.")
    if fill.ndim:
        raise ctx.refuse("shape", "the value must be one number.", "Use `torch.where`.")
    if promote(x.dtype, fill.dtype) != x.dtype:
        fill = ctx.cast(fill, x.dtype)
    shape = ctx.broadcast(x, mask)
    return ctx.result(shape, x.dtype, c.call("jnp.where", [mask, fill, x]), x, fill)
