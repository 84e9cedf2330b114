"""How elementwise primitives act on intervals. One without a rule may give anything."""

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
    Comparison,
    Relation,
    Value,
    divide,
    dtype_range,
    join,
    make_value,
    multiply,
    product,
)
from qllm_jax.verify.marks import may_be_nan

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


# --- arithmetic ---------------------------------------------------------------------------


def _kept(value: Value, shape: tuple[int, ...], *kinds: str) -> tuple[Relation, ...]:
    """Relations of these kinds that survive when the value becomes another of `shape`."""
    if len(shape) != len(value.shape):
        return ()
    return tuple(r for r in value.relations if r.kind in kinds)


def _shifted(value: Value, shift: Value, shape: tuple[int, ...]) -> tuple[Relation, ...]:
    """Relations of `value` that `value + shift` keeps."""
    lo, hi = shift.hull
    kinds = (["above"] if lo >= 0 else []) + (["below"] if hi <= 0 else [])
    return _kept(value, shape, *kinds)


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
    kept = x.apart if x.apart is not None and x.apart.kind == "product" else None
    return plain(lo, np.maximum(np.abs(x.lo), np.abs(x.hi)), apart=kept)


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
def _max(params: Any, x: Value, y: Value) -> Value:
    lo, hi = np.maximum(x.lo, y.lo), np.maximum(x.hi, y.hi)
    relations = _kept(x, lo.shape, "above") + _kept(y, lo.shape, "above")
    return plain(lo, hi, relations=relations)


@rule("min")
def _min(params: Any, x: Value, y: Value) -> Value:
    lo, hi = np.minimum(x.lo, y.lo), np.minimum(x.hi, y.hi)
    relations = _kept(x, lo.shape, "below") + _kept(y, lo.shape, "below")
    return plain(lo, hi, relations=relations)


@rule("clamp")
def _clamp(params: Any, low: Value, x: Value, high: Value) -> Value:
    return _min(params, _max(params, x, low), high)


# --- truth --------------------------------------------------------------------------------


def _verdict(always: np.ndarray, never: np.ndarray, **known: Any) -> Value:
    return plain(np.where(always, 1.0, 0.0), np.where(never, 0.0, 1.0), **known)


def _known(*values: Value) -> bool:
    """None is NaN, of which every comparison but `!=` is false."""
    return not may_be_nan(*values)


@rule("lt")
def _lt(params: Any, x: Value, y: Value) -> Value:
    return _verdict((x.hi < y.lo) & _known(x, y), x.lo >= y.hi, comparison=Comparison("lt", x, y))


@rule("le")
def _le(params: Any, x: Value, y: Value) -> Value:
    return _verdict((x.hi <= y.lo) & _known(x, y), x.lo > y.hi, comparison=Comparison("le", x, y))


@rule("gt")
def _gt(params: Any, x: Value, y: Value) -> Value:
    return _verdict((x.lo > y.hi) & _known(x, y), x.hi <= y.lo, comparison=Comparison("gt", x, y))


@rule("ge")
def _ge(params: Any, x: Value, y: Value) -> Value:
    return _verdict((x.lo >= y.hi) & _known(x, y), x.hi < y.lo, comparison=Comparison("ge", x, y))


@rule("eq")
def _eq(params: Any, x: Value, y: Value) -> Value:
    if x is y:  # also how a NaN is looked for
        return make_value(int(_known(x)), 1, x.shape)
    same = (x.lo == x.hi) & (y.lo == y.hi) & (x.lo == y.lo) & np.isfinite(x.lo) & _known(x, y)
    return _verdict(same, (x.hi < y.lo) | (x.lo > y.hi))


@rule("ne")
def _ne(params: Any, x: Value, y: Value) -> Value:
    equal = _eq(params, x, y)
    return plain(1 - equal.hi, 1 - equal.lo)


@rule("and")
def _and(params: Any, x: Value, y: Value) -> Value:
    if max(x.hull[1], y.hull[1]) > 1 or min(x.hull[0], y.hull[0]) < 0:
        return make_value(-np.inf, np.inf, np.broadcast_shapes(x.shape, y.shape))
    return plain(np.minimum(x.lo, y.lo), np.minimum(x.hi, y.hi))


@rule("or")
def _or(params: Any, x: Value, y: Value) -> Value:
    if max(x.hull[1], y.hull[1]) > 1 or min(x.hull[0], y.hull[0]) < 0:
        return make_value(-np.inf, np.inf, np.broadcast_shapes(x.shape, y.shape))
    return plain(np.maximum(x.lo, y.lo), np.maximum(x.hi, y.hi))


_NEGATION: dict[str, Any] = {"lt": "ge", "ge": "lt", "gt": "le", "le": "gt"}


@rule("select_n")
def _select_n(params: Any, which: Value, *cases: Value) -> Value:
    """`where`, with each case narrowed by the comparison that picks it."""
    if len(cases) == 1:
        return cases[0]
    if len(cases) != 2:
        joined = join(list(cases))
        return joined.with_depends(joined.depends | which.depends)
    comparison, depends = which.comparison, 0
    if comparison is not None and which.shape == cases[0].shape:
        left, right = comparison.left, comparison.right
        chosen = (cases[1], cases[0])  # picked where the comparison holds, and where it does not
        # A comparison with NaN is false: what is picked then is not narrowed by the other side.
        known = all(side is chosen[1] or _known(side) for side in (left, right))
        straight = _alike(chosen[0], left) and _alike(chosen[1], right)
        if known and (straight or (_alike(chosen[0], right) and _alike(chosen[1], left))):
            larger = (comparison.op in ("gt", "ge")) == straight
            found = (_max if larger else _min)(params, left, right)
            return dataclasses.replace(found, depends=left.depends | right.depends)
        if _meet_at_zero(chosen, left, right):  # no jump, whatever the comparison says
            depends = left.depends
        if_true = _narrowed(chosen[0], comparison.op, left, right)
        if_false = chosen[1]
        if known:
            if_false = _narrowed(if_false, _NEGATION[comparison.op], left, right)
        relations = _guarded(chosen, comparison) if _known(left, right) else ()
    else:
        if_true, if_false, relations = cases[1], cases[0], ()
    lo = np.where(which.lo >= 1, if_true.lo, np.minimum(if_true.lo, if_false.lo))
    hi = np.where(which.lo >= 1, if_true.hi, np.maximum(if_true.hi, if_false.hi))
    never = which.hi <= 0
    return plain(np.where(never, if_false.lo, lo), np.where(never, if_false.hi, hi),
                  relations=relations, depends=depends)  # fmt: skip


def _alike(a: Value, b: Value) -> bool:
    """The same array, or the same constants."""
    return a is b or (a.exact and b.exact and bool(np.all(a.lo == b.lo)))


def _meet_at_zero(cases: tuple[Value, Value], left: Value, right: Value) -> bool:
    """Both cases are multiples of what is compared with zero, as in a leaky relu."""
    zero = right.exact and not right.lo.any()
    return zero and all(case is left or case.multiple_of is left for case in cases)


def _narrowed(case: Value, op: str, left: Value, right: Value) -> Value:
    """Bounds of a case that is picked only where `left op right`."""
    if case is left:
        at_most, at_least = op in ("lt", "le"), op in ("gt", "ge")
        bound = right
    elif case is right:
        at_most, at_least = op in ("gt", "ge"), op in ("lt", "le")
        bound = left
    else:
        return case
    lo = np.maximum(case.lo, bound.lo) if at_least else case.lo
    hi = np.minimum(case.hi, bound.hi) if at_most else case.hi
    return plain(lo, hi, depends=case.depends)


def _guarded(chosen: tuple[Value, Value], comparison: Comparison) -> tuple[Relation, ...]:
    """`where(x > c, x, k)` with k >= c stays above whatever x is above: a safe divisor."""
    kept, other = chosen
    threshold = comparison.right
    if comparison.op in ("gt", "ge") and kept is comparison.left and (
        other.hull[0] >= threshold.hull[1]
    ):  # fmt: skip
        return _kept(kept, kept.shape, "above")
    return ()


@rule("not")
def _not(params: Any, x: Value) -> Value:
    if x.hull[0] < 0 or x.hull[1] > 1:
        return make_value(-np.inf, np.inf, x.shape)
    flipped = x.comparison
    if flipped is not None:
        flipped = dataclasses.replace(flipped, op=_NEGATION[flipped.op])
    return plain(1 - x.hi, 1 - x.lo, comparison=flipped)


def convert(x: Value, old: np.dtype, new: np.dtype) -> Value:
    """A cast: the same value between floats, truncated and bounded to integers."""
    if new == np.bool_:
        if old == np.bool_:
            return x
        return _verdict((x.lo > 0) | (x.hi < 0), (x.lo == 0) & (x.hi == 0) & _known(x))
    if np.issubdtype(new, np.integer) and not np.issubdtype(old, np.integer) and old != np.bool_:
        lo, hi = dtype_range(new)
        if may_be_nan(x):
            return make_value(lo, hi, x.shape)
        return plain(np.clip(np.trunc(x.lo), lo, hi), np.clip(np.trunc(x.hi), lo, hi))
    return x
