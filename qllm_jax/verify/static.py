"""The second gate: what a program is made of and what it may cost, before it meets numbers.

The program is traced on shapes alone; nothing is computed and nothing allocated, so that an
intermediate of 10¹² elements shows in milliseconds. Every nested program is walked. A primitive
that is not on the list is refused: a new one fails closed.
"""

import dataclasses
import math
from typing import Any

from qllm_jax.jaxprs import equations, nested, product_flops
from qllm_jax.verify.report import Check

MOST_EQUATIONS = 2_000  # of the value's program; 9,000 take 5.5 s to compile
MOST_CREDIT_EQUATIONS = 3 * MOST_EQUATIONS  # of value and credit together
MOST_ELEMENTS = 1 << 18  # of one intermediate, for one state: 1 MiB
MOST_FLOPS = 1_000_000  # for one state, value and credit …
FLOPS_PER_INPUT = 10_000  # … or this many times what a plain sum of the inputs takes
MOST_TRIPS = 10_000  # of one loop


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ELEMENTWISE = _names(
    """
    abs acos acosh add add_any and asin asinh atan atan2 atanh cbrt ceil clamp
    convert_element_type copy copy_p cos cosh digamma div eq eq_to erf erf_inv erfc exp exp2
    expm1 floor ge gt integer_pow is_finite le le_to lgamma log log1p logistic lt lt_to max min
    mul ne neg nextafter not or polygamma pow reduce_precision rem round rsqrt select_n
    shift_left shift_right_arithmetic shift_right_logical sign sin sinh sqrt square
    stop_gradient sub tan tanh xor zeta
    """
)
_ARRAY = _names(
    """
    argmax argmin broadcast_in_dim concatenate cumlogsumexp cummax cummin cumprod cumsum
    dot_general dynamic_slice dynamic_update_slice empty empty2 expand_dims gather iota
    optimization_barrier pad platform_index reduce_and reduce_max reduce_min reduce_or reduce_prod
    reduce_sum reduce_xor reshape rev scatter scatter-add scatter-max scatter-min scatter-mul
    scatter-sub scatter_add scatter_max scatter_min scatter_mul scatter_sub slice sort split
    squeeze stack tile top_k transpose unstack
    """
)
_NESTED = _names(
    """
    closed_call cond core_call custom_jvp_call custom_vjp_call custom_vjp_call_jaxpr jit pjit
    remat remat2 checkpoint scan custom_linear_solve
    """
)
# direct, hence of a fixed number of steps; what iterates (svd, eigh) may not end on a NaN
_SOLVING = _names("cholesky lu lu_pivots_to_permutation triangular_solve")
ALLOWED = _ELEMENTWISE | _ARRAY | _NESTED | _SOLVING

_COSTLY = _names(
    """
    acos acosh asin asinh atan atan2 atanh cbrt cos cosh digamma erf erf_inv erfc exp exp2 expm1
    lgamma log log1p logistic polygamma pow rsqrt sin sinh sqrt tan tanh zeta
    """
)
_MOVES = _names(
    """
    broadcast_in_dim concatenate convert_element_type copy copy_p dynamic_slice empty empty2
    expand_dims iota optimization_barrier pad reshape rev slice split squeeze stop_gradient tile
    transpose
    """
)
_WHY_REFUSED = (
    (("callback", "debug", "infeed", "outfeed", "print"), "reaches out of the program",
     "Compute from agent_qs and state alone."),
    (("random", "threefry", "rng"), "draws random numbers",
     "A credit assignment function is deterministic; remove the randomness."),
    (("while",), "loops until a condition that depends on data",
     "Loop over a range of fixed length, or write it without a loop."),
    (("qr", "eig", "eigh", "svd", "schur", "hessenberg", "householder", "tridiagonal",
      "cholesky_update"), "is a matrix factorisation that iterates or is not unique",
     "Use norms, determinants and inverses, or distances and softmax weights."),
    (("psum", "all_", "axis_index", "ppermute", "pmin", "pmax"), "mixes rows of the batch",
     "Every row must be computed from its own agent_qs and state."),
    (("conv", "reduce_window", "select_and"), "is a convolution",
     "Use sums over slices instead."),
    (("custom_call", "ffi", "xla_call", "pallas", "tpu", "custom_batching", "custom_vmap"),
     "hides what it does", "Use plain array operations."),
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Cost:
    """What one evaluation takes.

    Attributes:
        equations: In the program with all nested ones, each counted once.
        largest: Elements of the largest array.
        flops: Floating-point operations; loops times their length, a transcendental counts ten.
        trips: Longest loop.
    """

    equations: int
    largest: int
    flops: float
    trips: int


def cost(jaxpr: Any) -> Cost:
    """Add up an open jaxpr."""
    count, largest, flops, trips = 0, 0, 0.0, 0
    for variable in (*jaxpr.invars, *jaxpr.constvars):
        largest = max(largest, math.prod(variable.aval.shape))
    for eqn in jaxpr.eqns:
        parts = [cost(inner) for inner in nested(eqn)]
        repeats = eqn.params["length"] if eqn.primitive.name == "scan" else 1
        if eqn.primitive.name == "scan":
            trips = max(trips, repeats)
        # a reduction's or scatter's own little program is its equation's cost
        structural = eqn.primitive.name in _NESTED
        count += 1 + (sum(p.equations for p in parts) if structural else 0)
        largest = max([largest, *(math.prod(v.aval.shape) for v in eqn.outvars),
                       *(p.largest for p in parts)])  # fmt: skip
        trips = max([trips, *(p.trips for p in parts)])
        if structural:
            flops += repeats * sum(p.flops for p in parts)
        else:
            flops += _flops(eqn)
    return Cost(count, largest, flops, trips)


def _flops(eqn: Any) -> float:
    name = eqn.primitive.name
    made = sum(math.prod(v.aval.shape) for v in eqn.outvars)
    read = max([0, *(math.prod(v.aval.shape) for v in eqn.invars)])
    if name in _MOVES:
        return 0.0
    if name == "dot_general":
        return product_flops(eqn)
    if name in _SOLVING:
        return read * max([1, *(v.aval.shape[-1] for v in eqn.invars if v.aval.shape)])
    if name in ("sort", "top_k"):
        return read * max(1.0, math.log2(max(read, 2)))
    return (10.0 if name in _COSTLY else 1.0) * max(made, read if name in _ARRAY else made)


def output_checks(value_jaxpr: Any) -> list[Check]:
    """Is the result one float32 number?"""
    outputs = value_jaxpr.out_avals
    shapes = [tuple(a.shape) for a in outputs]
    shape_ok = shapes == [()]
    if len(outputs) != 1:
        text = f"the function returns {len(outputs)} values; expected one q_tot. Return only q_tot."
    elif not shape_ok:
        text = (
            f"the function returns shape {shapes[0]} for one state; expected () (one q_tot). Sum "
            "over the agent axis."
        )
    else:
        text = "one number for one state."
    checks = [Check("output-shape", shape_ok, text)]
    if not outputs:
        return checks
    dtype = outputs[0].dtype
    good = dtype == "float32"
    fix = "" if good else " Compute q_tot from agent_qs in floating point, without casting it."
    checks.append(
        Check("output-dtype", good, f"the result is {dtype}; expected float32.{fix}" if fix
              else "the result is float32.")
    )  # fmt: skip
    return checks


def primitives_check(*jaxprs: Any) -> Check:
    """Is every primitive on the list?"""
    names = {eqn.primitive.name for jaxpr in jaxprs for eqn in equations(jaxpr.jaxpr)}
    refused = sorted(names - ALLOWED)
    effects = sorted({str(effect) for jaxpr in jaxprs for effect in jaxpr.effects})
    if not refused and effects:
        return Check("primitives", False, f"the function has side effects ({', '.join(effects)}). "
                     "Compute from agent_qs and state alone.")  # fmt: skip
    if not refused:
        return Check("primitives", True, f"{len(names)} kinds of operation, all of them known.")
    return Check("primitives", False, " ".join(_why(name) for name in refused[:3]))


def _why(name: str) -> str:
    for parts, reason, fix in _WHY_REFUSED:
        if any(name == part or (len(part) > 3 and part in name) for part in parts):
            return f"`{name}` {reason}. {fix}"
    return f"`{name}` is not among the operations that are allowed. Write it with plain array \
operations."


def size_check(value_jaxpr: Any, credit_jaxpr: Any, num_agents: int, state_dim: int) -> Check:
    """Are program, arrays and arithmetic small enough to train with?"""
    value, credit = cost(value_jaxpr.jaxpr), cost(credit_jaxpr.jaxpr)
    inputs = num_agents + state_dim
    allowed_flops = max(MOST_FLOPS, FLOPS_PER_INPUT * inputs)
    allowed_elements = max(MOST_ELEMENTS, 64 * inputs)
    largest, trips = max(value.largest, credit.largest), max(value.trips, credit.trips)
    times = credit.flops / max(inputs, 1)
    problems = []
    if value.equations > MOST_EQUATIONS or credit.equations > MOST_CREDIT_EQUATIONS:
        problems.append(
            f"the program has {value.equations} operations (with its credit {credit.equations}); "
            f"at most {MOST_EQUATIONS} ({MOST_CREDIT_EQUATIONS}) are allowed. Replace loops over "
            "elements by array operations."
        )
    if largest > allowed_elements:
        problems.append(
            f"one intermediate array has {largest:,} elements for a single state; at most "
            f"{allowed_elements:,} are allowed. Avoid building all combinations."
        )
    if credit.flops > allowed_flops:
        problems.append(
            f"one value with its credits takes {credit.flops:,.0f} floating-point operations, "
            f"{times:,.0f} times a plain sum of the inputs; at most {allowed_flops:,} are allowed. "
            "Compute fewer pairs and shorter loops."
        )
    if trips > MOST_TRIPS:
        problems.append(
            f"a loop runs {trips:,} times; at most {MOST_TRIPS:,} are allowed. Shorten it."
        )
    text = " ".join(problems) or (
        f"{value.equations} operations, largest array {largest:,} elements, {times:,.1f} times "
        "the arithmetic of a plain sum of the inputs."
    )
    return Check("size", not problems, text)
