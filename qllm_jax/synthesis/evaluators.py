"""Choosing among candidates: a language model reads them, training measures them, or both."""

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from qllm_jax.llm import Message, Request
from qllm_jax.llm.prompts import fill_prompt
from qllm_jax.llm.transcripts import observed, without_tags
from qllm_jax.synthesis.candidate import Candidate
from qllm_jax.synthesis.coder import journaled_completion
from qllm_jax.synthesis.measurement import ArmMeasurement, finite_or_last, statistical_ties
from qllm_jax.synthesis.session import Session
from qllm_jax.tasks import task_prompt

ANSWER_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "ranking": {"type": "array", "items": {"type": "integer"}},
        "reason": {"type": "string"},
        "advice": {"type": "string"},
    },
    "required": ["ranking", "reason", "advice"],
}
_ADVICE_LENGTH = 500


@dataclasses.dataclass(frozen=True)
class Review:
    """The evaluator's answer.

    Attributes:
        ranking: Candidate names, best first; empty where the answer could not be read.
        reason: Why the first is best.
        advice: One sentence for the next round.
        problem: What was wrong with the answer; "" where nothing was.
        stopped: Why the run must end, because no answer could be paid for; "" where it need not.
    """

    ranking: tuple[str, ...]
    reason: str = ""
    advice: str = ""
    problem: str = ""
    stopped: str = ""


def review(
    session: Session, round_number: int, candidates: Sequence[Candidate], measurements: str
) -> Review:
    """Ask the evaluator to rank candidates; an unreadable answer is a `problem`, not an error.

    Args:
        session: The run.
        round_number: 1-based.
        candidates: What is judged, in a fixed order.
        measurements: What training gave, as text; "" where nothing was measured.
    """
    request = review_request(session, round_number, candidates, measurements)
    completion = journaled_completion(session, f"r{round_number}.review", request)
    names = [candidate.name for candidate in candidates]
    return parse_review(completion.text, names, completion.finish_reason)


def review_request(
    session: Session, round_number: int, candidates: Sequence[Candidate], measurements: str
) -> Request:
    """What the evaluator is asked; see `review`."""
    sources = "\n\n".join(
        f"## Candidate {number}\n\n```python\n{without_tags(candidate.original).strip()}\n```"
        for number, candidate in enumerate(candidates, start=1)
    )
    turn = fill_prompt(
        "evaluator_turn",
        round=round_number,
        task=task_prompt(session.spec),
        candidates=sources,
        measurements=observed(measurements or "(none)"),
        count=len(candidates),
    )
    return Request(
        purpose="evaluator",
        model=session.config.llm.evaluator_model,
        messages=(Message("system", fill_prompt("evaluator_system")), Message("user", turn)),
        temperature=0.0,
        max_output_tokens=session.config.llm.max_output_tokens,
        json_schema=ANSWER_SCHEMA,
    )


def parse_review(text: str, names: Sequence[str], finish_reason: str = "stop") -> Review:
    """Read a ranking out of an answer: plain JSON, fenced JSON, or JSON inside prose.

    Numbers may be written as 2, "2", "Candidate 2" or a name; a partial ranking is completed in
    the given order.
    """
    answer = _first_object(text)
    if answer is None:
        ended = f" (finish reason {finish_reason})" if finish_reason != "stop" else ""
        return Review((), problem=f"the evaluator's answer held no JSON object{ended}.")
    listed = next(
        (answer[key] for key in ("ranking", "chosen", "best", "index") if key in answer), None
    )
    ranked: list[str] = []
    for item in listed if isinstance(listed, list) else [listed]:
        name = _name_of(item, names)
        if name is not None and name not in ranked:
            ranked.append(name)
    advice = _words(answer.get("advice"), names)[:_ADVICE_LENGTH]
    reason = _words(answer.get("reason"), names)
    if not ranked:
        return Review((), reason, advice, "the evaluator's answer named no candidate.")
    rest = [name for name in names if name not in ranked]
    return Review((*ranked, *rest), reason, advice)


def _words(text: Any, names: Sequence[str]) -> str:
    """One line that speaks of candidates by name: their numbers are known to the evaluator only."""
    line = without_tags(" ".join(str(text or "").split()))

    def named(match: re.Match[str]) -> str:
        listed = re.sub(r"\d+", lambda number: _name_of(number[0], names) or "?", match[1])
        return match[0] if "?" in listed else listed

    return re.sub(r"\b[Cc]andidates? (\d+(?:(?:, and | and | or |, )\d+)*)\b(?!\.\d)", named, line)


def _first_object(text: str) -> dict[str, Any] | None:
    decoder = json.JSONDecoder()
    for match in re.finditer(r"\{", text):
        try:
            value, _ = decoder.raw_decode(text, match.start())
        except ValueError:
            continue
        if isinstance(value, dict):
            return value
    return None


def _name_of(item: Any, names: Sequence[str]) -> str | None:
    if isinstance(item, bool) or item is None:
        return None
    if str(item) in names:
        return str(item)
    digits = re.findall(r"\d+", str(item))
    if isinstance(item, int | float | str) and len(digits) == 1:
        number = int(digits[0])
        return names[number - 1] if 1 <= number <= len(names) else None
    return None


def select(
    names: Sequence[str],
    measured: Mapping[str, ArmMeasurement] | None,
    opinion: Review | None,
) -> tuple[str, str]:
    """The name chosen, and why.

    Measured arms decide, those that were trained longest where halving dropped some. Where
    several are statistically tied, the evaluator's ranking breaks the tie, and without one the
    higher mean does. Without measurements the evaluator decides, and without a readable answer
    the first candidate is taken.
    """
    ranking = opinion.ranking if opinion is not None else ()
    if measured is None:
        if ranking:
            assert opinion is not None
            return ranking[0], f"the evaluator ranked it first: {opinion.reason}"
        problem = opinion.problem if opinion is not None else "there was no evaluator."
        return names[0], f"it is the first valid candidate, because {problem}"
    longest = max(measured[name].env_steps[-1] for name in names)
    finalists = tuple(name for name in names if measured[name].env_steps[-1] == longest)
    ties = statistical_ties(measured, finalists)
    best = measured[ties[0]]
    if len(ties) == 1:
        reason = f"its measured return, {best.score:.2f}, is the highest"
        return ties[0], reason + (" and clearly apart from the others'." if len(names) > 1 else ".")
    tied = ", ".join(f"{name} {measured[name].score:.2f}" for name in ties)
    if ranking:
        assert opinion is not None
        winner = next(name for name in ranking if name in ties)
        return winner, (
            f"the measured returns of {tied} are statistically tied, and the evaluator prefers "
            f"it: {opinion.reason}"
        )
    return ties[0], f"it has the highest mean among the statistically tied {tied}."


def kendall_tau(ranking: Sequence[str], scores: Mapping[str, float]) -> float | None:
    """Kendall's τ of a ranking, best first, against scores: 1 agrees, -1 is reversed.

    Pairs with equal scores do not count; None where no pair does. A score that is not finite, of
    a training that diverged, is below every finite one.
    """
    known = {name: finite_or_last(score) for name, score in scores.items()}
    signs = [
        1 if known[better] > known[worse] else -1
        for index, better in enumerate(ranking)
        for worse in ranking[index + 1 :]
        if known[better] != known[worse]
    ]
    return sum(signs) / len(signs) if signs else None
