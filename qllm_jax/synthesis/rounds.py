"""One round: K proposals at once, duplicates dropped, arms measured, the best one chosen.

Called by `loop.generate`, once per round.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from qllm_jax.errors import UserError
from qllm_jax.llm import AccessError, BudgetError, LlmError
from qllm_jax.synthesis.archive import Archive
from qllm_jax.synthesis.candidate import Candidate, is_candidate_name
from qllm_jax.synthesis.evaluators import Review, kendall_tau, review, select
from qllm_jax.synthesis.measurement import ArmMeasurement, MeasureFn, finite_or_last
from qllm_jax.synthesis.measuring import measure_round
from qllm_jax.synthesis.proposals import RESUMES, propose_all
from qllm_jax.synthesis.reflection import (
    comparison_text,
    credit_profile,
    measurement_text,
    profile_text,
)
from qllm_jax.synthesis.session import Parent, Session


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
    proposals, stopped = propose_all(session, round_number, parent)
    candidates = tuple(_without_repeats(session, archive, item) for item in proposals)
    fresh = [item for item in candidates if item.valid]
    incumbent = parent.candidate if parent is not None else None
    judged = [*([incumbent] if incumbent is not None else []), *fresh]
    if not fresh or (stopped and incumbent is not None):
        return RoundOutcome(candidates, incumbent, stopped=stopped)
    measured = measure_round(session, round_number, judged, measure) if measure else None
    opinion = _review(session, round_number, judged, measured, states)
    stopped = stopped or (opinion.stopped if opinion is not None else "")
    names = [item.name for item in judged]
    name, reason = select(names, measured, opinion)
    chosen = next(item for item in judged if item.name == name)
    agreement = _agreement(session, round_number, measured, opinion)
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


def parent_reflection(outcome: RoundOutcome, states: np.ndarray) -> str:
    """What the next round's coders read about the chosen one, and what that rests on."""
    assert outcome.chosen is not None
    mixers = _fixed_arms(outcome.measured) if outcome.measured is not None else None
    observation = reflection_text(outcome.chosen, outcome.measured, states)
    return f"{comparison_text(mixers)}\n\n{observation}"


def reflection_text(
    candidate: Candidate, measured: Mapping[str, ArmMeasurement] | None, states: np.ndarray
) -> str:
    """What was observed about one candidate: training, comparisons, and where its credit goes."""
    assert candidate.translation is not None
    lines = [profile_text(credit_profile(candidate.translation, states))]
    if measured is not None and candidate.name in measured:
        others = [*_fixed_arms(measured), *([candidate.parent] if candidate.parent else [])]
        lines.insert(0, measurement_text(candidate.name, measured, others))
    return "\n".join(lines)


def _fixed_arms(measured: Mapping[str, ArmMeasurement]) -> list[str]:
    return [name for name in measured if not is_candidate_name(name)]


def _round_text(session: Session, round_number: int, parent: Parent | None) -> str:
    count = session.config.synthesis.num_candidates
    start = f"from {parent.candidate.name}" if parent is not None else "from the task alone"
    return f"round {round_number}: {count} candidates, {start}"


def _without_repeats(session: Session, archive: Archive, candidate: Candidate) -> Candidate:
    """Add a valid candidate to the archive, or mark what it repeats."""
    if not candidate.valid:
        return candidate
    earlier = archive.add(candidate)
    if earlier is None:
        return candidate
    error = f"says the same as {earlier}"
    session.tell("duplicate", candidate.round, candidate.name, error, rule=error)
    return dataclasses.replace(candidate, verdict="duplicate", error=error)


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
    failed = f"r{round_number}.review.failed"
    try:
        if session.journal.holds(failed):
            raise LlmError(session.journal.value(failed))
        opinion = review(session, round_number, judged, text)
    except AccessError as error:
        raise UserError(f"{error} {RESUMES}") from error
    except BudgetError as error:  # not journaled: with larger caps it is asked for
        problem = f"the evaluator was not asked: {error}"
        opinion = Review((), problem=problem, stopped=f"budget: {error}")
    except LlmError as error:
        session.journal.step(failed, error.__str__, seconds=session.ledger.seconds)
        opinion = Review((), problem=f"the evaluator gave no answer: {error}")
    said = opinion.problem or f"prefers {opinion.ranking[0]}: {opinion.advice}"
    session.tell("reviewed", round_number, text=said)
    return opinion


def _agreement(
    session: Session,
    round_number: int,
    measured: Mapping[str, ArmMeasurement] | None,
    opinion: Review | None,
) -> float | None:
    """How far the evaluator's ranking agrees with the measured one; journaled and told."""
    if measured is None or opinion is None or not opinion.ranking:
        return None
    scores = {name: measured[name].score for name in opinion.ranking}
    tau = kendall_tau(opinion.ranking, scores)
    by_score = sorted(scores, key=lambda name: -finite_or_last(scores[name]))
    session.journal.step(
        f"r{round_number}.agreement",
        lambda: {"kendall_tau": tau, "evaluator": list(opinion.ranking), "measured": by_score},
        seconds=session.ledger.seconds,
    )
    said = "cannot be told, all scores are equal" if tau is None else f"Kendall's τ = {tau:+.2f}"
    session.tell(
        "agreement", round_number, text=f"evaluator's ranking against the measured one: {said}"
    )
    return tau
