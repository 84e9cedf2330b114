"""Is every credit ∂q_tot/∂q_i >= 0? Shown from the program where it can be.

IGM (individual-global-max) holds where q_tot grows with every agent's value (Rashid et al.,
"QMIX", https://arxiv.org/abs/1803.11485, eq. 5).
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from qllm_jax.tasks.spec import StateField
from qllm_jax.verify.abstract import Interpreter
from qllm_jax.verify.intervals import DEPENDS_ON_QS, DEPENDS_ON_STATE, Value, make_value


@dataclasses.dataclass(frozen=True)
class Analysis:
    """What holds for every input, in exact arithmetic and wherever the result is finite.

    Attributes:
        credit_low: `[N]`, a lower bound of each agent's credit; -inf where none was found.
        proof: "every state", "states within the task's ranges", or None: credit >= 0 is shown
            for these.
        affine: The credits do not depend on agent_qs, so q_tot = w(state) · q + b(state).
        credit_uses_state: The credits depend on the state.
        uses_state: The value depends on the state.
        loose_indices: Primitives whose data-dependent index may leave its array.
    """

    credit_low: np.ndarray
    proof: str | None
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
    return Analysis(
        credit_low=np.array(credits.lo),
        proof=states if credits.lo.size and bool(np.all(credits.lo >= 0)) else None,
        affine=not credits.depends & DEPENDS_ON_QS,
        credit_uses_state=bool(credits.depends & DEPENDS_ON_STATE),
        uses_state=bool((q_tot.depends | credits.depends) & DEPENDS_ON_STATE),
        loose_indices=tuple(dict.fromkeys(interpreter.loose_indices)),
    )
