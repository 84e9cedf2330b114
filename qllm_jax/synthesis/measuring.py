"""A run's measurements: journaled one tournament at a time, and told to whoever watches.

Called by `rounds.play_round`, which compares a round's candidates, and by `finish.finish`, which
scores the finalist again.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from qllm_jax.synthesis.candidate import Candidate
from qllm_jax.synthesis.measurement import (
    ArmFn,
    ArmMeasurement,
    MeasureFn,
    Seeds,
    measurement_from_json,
    measurement_to_json,
)
from qllm_jax.synthesis.session import Session

_FINAL_SEED = 200_000


def measure_round(
    session: Session, round_number: int, judged: Sequence[Candidate], measure: MeasureFn
) -> dict[str, ArmMeasurement]:
    """Train the candidates beside `synthesis.arms`, by halving, with seeds of this round's own."""
    synthesis = session.config.synthesis
    candidates = _functions(judged)
    names = ", ".join((*synthesis.arms, *candidates))
    session.tell("measuring", round_number, text=f"training {names} side by side")
    step = f"r{round_number}.measured.0"
    seeds = Seeds(measurement_seed(round_number), synthesis.measured_seeds)
    measured = _journaled(session, step, measure, candidates, seeds, synthesis.measured_rungs)
    _tell_scores(session, round_number, measured)
    return measured


def measure_finalist(
    session: Session, round_number: int, chosen: Candidate, measure: MeasureFn
) -> dict[str, ArmMeasurement]:
    """The finalist and `synthesis.arms` on seeds that decided nothing: an unbiased score."""
    synthesis = session.config.synthesis
    seeds = Seeds(_FINAL_SEED, synthesis.final_seeds)
    session.tell(
        "measuring", round_number, text=f"scoring {chosen.name} again on {seeds.count} fresh seeds"
    )
    step = f"r{round_number}.final.{chosen.name}.0"
    final = _journaled(session, step, measure, _functions([chosen]), seeds)
    _tell_scores(session, round_number, final)
    return final


def measurement_seed(round_number: int) -> int:
    """The first seed id of a round's measurement: fresh in every round, far from training's."""
    return 100_000 + 1_000 * round_number


def _functions(candidates: Sequence[Candidate]) -> dict[str, ArmFn]:
    return {item.name: item.translation.function for item in candidates if item.translation}


def _journaled(
    session: Session,
    step: str,
    measure: MeasureFn,
    candidates: Mapping[str, ArmFn],
    seeds: Seeds,
    num_rungs: int = 1,
) -> dict[str, ArmMeasurement]:
    """One measurement beside `synthesis.arms`, a step of the journal."""

    def train() -> dict[str, Any]:
        arms = measure(candidates, session.config.synthesis.arms, seeds, num_rungs)
        return {name: measurement_to_json(arm) for name, arm in arms.items()}

    content = session.journal.step(step, train, seconds=session.ledger.seconds)
    return {name: measurement_from_json(arm) for name, arm in content.items()}


def _tell_scores(
    session: Session, round_number: int, measured: Mapping[str, ArmMeasurement]
) -> None:
    """One event per arm: its score with its interval."""
    for name, arm in measured.items():
        low, high = arm.interval
        text = f"{arm.score:.2f} [{low:.2f}, {high:.2f}]"
        session.tell("measured", round_number, name, text, score=arm.score, low=low, high=high)
