"""How comparisons, logic, choices and casts act on intervals. One without a rule may give anything.

Called by `abstract`.
"""

import dataclasses
from typing import Any

import numpy as np

from qllm_jax.verify.intervals import (
    Comparison,
    Relation,
    Value,
    dtype_range,
    join,
    make_value,
)
from qllm_jax.verify.marks import may_be_nan
from qllm_jax.verify.rules import Rule, kept, larger, plain, registrar, smaller

CHOICES: dict[str, Rule] = {}
rule = registrar(CHOICES)


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
            is_larger = (comparison.op in ("gt", "ge")) == straight
            found = (larger if is_larger else smaller)(params, left, right)
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
    guarded, other = chosen
    threshold = comparison.right
    if comparison.op in ("gt", "ge") and guarded is comparison.left and (
        other.hull[0] >= threshold.hull[1]
    ):  # fmt: skip
        return kept(guarded, guarded.shape, "above")
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
