"""Marks that intervals need beside bounds: what a credit does not show, and where NaN may be.

A credit tells how q_tot grows only where q_tot is continuous in agent_qs and no gradient is
stopped: `sum(q) - 10 · [q_0 > 0]` has credits of 1 and still falls. Such a value is marked
`HIDES_QS`. A comparison with NaN is false, whatever the bounds say, so that a value which may be
NaN for finite inputs is marked `MAY_BE_NAN`. Both are bits of `Value.depends`: they spread to
whatever is computed from the value.
"""

from typing import Any

import numpy as np

from qllm_jax.tfcaf.code import words
from qllm_jax.verify.intervals import DEPENDS_ON_QS, HIDES_QS, MAY_BE_NAN, Value

# jax.nn's own, continuous although they choose by comparisons; ours are never compiled by name
_CONTINUOUS_FUNCTIONS = frozenset(
    words(
        "celu elu gelu hard_tanh leaky_relu log_sigmoid mish relu relu6 selu silu soft_sign "
        "softplus squareplus"
    )
)
_JUMPS = frozenset(words("atan2 ceil floor nextafter rem round sign stop_gradient"))
_LOW_END = {"log": 0.0, "log1p": -1.0, "rsqrt": 0.0}  # must be above
_LOW_END_INCLUDED = {"sqrt": 0.0, "acosh": 1.0}  # may be equal
_WITHIN_ONE = ("asin", "acos", "atanh", "erf_inv")


def is_continuous_function(eqn: Any) -> bool:
    """Whether an equation calls a function of JAX whose gradient tells how it grows."""
    name = str(eqn.params.get("name", ""))
    return eqn.primitive.name.startswith("custom_jvp") or (
        eqn.primitive.name in ("jit", "pjit") and name in _CONTINUOUS_FUNCTIONS
    )


def unmarked(values: list[Value], inputs: list[Value]) -> list[Value]:
    """The values of a continuous function: only what its inputs hide is hidden."""
    hidden = any(value.depends & HIDES_QS for value in inputs)
    return values if hidden else [value.with_depends(value.depends & ~HIDES_QS) for value in values]


def marks(eqn: Any, inputs: list[Value], known: bool) -> list[int]:
    """Bits to add to what each result of an equation depends on.

    Args:
        eqn: The equation.
        inputs: Its operands.
        known: There is a rule for it.
    """
    on_qs = any(value.depends & DEPENDS_ON_QS for value in inputs)
    nan = MAY_BE_NAN if not known or _may_be_nan(eqn, inputs) else 0
    jump = HIDES_QS if on_qs and (not known or _jumps(eqn, inputs)) else 0
    found = []
    for position, variable in enumerate(eqn.outvars):
        if not np.issubdtype(variable.aval.dtype, np.floating):
            found.append(HIDES_QS if on_qs else 0)
        elif eqn.primitive.name == "sort" and position > 0 and on_qs:  # moved as the keys say
            found.append(nan | HIDES_QS)
        else:
            found.append(nan | jump)
    return found


def _jumps(eqn: Any, inputs: list[Value]) -> bool:
    name = eqn.primitive.name
    if name in ("div", "integer_pow"):  # 1 / q grows on both sides of its pole, and falls across it
        return bool(inputs[-1].depends & DEPENDS_ON_QS) and _divides_by_zero(eqn, inputs)
    return name in _JUMPS


def _may_be_nan(eqn: Any, inputs: list[Value]) -> bool:
    name, low = eqn.primitive.name, inputs[0].hull[0] if inputs else 0.0
    if name in ("div", "rem", "integer_pow"):
        return _divides_by_zero(eqn, inputs)
    if name in _LOW_END:
        return low <= _LOW_END[name]
    if name in _LOW_END_INCLUDED:
        return low < _LOW_END_INCLUDED[name]
    if name in _WITHIN_ONE:
        return low < -1 or inputs[0].hull[1] > 1
    if name == "pow":
        return low < 0 or (low == 0 and inputs[1].hull[0] < 0)
    if name == "gather" and "FILL" in str(eqn.params.get("mode")):
        return not inputs[1].exact
    return False


def _divides_by_zero(eqn: Any, inputs: list[Value]) -> bool:
    if eqn.primitive.name == "integer_pow" and eqn.params["y"] >= 0:
        return False
    divisor = inputs[-1]
    return bool(np.any((divisor.lo <= 0) & (divisor.hi >= 0)))


def may_be_nan(*values: Value) -> bool:
    """Whether one of them may be NaN although the inputs are finite."""
    return any(value.depends & MAY_BE_NAN for value in values)
