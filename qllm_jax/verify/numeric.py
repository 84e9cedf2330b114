"""Questions about a program as such: finite, in range, independent, deterministic, the original's.

Each function takes the points and the measurement, and returns `Check`s with a sentence for whoever
wrote the function. Called by `verifier`.
"""

from collections.abc import Callable

import numpy as np

from qllm_jax.verify.measurement import Measurement, group_rows, unequal
from qllm_jax.verify.points import NUM_LARGE, SAMPLES, Points
from qllm_jax.verify.report import Check

TOLERANCE = 1e-4  # between eager, jit and vmap, relative to the terms that are added up
REFERENCE_TOLERANCE = 1e-5

# --- finite -------------------------------------------------------------------------------

_PLACES = {
    "states": ("", "states of the task", "Guard divisions, logarithms and square roots there."),
    "edge": ("-edge", "edge states", "Guard against agents in one place, absent or dead."),
    "zeros": ("-zeros", "inputs of zeros", "Add a small constant to divisors and under roots."),
    "large": ("-large", "large values", "Use softmax or clip before exponentials and powers."),
}


def finite_checks(points: Points, measurement: Measurement) -> list[Check]:
    """Values and credits are finite on every group of points."""
    checks = []
    for group, (suffix, place, fix) in _PLACES.items():
        if group not in points.groups:
            continue
        rows = group_rows(points, group)
        if group == "states" and not points.real:
            place = "random states"
        bad_values = ~np.isfinite(measurement.values[rows])
        bad_credits = ~np.isfinite(measurement.credits[rows]).all(1)
        checks.append(
            _finite_check("value" + suffix, "q_tot", group, place, fix, bad_values, points)
        )
        why = (
            "A value that is only selected away by `where` still spoils the gradient: make its "
            "input safe first. " if not bad_values.any() else ""
        )  # fmt: skip
        name = "the credit ∂q_tot/∂agent_qs"
        checks.append(
            _finite_check("credit" + suffix, name, group, place, why + fix, bad_credits, points)
        )
    return checks


def _finite_check(
    name: str, what: str, group: str, place: str, fix: str, bad: np.ndarray, points: Points
) -> Check:
    """Of a group, in which `bad` marks the rows that are not finite; `place` is how it is told."""
    rows = group_rows(points, group)
    if not bad.any():
        return Check(f"finite-{name}", True, f"{what} is finite on {len(rows)} points: {place}.")
    row = int(rows[np.flatnonzero(bad)[0]])
    where = place
    if group == "edge":
        where = f"edge state {points.edge_names[row - points.groups['edge'].start]!r} and others"
        where = where if bad.sum() > SAMPLES else where.removesuffix(" and others")
    detail = f"{what} is NaN or infinite on {int(bad.sum())} of {len(rows)} points ({where}). {fix}"
    # Ten times a made-up state proves nothing; large agent values in ordinary states do.
    made_up = group == "large" and not points.real and not bad[: NUM_LARGE // 2].any()
    return Check(f"finite-{name}", False, detail, not made_up, points.failing_input(row))


# --- the program as such ------------------------------------------------------------------


def index_check(points: Points, measurement: Measurement) -> Check:
    """Indices that come from data stay inside their arrays."""
    name = "index-range"
    if measurement.excess is None:
        return Check(name, True, "no index that comes from data can leave its array.")
    rows = group_rows(points, "states", "edge")
    outside = measurement.excess[rows] > 0
    if not outside.any():
        return Check(name, True, f"indices from data stayed inside on {len(rows)} points.")
    row = int(rows[np.flatnonzero(outside)[0]])
    detail = (
        f"an index computed from data lies outside its array on {int(outside.sum())} of "
        f"{len(rows)} points (by {int(measurement.excess[rows].max())}); JAX would clamp it "
        "silently. Clip the index to the valid range, or read the right feature of the state."
    )
    failing = points.failing_input(row)
    # Made-up states hold no action ids, so that a few strays there prove nothing.
    required = points.real or float(outside.mean()) > 0.5
    return Check(name, False, detail, required, failing)


def row_check(points: Points, measurement: Measurement) -> Check:
    """A row's result does not change when its neighbour in the batch is NaN."""
    count = len(measurement.again_values)
    tolerance = 1e-5 * measurement.magnitude(points)[:count]
    changed = unequal(measurement.again_values, measurement.beside_values, tolerance)
    changed |= unequal(measurement.again_credits, measurement.beside_credits, tolerance)
    changed[measurement.beside] = False
    if not changed.any():
        return Check(
            "row-independence", True, f"{count - 1} rows unmoved by a NaN row beside them."
        )
    return Check(
        "row-independence", False,
        f"{int(changed.sum())} of {count} rows changed when another row of the batch became NaN. "
        "Compute every row from its own agent_qs and state only; reduce over agents, never over "
        "the batch.",
        failing_input=points.failing_input(int(np.flatnonzero(changed)[0])),
    )  # fmt: skip


def determinism_check(points: Points, measurement: Measurement) -> Check:
    """The same inputs give the same bits, and another process the same program."""
    count = len(measurement.again_values)
    nothing = np.zeros(count)
    changed = unequal(measurement.values[:count], measurement.again_values, nothing)
    changed |= unequal(measurement.credits[:count], measurement.again_credits, nothing)
    if changed.any():
        return Check(
            "determinism", False,
            f"{int(changed.sum())} of {count} results differ when the same inputs are run twice. "
            "Remove anything random or remembered between calls.",
            failing_input=points.failing_input(int(np.flatnonzero(changed)[0])),
        )  # fmt: skip
    if not measurement.same_program:
        return Check(
            "determinism", False,
            "two processes built different programs from the same source. Remove what differs "
            "between processes, such as the order of a set or a hash.",
        )  # fmt: skip
    return Check("determinism", True, f"{count} results equal to the bit; the same program in two "
                 "processes.")  # fmt: skip


def agreement_check(points: Points, measurement: Measurement) -> Check:
    """Eager, jitted and vmapped runs agree."""
    single = np.array(measurement.single)
    tolerance = TOLERANCE * measurement.magnitude(points)[single]
    vmapped, credits = measurement.values[single], measurement.credits[single]
    apart = {
        "jit and vmap": unequal(measurement.jit_values, vmapped, tolerance)
        | unequal(measurement.jit_credits, credits, tolerance),
        "eager and jit": unequal(measurement.eager_values, measurement.jit_values, tolerance),
    }
    for pair, rows in apart.items():
        if rows.any():
            row = int(single[np.flatnonzero(rows)[0]])
            return Check(
                "agreement", False,
                f"{pair} runs differ on {int(rows.sum())} of {len(single)} points. Do not branch "
                "on values in Python, and avoid differences of nearly equal numbers.",
                failing_input=points.failing_input(row),
            )  # fmt: skip
    return Check("agreement", True, f"eager = jit = vmap on {len(single)} points.")


def reference_check(points: Points, measurement: Measurement, reference: Callable) -> Check:
    """Values equal those of the original, run by whoever trusts it."""
    rows = group_rows(points, "states", "edge")
    expected = np.asarray(reference(points.agent_qs[rows], points.states[rows]), np.float64)
    if expected.reshape(-1).shape != rows.shape:
        raise ValueError(f"reference returned shape {expected.shape}; expected ({len(rows)},).")
    tolerance = REFERENCE_TOLERANCE * measurement.magnitude(points)[rows]
    apart = unequal(measurement.values[rows].astype(np.float64), expected.reshape(-1), tolerance)
    if not apart.any():
        return Check("reference", True, f"equal to the original on {len(rows)} points.")
    row = int(np.flatnonzero(apart)[0])
    return Check(
        "reference", False,
        f"differs from the original on {int(apart.sum())} of {len(rows)} points, such as "
        f"{measurement.values[rows][row]:.6g} for {expected.reshape(-1)[row]:.6g}. Use operations "
        "whose result does not depend on the batch or on undefined order.",
        failing_input=points.failing_input(int(rows[row])),
    )  # fmt: skip
