"""One round: K proposals at once, duplicates dropped, arms measured, the best one chosen."""

import dataclasses
import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from qllm_jax.errors import UserError
from qllm_jax.llm import BudgetError, LlmError
from qllm_jax.synthesis.archive import Archive
from qllm_jax.synthesis.candidate import Candidate, candidate_name
from qllm_jax.synthesis.coder import Parent, Session, propose
from qllm_jax.synthesis.evaluators import Review, kendall_tau, review, select
from qllm_jax.synthesis.measure import (
    VDN,
    ArmFn,
    ArmMeasurement,
    MeasureFn,
    Seeds,
    measure_by_halving,
    measurement_from_json,
    measurement_to_json,
    vdn,
)
from qllm_jax.synthesis.reflection import credit_profile, measurement_text, profile_text


@dataclasses.dataclass(frozen=True)
class RoundOutcome:
    """What a round gave.

    Attributes:
        candidates: The round's proposals, whatever became of them.
        chosen: The best candidate so far; None while there is no valid one.
        reason: Why it was chosen.
        advice: The evaluator's sentence for the next round.
        measured: By arm name; None where nothing was measured.
        agreement: Kendall's τ of the evaluator's and the measured ranking; None without both.
        stopped: Why the run must end after this round; "" where it need not.
        problem: What was wrong with the evaluator's answer; "" where nothing was.
    """

    candidates: tuple[Candidate, ...]
    chosen: Candidate | None
    reason: str = ""
    advice: str = ""
    measured: Mapping[str, ArmMeasurement] | None = None
    agreement: float | None = None
    stopped: str = ""
    problem: str = ""


def play_round(
    session: Session,
    round_number: int,
    archive: Archive,
    parent: Parent | None,
    measure: MeasureFn | None,
    states: np.ndarray,
) -> RoundOutcome:
    """Propose, check, compare and choose.

    Args:
        session: The run.
        round_number: 1-based.
        archive: Valid candidates so far; new ones are added to it.
        parent: The best so far, with what was observed about it; None in the first round.
        measure: Trains arms; None with the evaluator `llm`.
        states: [K, D] states of a random policy, on which credits are described.
    """
    session.tell("round", round_number, text=_round_text(session, round_number, parent))
    proposals, stopped = _propose_all(session, round_number, parent)
    candidates = tuple(_without_repeats(session, archive, item) for item in proposals)
    fresh = [item for item in candidates if item.valid]
    incumbent = parent.candidate if parent is not None else None
    judged = [*([incumbent] if incumbent is not None else []), *fresh]
    if not fresh or (stopped and incumbent is not None):
        return RoundOutcome(candidates, incumbent, stopped=stopped)
    measured = _measure(session, round_number, judged, measure) if measure is not None else None
    opinion = _review(session, round_number, judged, measured, states)
    names = [item.name for item in judged]
    name, reason = select(names, measured, opinion)
    chosen = next(item for item in judged if item.name == name)
    agreement = _agreement(names, measured, opinion)
    session.tell("chosen", round_number, name, reason)
    return RoundOutcome(
        candidates=candidates,
        chosen=chosen,
        reason=reason,
        advice=opinion.advice if opinion is not None else "",
        measured=measured,
        agreement=agreement,
        stopped=stopped,
        problem=opinion.problem if opinion is not None else "",
    )


def reflection_text(
    candidate: Candidate, measured: Mapping[str, ArmMeasurement] | None, states: np.ndarray
) -> str:
    """What was observed about one candidate: training, comparisons, and where its credit goes."""
    assert candidate.translation is not None
    lines = [profile_text(credit_profile(candidate.translation, states))]
    if measured is not None and candidate.name in measured:
        others = [VDN, *([candidate.parent] if candidate.parent else [])]
        lines.insert(0, measurement_text(candidate.name, measured, others))
    return "\n".join(lines)


def _round_text(session: Session, round_number: int, parent: Parent | None) -> str:
    count = session.config.synthesis.num_candidates
    start = f"from {parent.candidate.name}" if parent is not None else "from the task alone"
    return f"round {round_number}: {count} candidates, {start}"


def _propose_all(
    session: Session, round_number: int, parent: Parent | None
) -> tuple[list[Candidate], str]:
    """All proposals of a round, asked for at the same time, and why the run must end, if so."""
    count = session.config.synthesis.num_candidates
    outcomes = _concurrently(
        [
            functools.partial(_propose, session, round_number, index, parent)
            for index in range(count)
        ]
    )
    for outcome in outcomes:
        if isinstance(outcome, BaseException) and not isinstance(outcome, LlmError):
            raise outcome
    errors = [outcome for outcome in outcomes if isinstance(outcome, LlmError)]
    answered = [outcome for outcome in outcomes if isinstance(outcome, Candidate)]
    if errors and not answered and parent is None:
        raise UserError(f"no candidate could be asked for. {errors[0]}")
    candidates = []
    budget = next((error for error in errors if isinstance(error, BudgetError)), None)
    goes_on = parent is None or budget is None
    for index, outcome in enumerate(outcomes):
        name = candidate_name(round_number, index)
        if isinstance(outcome, LlmError):
            if goes_on:
                session.journal.record(f"{name}.failed", str(outcome))
            session.tell("failed", round_number, name, str(outcome))
            candidates.append(_failed(round_number, index, parent, str(outcome)))
        else:
            assert isinstance(outcome, Candidate)
            candidates.append(outcome)
    return candidates, f"budget: {budget}" if budget is not None else ""


def _propose(session: Session, round_number: int, index: int, parent: Parent | None) -> Candidate:
    step = f"{candidate_name(round_number, index)}.failed"
    if session.journal.holds(step):
        error = session.journal.step(step, str)
        return _failed(round_number, index, parent, error)
    return propose(session, round_number, index, parent)


def _failed(round_number: int, index: int, parent: Parent | None, error: str) -> Candidate:
    return Candidate(
        name=candidate_name(round_number, index),
        round=round_number,
        index=index,
        parent=parent.candidate.name if parent is not None else None,
        hint="",
        verdict="failed",
        error=error,
    )


def _concurrently(
    calls: Sequence[Callable[[], Candidate]],
) -> list[Candidate | BaseException]:
    """Run calls in daemon threads, so that Ctrl-C does not wait for a provider."""
    outcomes: list[Candidate | BaseException | None] = [None] * len(calls)

    def run(index: int) -> None:
        try:
            outcomes[index] = calls[index]()
        except BaseException as error:
            outcomes[index] = error

    threads = [
        threading.Thread(target=run, args=(index,), daemon=True) for index in range(len(calls))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [outcome for outcome in outcomes if outcome is not None]


def _without_repeats(session: Session, archive: Archive, candidate: Candidate) -> Candidate:
    """Add a valid candidate to the archive, or mark what it repeats."""
    if not candidate.valid:
        return candidate
    earlier = archive.add(candidate)
    if earlier is None:
        return candidate
    error = f"says the same as {earlier}"
    session.tell("duplicate", candidate.round, candidate.name, error)
    return dataclasses.replace(candidate, verdict="duplicate", error=error)


def _measure(
    session: Session, round_number: int, judged: Sequence[Candidate], measure: MeasureFn
) -> dict[str, ArmMeasurement]:
    arms: dict[str, ArmFn] = {VDN: vdn}
    arms |= {item.name: item.translation.function for item in judged if item.translation}
    session.tell("measuring", round_number, text=f"training {', '.join(arms)} side by side")
    synthesis = session.config.synthesis
    seeds = Seeds(measurement_seed(round_number), synthesis.measured_seeds)

    def halving() -> dict[str, Any]:
        measured = measure_by_halving(measure, arms, seeds, synthesis.measured_rungs)
        return {name: measurement_to_json(arm) for name, arm in measured.items()}

    step = f"r{round_number}.measured"
    content = session.journal.step(step, halving, seconds=session.ledger.seconds)
    measured = {name: measurement_from_json(arm) for name, arm in content.items()}
    tell_scores(session, round_number, measured)
    return measured


def tell_scores(
    session: Session, round_number: int, measured: Mapping[str, ArmMeasurement]
) -> None:
    """One event per arm: its score with its interval."""
    for name, arm in measured.items():
        low, high = arm.interval
        text = f"{arm.score:.2f} [{low:.2f}, {high:.2f}]"
        session.tell("measured", round_number, name, text, score=arm.score, low=low, high=high)


def measurement_seed(round_number: int) -> int:
    """The first seed id of a round's measurement: fresh in every round, far from training's."""
    return 100_000 + 1_000 * round_number


def _review(
    session: Session,
    round_number: int,
    judged: Sequence[Candidate],
    measured: Mapping[str, ArmMeasurement] | None,
    states: np.ndarray,
) -> Review | None:
    synthesis = session.config.synthesis
    if synthesis.evaluator == "measured":
        return None
    if len(judged) == 1 and round_number == synthesis.num_rounds:
        return None
    text = "\n\n".join(
        f"Candidate {number}:\n{reflection_text(item, measured, states)}"
        for number, item in enumerate(judged, start=1)
    )
    try:
        opinion = review(session, round_number, judged, text)
    except LlmError as error:
        opinion = Review((), problem=f"the evaluator gave no answer: {error}")
    said = opinion.problem or f"prefers {opinion.ranking[0]}: {opinion.advice}"
    session.tell("reviewed", round_number, text=said)
    return opinion


def _agreement(
    names: Sequence[str],
    measured: Mapping[str, ArmMeasurement] | None,
    opinion: Review | None,
) -> float | None:
    if measured is None or opinion is None:
        return None
    return kendall_tau(opinion.ranking, {name: measured[name].score for name in names})
