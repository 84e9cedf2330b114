"""Interval domain: what is known of an array without its numbers.

A `Value` is a lower and an upper bound of every element, in exact arithmetic and wherever the
result is finite, with the inputs it depends on. Relations between values keep what intervals lose:
`sum(e)` is above each `e >= 0`, so `e / sum(e)` lies in [0, 1]; `max(x)` is above x, so
`max(x) - x` is not negative.
"""

import dataclasses
from typing import Literal

import numpy as np

DEPENDS_ON_QS, DEPENDS_ON_STATE = 1, 2
HIDES_QS, MAY_BE_NAN = 4, 8  # see `marks`
_MOST_ELEMENTS = 4096  # larger arrays keep one interval for all elements


@dataclasses.dataclass(frozen=True, eq=False)
class Relation:
    """The holder is above, below or (in magnitude) within every aligned element of `other`.

    Attributes:
        kind: "above": holder >= other. "below": holder <= other. "within": |holder| <= other.
        other: The value related to, by identity.
        axes: For each axis of the holder, the axis of `other` that it runs along, or None.
        reduced: Axes of `other` over which the relation holds for every element.
    """

    kind: Literal["above", "below", "within"]
    other: "Value"
    axes: tuple[int | None, ...]
    reduced: frozenset[int] = frozenset()

    def aligned(self, shape: tuple[int, ...]) -> bool:
        """Whether the holder of `shape`, broadcast against `other`, meets its own elements."""
        if len(shape) != self.other.lo.ndim:
            return all(axis in self.reduced for axis in range(self.other.lo.ndim))
        return all(
            axis in self.reduced or size == 1 or self.axes[axis] == axis
            for axis, size in enumerate(self.other.lo.shape)
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """A boolean value is `left op right`, elementwise."""

    op: Literal["lt", "le", "gt", "ge"]
    left: "Value"
    right: "Value"


@dataclasses.dataclass(frozen=True, eq=False)
class Apart:
    """The holder `x - m`, or `exp(x - m)`, with one number m: as in a log-sum-exp, m may cancel.

    Attributes:
        kind: "sum": holder + m does not depend on m. "product": holder · e^m does not.
        shift: m, by identity.
        depends: What x depends on.
    """

    kind: Literal["sum", "product"]
    shift: "Value"
    depends: int


@dataclasses.dataclass(frozen=True, eq=False)
class Value:
    """Bounds of one array; two values are the same array only if they are the same object.

    Attributes:
        lo: Lower bounds, float64, the array's shape.
        hi: Upper bounds.
        depends: Bits of `DEPENDS_ON_QS`, `DEPENDS_ON_STATE`, `HIDES_QS`, `MAY_BE_NAN`.
        relations: What is known against other values.
        comparison: How a boolean came about, where known.
        sign_of: The value whose sign this is, where known.
        apart: A number that was taken away, where it matters.
        multiple_of: The value that this is a constant times of, where known.
        same_as: The one number that this holds in another shape.
    """

    lo: np.ndarray
    hi: np.ndarray
    depends: int = 0
    relations: tuple[Relation, ...] = ()
    comparison: Comparison | None = None
    sign_of: "Value | None" = None
    apart: Apart | None = None
    multiple_of: "Value | None" = None
    same_as: "Value | None" = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self.lo.shape

    @property
    def exact(self) -> bool:
        """Every element is known."""
        return bool(np.all(self.lo == self.hi) and np.all(np.isfinite(self.lo)))

    @property
    def hull(self) -> tuple[float, float]:
        """Bounds of all elements together."""
        if self.lo.size == 0:
            return 0.0, 0.0
        return float(self.lo.min()), float(self.hi.max())

    @property
    def number(self) -> "Value | None":
        """The one number that all elements are, however it is shaped; None where they differ."""
        return self.same_as or (self if self.lo.size == 1 else None)

    def with_depends(self, depends: int) -> "Value":
        """The same array, and the same object where it depends on nothing else."""
        return self if depends == self.depends else dataclasses.replace(self, depends=depends)

    def relates(self, kind: str, other: "Value") -> bool:
        """Whether this value is known to be above, below or within `other`, elementwise."""
        return any(r.kind == kind and r.other is other and r.aligned(self.shape)
                   for r in self.relations)  # fmt: skip


def make_value(lo, hi, shape: tuple[int, ...], depends: int = 0, **known) -> Value:
    """A value; NaN bounds become infinite, arrays past a size one interval for all elements."""
    lo, hi = np.asarray(lo, np.float64), np.asarray(hi, np.float64)
    lo, hi = np.where(np.isnan(lo), -np.inf, lo), np.where(np.isnan(hi), np.inf, hi)
    if int(np.prod(shape)) > _MOST_ELEMENTS and lo.size > 0:
        lo, hi = lo.min(), hi.max()
    return Value(np.broadcast_to(lo, shape), np.broadcast_to(hi, shape), depends, **known)


def top(shape: tuple[int, ...], dtype: np.dtype, depends: int) -> Value:
    """Anything that the dtype holds."""
    lo, hi = dtype_range(dtype)
    return make_value(lo, hi, shape, depends)


def dtype_range(dtype: np.dtype) -> tuple[float, float]:
    """Smallest and largest number of a dtype; infinite for floats."""
    if dtype == np.bool_:
        return 0.0, 1.0
    if np.issubdtype(dtype, np.integer):
        info = np.iinfo(dtype)
        return float(info.min), float(info.max)
    return -np.inf, np.inf


def join(values: list[Value]) -> Value:
    """Bounds that hold whichever of the values it is."""
    depends = 0
    for value in values:
        depends |= value.depends
    lo = np.minimum.reduce([np.broadcast_to(v.lo, values[0].shape) for v in values])
    hi = np.maximum.reduce([np.broadcast_to(v.hi, values[0].shape) for v in values])
    return Value(lo, hi, depends)


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Elementwise product with 0 · inf = 0, which is what a bound means."""
    with np.errstate(all="ignore"):
        out = a * b
    return np.where((a == 0) | (b == 0), 0.0, out)


def multiply(a: Value, b: Value) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of a product."""
    corners = [product(x, y) for x in (a.lo, a.hi) for y in (b.lo, b.hi)]
    return np.minimum.reduce(corners), np.maximum.reduce(corners)


def divide(a: Value, b: Value) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of a quotient wherever it is finite; a divisor may touch zero but not cross it."""
    with np.errstate(all="ignore"):
        positive, negative = b.lo >= 0, b.hi <= 0
        # 1 / [lo, hi]; an end at zero is infinity on the divisor's side.
        inverse_lo = np.where(positive, 1 / np.where(b.hi == 0, np.nan, b.hi), -np.inf)
        inverse_hi = np.where(positive & (b.lo > 0), 1 / np.where(b.lo == 0, 1, b.lo), np.inf)
        inverse_lo = np.where(negative, np.where(b.hi < 0, 1 / b.hi, -np.inf), inverse_lo)
        inverse_hi = np.where(negative, 1 / np.where(b.lo == 0, np.nan, b.lo), inverse_hi)
        # A divisor that is only zero gives no finite result; 0 is as good as any bound.
        inverse_lo = np.where(np.isnan(inverse_lo), 0.0, inverse_lo)
        inverse_hi = np.where(np.isnan(inverse_hi), 0.0, inverse_hi)
    inverse = Value(inverse_lo, inverse_hi)
    return multiply(a, inverse)


def moved(value: Value, axes: list[int | None]) -> tuple[Relation, ...]:
    """Relations of a value after its axes moved; `axes[j]` is the old axis of new axis j."""
    return tuple(
        dataclasses.replace(r, axes=tuple(None if a is None else r.axes[a] for a in axes))
        for r in value.relations
    )
