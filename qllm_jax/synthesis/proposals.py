"""The K proposals of a round, asked for at the same time; called by `rounds.play_round`.

What one candidate's failure means is decided here: the others go on. Where none was answered, or
a key, a quota or a credit must be seen to, the run ends, and no failure is journaled: the same
command asks again. A used-up budget ends the run with what it has.
"""

import functools
import threading
from collections.abc import Callable, Sequence

from qllm_jax.errors import UserError
from qllm_jax.llm import AccessError, BudgetError, LlmError
from qllm_jax.synthesis.candidate import Candidate, candidate_name
from qllm_jax.synthesis.coder import propose
from qllm_jax.synthesis.session import Parent, Session

RESUMES = "What was answered is kept; `qllm-jax resume` goes on from there."


def propose_all(
    session: Session, round_number: int, parent: Parent | None
) -> tuple[list[Candidate], str]:
    """All proposals of a round, and why the run must end after it; "" where it need not.

    Raises:
        UserError: The provider refuses every call, the first round got no answer at all, an
            answer is not recorded, or the journal cannot be written.
    """
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
    refusal = next((error for error in errors if isinstance(error, AccessError)), None)
    if refusal is not None:
        raise UserError(f"{refusal} {RESUMES}") from refusal
    if errors and not answered and parent is None:
        raise UserError(f"no candidate could be asked for. {errors[0]}")
    candidates = []
    budget = next((error for error in errors if isinstance(error, BudgetError)), None)
    goes_on = bool(answered) and (parent is None or budget is None)
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
    if budget is not None:
        return candidates, f"budget: {budget}"
    unanswered = f"no answer in round {round_number}: {errors[0]}" if not answered else ""
    return candidates, unanswered


def _propose(session: Session, round_number: int, index: int, parent: Parent | None) -> Candidate:
    step = f"{candidate_name(round_number, index)}.failed"
    if session.journal.holds(step):
        error = session.journal.value(step)
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
