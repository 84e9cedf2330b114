"""How elementwise arithmetic acts on intervals. One without a rule may give anything.

Called by `abstract`; `choice_rules` and `array_rules` build on it.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import numpy as np
from jax import lax

from qllm_jax.verify.intervals import (
    HIDES_QS,
    MAY_BE_NAN,
    Apart,
    Relation,
    Value,
    divide,
    make_value,
    multiply,
    product,
)

Rule = Callable[..., Value | list[Value]]
_R = TypeVar("_R", bound=Callable)
ELEMENTWISE: dict[str, Rule] = {}

_half_pi = math.pi / 2
_TINY = np.nextafter(0.0, 1.0)  # an exponential is above zero


def registrar(table: dict[str, Rule]) -> Callable[..., Callable[[_R], _R]]:
    """A decorator that enters `(params, *inputs) -> Value` for primitives into a table.

    What a result depends on is filled in by the interpreter: on all that its operands do, unless
    the rule knows better.
    """

    def rule(*names: str) -> Callable[[_R], _R]:
        def register(fn: _R) -> _R:
            table.update(dict.fromkeys(names, fn))
            return fn

        return register

    return rule


rule = registrar(ELEMENTWISE)


def _erf(x: np.ndarray) -> np.ndarray:
    return np.vectorize(math.erf, otypes=[np.float64])(x)


_INCREASING: dict[str, Callable] = {
    "expm1": np.expm1, "cbrt": np.cbrt, "tanh": np.tanh,
    "floor": np.floor, "ceil": np.ceil, "asinh": np.arcsinh,
    "atan": np.arctan, "sinh": np.sinh, "erf": _erf, "reduce_precision": lambda x: x,
    "logistic": lambda x: 1 / (1 + np.exp(-x)),
    "log1p": lambda x: np.log1p(np.maximum(x, -1)),
    "sqrt": lambda x: np.sqrt(np.maximum(x, 0)),
}  # fmt: skip
_DECREASING: dict[str, Callable] = {
    "neg": np.negative,
    "erfc": lambda x: 1 - _erf(x),
    "rsqrt": lambda x: 1 / np.sqrt(np.maximum(x, 0)),
}
_RANGES = {
    "sin": (-1, 1), "cos": (-1, 1), "asin": (-_half_pi, _half_pi), "acos": (0, math.pi),
    "atan2": (-math.pi, math.pi), "cosh": (1, np.inf), "acosh": (0, np.inf),
    "is_finite": (0, 1),
}  # fmt: skip


def plain(lo: Any, hi: Any, **known: Any) -> Value:
    """A value of `lo`'s shape."""
    lo = np.asarray(lo, np.float64)
    return make_value(lo, hi, lo.shape, **known)


def _as(x: Value, old: str, new: Literal["sum", "product"]) -> Apart | None:
    """What is apart of the exponential or logarithm of x."""
    if x.apart is None or x.apart.kind != old:
        return None
    return dataclasses.replace(x.apart, kind=new)


def _register_tables() -> None:
    for name, fn in _INCREASING.items():
        ELEMENTWISE[name] = lambda params, x, fn=fn: plain(fn(x.lo), fn(x.hi))
    for name, fn in _DECREASING.items():
        ELEMENTWISE[name] = lambda params, x, fn=fn: plain(fn(x.hi), fn(x.lo))
    for name, (lo, hi) in _RANGES.items():
        ELEMENTWISE[name] = lambda params, *xs, lo=lo, hi=hi: make_value(
            lo, hi, np.broadcast_shapes(*(x.shape for x in xs))
        )
    for name, fn in (("exp", np.exp), ("exp2", np.exp2)):
        ELEMENTWISE[name] = lambda params, x, fn=fn: plain(
            np.maximum(fn(x.lo), _TINY), np.maximum(fn(x.hi), _TINY), apart=_as(x, "sum", "product")
        )
    ELEMENTWISE["log"] = lambda params, x: plain(
        np.log(np.maximum(x.lo, 0)), np.log(np.maximum(x.hi, 0)), apart=_as(x, "product", "sum")
    )
    ELEMENTWISE["sign"] = lambda params, x: plain(np.sign(x.lo), np.sign(x.hi), sign_of=x)


_register_tables()


@rule("round")
def _round(params: Any, x: Value) -> Value:
    """To the nearest whole number; halves as `rounding_method` says."""
    away = params["rounding_method"] == lax.RoundingMethod.AWAY_FROM_ZERO
    return plain(*((_half_away(end) if away else np.round(end)) for end in (x.lo, x.hi)))


def _half_away(x: np.ndarray) -> np.ndarray:
    return np.sign(x) * np.floor(np.abs(x) + 0.5)


def kept(value: Value, shape: tuple[int, ...], *kinds: str) -> tuple[Relation, ...]:
    """Relations of these kinds that survive when the value becomes another of `shape`."""
    if len(shape) != len(value.shape):
        return ()
    return tuple(r for r in value.relations if r.kind in kinds)


def _shifted(value: Value, shift: Value, shape: tuple[int, ...]) -> tuple[Relation, ...]:
    """Relations of `value` that `value + shift` keeps."""
    lo, hi = shift.hull
    kinds = (["above"] if lo >= 0 else []) + (["below"] if hi <= 0 else [])
    return kept(value, shape, *kinds)


def _negated(value: Value) -> Value:
    return Value(-value.hi, -value.lo, value.depends)


@rule("add", "add_any")
def _add(params: Any, x: Value, y: Value) -> Value:
    lo, hi = x.lo + y.lo, x.hi + y.hi
    if x.relates("within", y) or y.relates("within", x):
        lo = np.maximum(lo, 0)
    shape = lo.shape
    depends = 0
    for a, b in ((x, y), (y, x)):
        if a.apart is not None and a.apart.kind == "sum" and b.number is a.apart.shift:
            depends = a.apart.depends | ((a.depends | b.depends) & MAY_BE_NAN)
    return plain(lo, hi, relations=_shifted(x, y, shape) + _shifted(y, x, shape), depends=depends)


@rule("sub")
def _sub(params: Any, x: Value, y: Value) -> Value:
    lo, hi = x.lo - y.hi, x.hi - y.lo
    if x.relates("above", y) or y.relates("below", x) or y.relates("within", x) or _spread(x, y):
        lo = np.maximum(lo, 0)
    if x.relates("below", y) or y.relates("above", x) or x.relates("within", y) or _spread(y, x):
        hi = np.minimum(hi, 0)
    if x is y:
        lo, hi = np.zeros_like(lo), np.zeros_like(hi)
    shift = y.number if y.depends & HIDES_QS else None
    apart = Apart("sum", shift, x.depends) if shift is not None else None
    return plain(lo, hi, relations=_shifted(x, _negated(y), lo.shape), apart=apart)


def _spread(x: Value, y: Value) -> bool:
    """x is a maximum and y a minimum of the same elements."""
    return x.shape == y.shape and any(
        a.kind == "above" and b.kind == "below" and a.other is b.other and a.axes == b.axes
        and a.reduced == b.reduced and a.other.lo.size > 0
        for a in x.relations for b in y.relations
    )  # fmt: skip


@rule("mul")
def _mul(params: Any, x: Value, y: Value) -> Value:
    if x is y:
        return _square(params, x)
    for a, b in ((x, y), (y, x)):
        if a.sign_of is b:  # |b|, as a translated `abs` spells it
            return dataclasses.replace(_abs(params, b), depends=b.depends)
    lo, hi = multiply(x, y)
    relations: tuple[Relation, ...] = ()
    of = x if y.exact else y if x.exact else None
    for a, b in ((x, y), (y, x)):
        if a.hull[0] >= 0 and max(-b.hull[0], b.hull[1]) <= 1 and a.shape == lo.shape:
            relations += (Relation("within", a, tuple(range(lo.ndim))),)
    return plain(lo, hi, relations=relations, multiple_of=of)


@rule("div")
def _div(params: Any, x: Value, y: Value) -> Value:
    lo, hi = divide(x, y)
    if x.hull[0] >= 0 and y.relates("above", x):
        lo, hi = np.maximum(lo, 0), np.minimum(hi, 1)
    return plain(lo, hi)


@rule("rem")
def _rem(params: Any, x: Value, y: Value) -> Value:
    """Sign of the dividend, magnitude below both."""
    largest = np.minimum(
        np.maximum(np.abs(y.lo), np.abs(y.hi)), np.maximum(np.abs(x.lo), np.abs(x.hi))
    )
    return plain(np.where(x.lo >= 0, 0, -largest), np.where(x.hi <= 0, 0, largest))


@rule("abs")
def _abs(params: Any, x: Value) -> Value:
    lo = np.where((x.lo <= 0) & (x.hi >= 0), 0, np.minimum(np.abs(x.lo), np.abs(x.hi)))
    apart = x.apart if x.apart is not None and x.apart.kind == "product" else None
    return plain(lo, np.maximum(np.abs(x.lo), np.abs(x.hi)), apart=apart)


@rule("square")
def _square(params: Any, x: Value) -> Value:
    magnitude = _abs(params, x)
    return plain(product(magnitude.lo, magnitude.lo), product(magnitude.hi, magnitude.hi))


@rule("integer_pow")
def _integer_pow(params: Any, x: Value) -> Value:
    power = params["y"]
    if power < 0:
        positive = _integer_pow({"y": -power}, x)
        one = np.ones(x.shape)
        return plain(*divide(Value(one, one), positive))
    base = x if power % 2 else _abs(params, x)
    return plain(base.lo**power, base.hi**power)


@rule("pow")
def _pow(params: Any, x: Value, y: Value) -> Value:
    shape = np.broadcast_shapes(x.shape, y.shape)
    if x.hull[0] < 0:
        return make_value(-np.inf, np.inf, shape)
    if y.exact and y.hull[0] >= 0:
        return plain(x.lo**y.lo, x.hi**y.hi)
    return make_value(0, np.inf, shape)


@rule("max")
def larger(params: Any, x: Value, y: Value) -> Value:
    """The larger of two values, elementwise."""
    lo, hi = np.maximum(x.lo, y.lo), np.maximum(x.hi, y.hi)
    relations = kept(x, lo.shape, "above") + kept(y, lo.shape, "above")
    return plain(lo, hi, relations=relations)


@rule("min")
def smaller(params: Any, x: Value, y: Value) -> Value:
    """The smaller of two values, elementwise."""
    lo, hi = np.minimum(x.lo, y.lo), np.minimum(x.hi, y.hi)
    relations = kept(x, lo.shape, "below") + kept(y, lo.shape, "below")
    return plain(lo, hi, relations=relations)


@rule("clamp")
def _clamp(params: Any, low: Value, x: Value, high: Value) -> Value:
    return smaller(params, larger(params, x, low), high)
