"""What was observed about a candidate, as text for the coder and the evaluator."""

import dataclasses
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from qllm_jax.synthesis.measurement import VDN, ArmMeasurement, paired_interval
from qllm_jax.tfcaf import Translation

_CURVE_POINTS = 10
_UNIFORM = 0.05  # credits within 5 % of their mean count as uniform
_ZERO = 0.01  # a credit below 1 % of the mean counts as zero


@dataclasses.dataclass(frozen=True)
class CreditProfile:
    """How a function spreads credit over states of a random policy.

    Attributes:
        mean: [N] mean credit of each agent.
        spread: [N] its standard deviation over states.
        total: Mean sum of credits; N for VDN.
        uniform: Fraction of states in which all credits are within 5 % of their mean.
        zero: Fraction of states in which some agent's credit is below 1 % of the mean.
        largest: Mean over states of the largest credit, relative to the mean credit.
        offset: (mean, standard deviation) of q_tot where every value is 0: the bias.
    """

    mean: np.ndarray
    spread: np.ndarray
    total: float
    uniform: float
    zero: float
    largest: float
    offset: tuple[float, float]


def credit_profile(translation: Translation, states: np.ndarray) -> CreditProfile:
    """Measure credits `∂q_tot/∂q_i` at `agent_qs = 0` on `[K, D]` states."""
    origin = jnp.zeros((translation.num_agents,))
    at_origin = jax.value_and_grad(translation.function)
    values, credits = jax.jit(jax.vmap(lambda state: at_origin(origin, state)))(jnp.asarray(states))
    credit, value = np.asarray(credits, np.float64), np.asarray(values, np.float64)
    average = np.maximum(np.abs(credit).mean(axis=1, keepdims=True), 1e-9)
    return CreditProfile(
        mean=credit.mean(axis=0),
        spread=credit.std(axis=0),
        total=float(credit.sum(axis=1).mean()),
        uniform=float(np.mean(np.all(np.abs(credit / average - 1.0) <= _UNIFORM, axis=1))),
        zero=float(np.mean(np.any(np.abs(credit) < _ZERO * average, axis=1))),
        largest=float(np.mean(credit.max(axis=1) / average[:, 0])),
        offset=(float(value.mean()), float(value.std())),
    )


def profile_text(profile: CreditProfile) -> str:
    """The profile in sentences."""
    agents = ", ".join(
        f"agent {i} {mean:.2f} ± {spread:.2f}"
        for i, (mean, spread) in enumerate(zip(profile.mean, profile.spread, strict=True))
    )
    return (
        f"Credits on states of a random policy (mean ± standard deviation): {agents}; their sum "
        f"is {profile.total:.2f} on average (VDN: {len(profile.mean)}), the largest is "
        f"{profile.largest:.2f} times the mean. Credits are practically equal in "
        f"{profile.uniform:.0%} of the states; some agent's credit is practically zero in "
        f"{profile.zero:.0%}. With all values 0, q_tot is {profile.offset[0]:.2f} ± "
        f"{profile.offset[1]:.2f} (the bias)."
    )


def comparison_text(mixers: Sequence[str] | None) -> str:
    """How the candidates were compared: the fixed arms they were trained beside; None: by reading.

    It stands before what was observed about a parent, so that the coder knows what that rests on.
    """
    if mixers is None:
        return (
            "No candidate was trained, so no returns are known: functions that pass verification "
            "are compared by a reviewer who reads them."
        )
    named = (f"{name} (`jnp.sum(agent_qs)`)" if name == VDN else name for name in mixers)
    beside = f", beside {' and '.join(named)}," if mixers else ""
    return (
        f"Functions that pass verification are compiled and trained{beside} with the same seeds. "
        "Returns are the team's undiscounted return per episode; higher is better. Intervals are "
        "95 %."
    )


def measurement_text(
    name: str, measured: Mapping[str, ArmMeasurement], compare_with: Sequence[str] = (VDN,)
) -> str:
    """One arm's curve, score and differences in sentences."""
    arm = measured[name]
    low, high = arm.interval
    lines = [
        f"Return after training: {arm.score:.2f} [{low:.2f}, {high:.2f}] over "
        f"{len(arm.scores)} seeds.",
        f"Return along training: {_curve(arm.curve)}.",
    ]
    errors = [value for value in arm.td_error if value is not None]
    if errors:
        lines.append(f"Mean absolute TD error along training: {_curve(errors)}.")
    if arm.diverged:
        lines.append(f"Training diverged in {arm.diverged} of {len(arm.scores)} seeds.")
    for other in compare_with:
        if other in measured and other != name:
            low, high = paired_interval(arm, measured[other])
            difference = arm.score - measured[other].score
            verdict = "better" if low > 0 else "worse" if high < 0 else "not clearly different"
            lines.append(
                f"Against {other}: {difference:+.2f} [{low:+.2f}, {high:+.2f}], {verdict}."
            )
    return "\n".join(lines)


def _curve(values: Sequence[float]) -> str:
    """At most ten evenly spaced points."""
    rows = np.unique(np.linspace(0, len(values) - 1, min(_CURVE_POINTS, len(values))).astype(int))
    return ", ".join(f"{values[row]:.3g}" for row in rows)
