"""Is every credit ∂q_tot/∂q_i >= 0? Shown from the program where it can be, else tested.

IGM (individual-global-max) holds where q_tot grows with every agent's value (Rashid et al.,
"QMIX", https://arxiv.org/abs/1803.11485, eq. 5). Called by `verifier`, which shares the analysis
with other checks.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from qllm_jax.tasks.spec import StateField
from qllm_jax.verify.abstract import Interpreter
from qllm_jax.verify.intervals import (
    DEPENDS_ON_QS,
    DEPENDS_ON_STATE,
    HIDES_QS,
    Value,
    make_value,
)
from qllm_jax.verify.measurement import Measurement, finite_rows, group_rows
from qllm_jax.verify.points import NUM_LARGE, SAMPLES, Points
from qllm_jax.verify.report import Check, IgmMode

NEGATIVE = 1e-6  # how far below zero rounding may take a credit, relative to the largest
FALL = 1e-3  # how far q_tot may fall by rounding, relative to the terms that are added up


@dataclasses.dataclass(frozen=True)
class Analysis:
    """What holds for every input, in exact arithmetic and wherever the result is finite.

    Attributes:
        credit_low: `[N]`, a lower bound of each agent's credit; -inf where none was found.
        proof: "every state", "states within the task's ranges", or None: credit >= 0 is shown
            for these.
        hidden: q_tot may jump where agent_qs change, or depend on them through a stopped
            gradient, so that no bound on the credits says how it grows.
        affine: The credits do not depend on agent_qs, so q_tot = w(state) · q + b(state).
        credit_uses_state: The credits depend on the state.
        uses_state: The value depends on the state.
        loose_indices: Primitives whose data-dependent index may leave its array.
    """

    credit_low: np.ndarray
    proof: str | None
    hidden: bool
    affine: bool
    credit_uses_state: bool
    uses_state: bool
    loose_indices: tuple[str, ...]


def analyse(credit_jaxpr: Any, layout: Sequence[StateField] = ()) -> Analysis:
    """Interpret `value_and_grad` on intervals, for any agent_qs and any state.

    Where that does not show credit >= 0 and the layout bounds the state, try again within those
    bounds.

    Args:
        credit_jaxpr: `(agent_qs [N], state [D]) -> (q_tot [], credits [N])`.
        layout: The task's state fields; their `low` and `high` are taken at their word.
    """
    (num_agents,), (state_dim,) = (v.aval.shape for v in credit_jaxpr.jaxpr.invars)
    anything = make_value(-np.inf, np.inf, (state_dim,), DEPENDS_ON_STATE)
    first = _interpret(credit_jaxpr, num_agents, anything, "every state")
    low, high = np.full(state_dim, -np.inf), np.full(state_dim, np.inf)
    for field in layout:
        low[field.start : field.stop], high[field.start : field.stop] = field.low, field.high
    if first.proof or not (np.isfinite(low) | np.isfinite(high)).any():
        return first
    bounded = make_value(low, high, (state_dim,), DEPENDS_ON_STATE)
    return _interpret(credit_jaxpr, num_agents, bounded, "states within the task's ranges")


def _interpret(credit_jaxpr: Any, num_agents: int, state: Value, states: str) -> Analysis:
    interpreter = Interpreter()
    agent_qs = make_value(-np.inf, np.inf, (num_agents,), DEPENDS_ON_QS)
    q_tot, credits = interpreter.run(credit_jaxpr, [agent_qs, state])
    hidden = bool(q_tot.depends & HIDES_QS)
    positive = credits.lo.size > 0 and bool(np.all(credits.lo >= 0))
    return Analysis(
        credit_low=np.array(credits.lo),
        proof=states if positive and not hidden else None,
        hidden=hidden,
        affine=not credits.depends & DEPENDS_ON_QS and not hidden,
        credit_uses_state=bool(credits.depends & DEPENDS_ON_STATE),
        uses_state=bool((q_tot.depends | credits.depends) & DEPENDS_ON_STATE),
        loose_indices=tuple(dict.fromkeys(interpreter.loose_indices)),
    )


def igm_check(
    points: Points, measurement: Measurement, analysis: Analysis, mode: IgmMode
) -> tuple[Check, str]:
    """Every credit is >= 0; proved, tested or violated."""
    tried = group_rows(points, "states", "edge", "zeros")
    if not analysis.affine:  # credits change with agent_qs: large ones, in states as they come
        tried = np.concatenate([tried, group_rows(points, "large")[: NUM_LARGE // 2]])
    rows = finite_rows(measurement, tried)
    num_states = points.num_states + len(points.edge_names) // SAMPLES
    credits = measurement.credits[rows].astype(np.float64)
    required = mode == "enforce"
    affine = " q_tot is affine in agent_qs, with weights w(state)." if analysis.affine else ""
    if len(rows):
        allowed = -NEGATIVE * np.maximum(1.0, np.abs(credits).max(1))
        violated = credits.min(1) < allowed
        if violated.any():
            worst = int(np.argmin(credits.min(1)))
            agent = int(np.argmin(credits[worst]))
            detail = (
                f"the credit of agent {agent} is {credits[worst, agent]:.4g} (negative on "
                f"{float(violated.mean()):.0%} of the points), so its best action may not be the "
                "team's. Make every weight non-negative, for example with softmax, softplus or "
                f"relu.{affine}"
            )
            failing = points.failing_input(int(rows[worst]))
            return Check("igm", False, detail, required, failing), "violated"
    fall = _fall(points, measurement) if analysis.hidden else None
    if fall is not None:
        return Check("igm", False, fall[0], required, points.failing_input(fall[1])), "violated"
    if analysis.proof is not None:
        detail = f"every credit is >= 0 for {analysis.proof}, shown from the program.{affine}"
        return Check("igm", True, detail, required), "proved"
    least = f"; the smallest was {credits.min():.3g}" if len(rows) else ""
    statement = f"tested on {num_states} states"
    return Check("igm", True, f"every credit was >= 0 ({statement}){least}.{affine}", required), (
        statement
    )


def _fall(points: Points, measurement: Measurement) -> tuple[str, int] | None:
    """Where q_tot falls though one agent's value rises and no credit says so, and its row."""
    rows, originals = group_rows(points, "raised"), points.raised_from
    size = measurement.magnitude(points)
    with np.errstate(all="ignore"):
        change = measurement.values[rows].astype(np.float64) - measurement.values[originals]
        change /= np.maximum(size[rows], size[originals])
    fell = np.isfinite(change) & (change < -FALL)
    if not fell.any():
        return None
    worst = int(np.argmin(np.where(fell, change, 0.0)))
    low, high, agent = originals[worst], rows[worst], points.raised_agent[worst]
    detail = (
        f"q_tot falls from {measurement.values[low]:.4g} to {measurement.values[high]:.4g} when "
        f"the value of agent {agent} rises from {points.agent_qs[low, agent]:.4g} to "
        f"{points.agent_qs[high, agent]:.4g} (so on {float(fell.mean()):.0%} of the points), "
        "though no credit is negative: it jumps with agent_qs, or stops their gradient. Do not "
        "branch on agent_qs, round them or detach them; let weights depend on the state alone."
    )
    return detail, int(low)
