"""Questions about credit: does every agent get some, does it vary, is it of a usable size?

Whether it is ever negative is asked in `igm`. Called by `verifier`.
"""

import numpy as np

from qllm_jax.verify.igm import Analysis
from qllm_jax.verify.measurement import Measurement, finite_rows, group_rows, unequal
from qllm_jax.verify.points import Points, Sample
from qllm_jax.verify.report import Check

CREDITED = 1e-6  # |credit| above which an agent counts as credited
UNIFORM = 1e-3  # spread of credits, relative to the largest, below which they count as uniform
LEAST_TOTAL_CREDIT = 1e-2  # median of Σ|credit|: below, agents learn nothing
MOST_CREDIT_PER_AGENT = 100.0  # a high percentile of Σ|credit| / N: above, values blow up
MOST_OFFSET = 100.0  # median |f(0, state)|: above, the offset drowns the agents' values
SYMMETRY_TOLERANCE = 1e-3  # of relabelled points, relative to the terms that are added up


def credited_check(points: Points, measurement: Measurement) -> Check:
    """Every agent has credit somewhere."""
    rows = finite_rows(measurement, group_rows(points, "states", "edge"))
    if len(rows) == 0:
        return Check("every-agent-credited", True, "not judged: no point has finite credits.")
    largest = np.abs(measurement.credits[rows]).max(0)
    without = np.flatnonzero(largest <= CREDITED)
    if len(without) == 0:
        return Check("every-agent-credited", True, f"every agent has credit, at least "
                     f"{largest.min():.3g} somewhere.")  # fmt: skip
    agents = ", ".join(str(i) for i in without)
    return Check(
        "every-agent-credited", False,
        f"q_tot never depends on agent_qs of agent {agents} (of 0 to {len(largest) - 1}), so "
        "these agents learn nothing. Give every agent a weight that is not always zero.",
        failing_input=points.failing_input(int(rows[0])),
    )  # fmt: skip


def constant_credit_check(points: Points, measurement: Measurement) -> Check:
    """Is it VDN in disguise, or a fixed weighting?"""
    name = "constant-credit"
    rows = finite_rows(measurement, group_rows(points, "states"))
    credits = measurement.credits[rows]
    if len(rows) == 0 or credits.shape[1] < 2:
        return Check(name, True, "not judged: one agent, or no finite credits.", required=False)
    scale = np.maximum(np.abs(credits).max(1), 1e-12)
    fraction = float(((credits.max(1) - credits.min(1)) <= UNIFORM * scale).mean())
    spread = float((credits.max(0) - credits.min(0)).max() / scale.max())
    if fraction >= 0.99:
        return Check(
            name, False,
            f"all agents have the same credit on {fraction:.0%} of the points: this is a plain sum "
            "(VDN). Let the weights depend on the state.", required=False,
            failing_input=points.failing_input(int(rows[0])),
        )  # fmt: skip
    if spread <= UNIFORM:
        return Check(
            name, False,
            f"the credits never change ({_listed(credits[0])}). Let the weights depend on the "
            "state.", required=False, failing_input=points.failing_input(int(rows[0])),
        )  # fmt: skip
    return Check(name, True, f"credits differ between agents and points; uniform on {fraction:.0%} "
                 "of the points.", required=False)  # fmt: skip


def _listed(numbers: np.ndarray) -> str:
    text = ", ".join(f"{x:.3g}" for x in numbers[:8])
    return text + (", …" if len(numbers) > 8 else "")


def state_check(points: Points, measurement: Measurement, analysis: Analysis) -> Check:
    """Does q_tot change with the state?"""
    name = "state-used"
    shared = finite_rows(measurement, points.rows_of(Sample.SHARED))
    values = measurement.values[shared]
    moved = len(values) > 1 and bool(np.ptp(values) > CREDITED * max(1.0, np.abs(values).max()))
    if moved:
        credits = "and credits" if analysis.credit_uses_state else "but no credit"
        return Check(name, True, f"q_tot {credits} depend on the state.", required=False)
    alike = len(np.unique(points.states[shared], axis=0)) < 2
    if analysis.uses_state and alike:
        return Check(name, True, "q_tot reads the state; all states tried are alike.",
                     required=False)  # fmt: skip
    return Check(
        name, False, "q_tot does not change with the state. Read the features that say how much "
        "each agent contributes.", required=False,
        failing_input=points.failing_input(int(points.rows_of(Sample.SHARED)[0])),
    )  # fmt: skip


def scale_checks(points: Points, measurement: Measurement) -> list[Check]:
    """Total credit neither vanishes nor explodes; the offset does not drown the agents' values."""
    rows = finite_rows(measurement, group_rows(points, "states"))
    if len(rows) == 0:
        text = "not judged: no point has finite credits."
        return [Check("credit-scale", True, text), Check("offset", True, text, required=False)]
    num_agents = measurement.credits.shape[1]
    total = np.abs(measurement.credits[rows].astype(np.float64)).sum(1)
    # Made-up states meet poles that a task's states avoid; only their median counts.
    quantile = 0.9 if points.real else 0.5
    median, high = float(np.median(total)), float(np.quantile(total, quantile))
    most = MOST_CREDIT_PER_AGENT * num_agents
    problem, row = "", int(rows[0])
    if median < LEAST_TOTAL_CREDIT:
        row = int(rows[np.argmin(total)])
        problem = (
            f"total credit vanishes: its median is {median:.2g}, below {LEAST_TOTAL_CREDIT:g}. "
            "Normalise the weights so that they sum to about one, or to the number of agents."
        )
    elif high > most:
        row = int(rows[np.argmax(total)])
        problem = (
            f"total credit explodes: {high:.3g} or more on {1 - quantile:.0%} of the points, above "
            f"{most:g}. "
            "Normalise the weights, for example with softmax."
        )
    fine = f"total credit has median {median:.3g} (a plain sum has {num_agents})."
    failing = points.failing_input(row) if problem else None
    check = Check("credit-scale", not problem, problem or fine, failing_input=failing)
    return [check, _offset_check(points, measurement)]


def _offset_check(points: Points, measurement: Measurement) -> Check:
    zero_rows = points.rows_of(Sample.ZERO)
    offsets = np.abs(measurement.values[finite_rows(measurement, zero_rows)])
    offset = float(np.median(offsets)) if len(offsets) else 0.0
    if offset <= MOST_OFFSET:
        text = f"at agent_qs = 0, |q_tot| has median {offset:.3g}."
        return Check("offset", True, text, required=False)
    return Check(
        "offset", False,
        f"at agent_qs = 0, |q_tot| has median {offset:.3g}, above {MOST_OFFSET:g}: it drowns the "
        "agents' values. Drop or scale down the terms that do not multiply agent_qs.",
        required=False, failing_input=points.failing_input(int(zero_rows[0])),
    )  # fmt: skip


def equivariance_check(points: Points, measurement: Measurement) -> Check | None:
    """Relabelling interchangeable agents relabels the credits and keeps q_tot."""
    if points.permutations is None:
        return None
    rows, originals = group_rows(points, "relabelled"), points.originals
    tolerance = SYMMETRY_TOLERANCE * measurement.magnitude(points)[rows]
    apart = unequal(measurement.values[rows], measurement.values[originals], tolerance)
    expected = np.take_along_axis(measurement.credits[originals], points.permutations, 1)
    apart |= unequal(measurement.credits[rows], expected, tolerance)
    if not apart.any():
        return Check("equivariance", True, f"holds for {len(rows)} relabelled points.",
                     required=False)  # fmt: skip
    row = int(rows[np.flatnonzero(apart)[0]])
    return Check(
        "equivariance", False,
        f"q_tot or credits change on {int(apart.sum())} of {len(rows)} points when interchangeable "
        "agents swap places. Treat these agents alike, by the same formula of their own features.",
        required=False, failing_input=points.failing_input(row),
    )  # fmt: skip
