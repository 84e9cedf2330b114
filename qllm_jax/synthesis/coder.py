"""The coder: asks a language model for one function, and sends it back with what refused it."""

import contextlib
import dataclasses
import functools
import re
import threading
from typing import Any

from qllm_jax.errors import UserError
from qllm_jax.llm import Completion, Message, Request, is_replay
from qllm_jax.llm.prompts import fill_prompt, strategy_hints
from qllm_jax.llm.transcripts import (
    completion_from_json,
    completion_to_json,
    observed,
    without_tags,
)
from qllm_jax.synthesis.candidate import (
    Candidate,
    Refusal,
    candidate_name,
    report_from_json,
    report_to_json,
)
from qllm_jax.synthesis.session import Parent, Session
from qllm_jax.tasks import task_prompt
from qllm_jax.tfcaf import TranslationError, translate
from qllm_jax.verify import repair_igm
from qllm_jax.verify.report import VerificationReport

# Candidates are asked for in threads, but checked one at a time: CPython's `ast` keeps one
# recursion counter per interpreter, and two threads that build trees upset it (gh-106905).
_ONE_AT_A_TIME = threading.Lock()


def propose(session: Session, round_number: int, index: int, parent: Parent | None) -> Candidate:
    """Ask for one candidate and repair it until it is valid or repairs are used up.

    Raises:
        LlmError: The provider gave no answer.
        UserError: An answer is not recorded, or the journal cannot be written.
    """
    name = candidate_name(round_number, index)
    messages = opening_turn(session, round_number, index, parent)
    candidate = Candidate(
        name=name,
        round=round_number,
        index=index,
        parent=parent.candidate.name if parent is not None else None,
        hint=_hint(index, parent).partition(".**")[0].strip("* "),
    )
    session.tell("asking", round_number, name, candidate.hint)
    for repair in range(session.config.synthesis.max_repairs + 1):
        sample = index + repair * session.config.synthesis.num_candidates
        request = coder_request(session, messages, sample)
        completion = journaled_completion(session, f"{name}.answer{repair}", request)
        candidate = _charge(session, candidate, completion)
        outcome = session.journal.step(
            f"{name}.check{repair}",
            functools.partial(_check, session, completion),
            seconds=session.ledger.seconds,
        )
        if outcome["refusal"] is None:
            with _ONE_AT_A_TIME:
                accepted = _accepted(session, candidate, completion.text, outcome)
            said = _valid_text(accepted)
            session.tell("valid", round_number, name, said, rule="", **_spent(accepted))
            return accepted
        refusal = Refusal(**outcome["refusal"])
        candidate = dataclasses.replace(candidate, refusals=(*candidate.refusals, refusal))
        said = f"{refusal.stage}: {refusal.rule}"
        session.tell("refused", round_number, name, said, rule=refusal.rule, **_spent(candidate))
        messages = _with_repair(messages, completion, refusal, candidate, repair + 1)
    return dataclasses.replace(candidate, verdict="refused")


def opening_turn(
    session: Session, round_number: int, index: int, parent: Parent | None
) -> tuple[Message, ...]:
    """The conversation that a candidate's first answer answers: system and one user turn."""
    env = session.spec.env
    common: dict[str, Any] = {
        "round": round_number,
        "candidate": index + 1,
        "task": task_prompt(session.spec),
        "num_agents": env.num_agents,
        "state_dim": env.state_dim,
        "igm_rule": fill_prompt(f"igm_{session.config.synthesis.igm}"),
        "hint": _hint(index, parent),
    }
    if parent is None:
        turn = fill_prompt("coder_turn", **common)
    else:
        turn = fill_prompt(
            "coder_feedback",
            **common,
            parent_id=parent.candidate.name,
            parent_source=without_tags(parent.candidate.original),
            reflection=observed(parent.reflection),
            history=observed(parent.history or "(nothing else)"),
            inspiration=observed(_quoted(parent.inspiration)),
            advice=observed(parent.advice or "(none)"),
        )
    return (Message("system", fill_prompt("coder_system")), Message("user", turn))


def _hint(index: int, parent: Parent | None) -> str:
    """The direction of the round's `index`-th candidate."""
    hints = strategy_hints("first" if parent is None else "later")
    return hints[index % len(hints)]


def _quoted(source: str) -> str:
    return f"```python\n{source.strip()}\n```" if source else "(none yet)"


def coder_request(session: Session, messages: tuple[Message, ...], sample: int) -> Request:
    """A request to the coder with the run's settings."""
    llm = session.config.llm
    return Request(
        purpose="coder",
        model=llm.coder_model,
        messages=messages,
        temperature=llm.temperature,
        max_output_tokens=llm.max_output_tokens,
        sample=sample,
    )


def journaled_completion(session: Session, step: str, request: Request) -> Completion:
    """One completion, asked for at most once in the life of a run."""

    def answer() -> dict[str, Any]:
        completion = session.client.complete(request)
        replayed = is_replay(session.client.name)
        return {
            "purpose": request.purpose,
            "model": completion.model_version if replayed else request.model,
            "completion": completion_to_json(completion),
        }

    content = session.journal.step(step, answer, seconds=session.ledger.seconds)
    return completion_from_json(content["completion"])


def _check(session: Session, completion: Completion) -> dict[str, Any]:
    """Translate and verify one answer; plain values for the journal."""
    cut_off = _cut_off_text(session, completion)
    if not completion.text.strip():
        feedback = cut_off or f"The answer was empty (finish reason: {completion.finish_reason})."
        return _refused("answer", f"empty-{completion.finish_reason}", feedback)
    env = session.spec.env
    with _ONE_AT_A_TIME:
        try:
            translation = translate(
                completion.text, num_agents=env.num_agents, state_dim=env.state_dim
            )
        except TranslationError as error:
            text = _refusal_text(error)
            return _refused("translation", error.rule, f"{cut_off}\n{text}" if cut_off else text)
        report = session.verify_fn(translation)
        mode = session.config.synthesis.igm_repair
        if _failed(report) == ["igm"] and mode != "none":
            with contextlib.suppress(UserError):  # not affine: it stays refused
                repaired = session.verify_fn(repair_igm(translation, mode))
                if repaired.passed:
                    return {"refusal": None, "report": report_to_json(repaired), "igm_repair": mode}
    if not report.passed:
        return _refused("verification", "+".join(_failed(report)), report.feedback())
    return {"refusal": None, "report": report_to_json(report)}


def _cut_off_text(session: Session, completion: Completion) -> str:
    if completion.finish_reason != "max_tokens":
        return ""
    return (
        f"The answer was cut off at its limit of {session.config.llm.max_output_tokens:,} tokens, "
        "thinking included, so what it says is not complete. Think and answer shorter: a few "
        "sentences and one code block."
    )


def _failed(report: VerificationReport) -> list[str]:
    return [check.name for check in report.checks if check.required and not check.passed]


def _refused(stage: str, rule: str, feedback: str) -> dict[str, Any]:
    return {"refusal": {"stage": stage, "rule": rule, "feedback": feedback}, "report": None}


def _refusal_text(error: TranslationError) -> str:
    where = f"Line {error.line} of the function: " if error.line is not None else ""
    return f"{where}{error.message}\nFix: {error.fix}"


def _accepted(
    session: Session, candidate: Candidate, text: str, outcome: dict[str, Any]
) -> Candidate:
    env = session.spec.env
    translation = translate(text, num_agents=env.num_agents, state_dim=env.state_dim)
    if "igm_repair" in outcome:
        translation = repair_igm(translation, outcome["igm_repair"])
    return dataclasses.replace(
        candidate,
        summary=first_sentence(text),
        translation=translation,
        report=report_from_json(outcome["report"]),
    )


def first_sentence(text: str, length: int = 240) -> str:
    """The first sentence of an answer's prose, before any code; at most `length` characters."""
    prose = " ".join(text.partition("```")[0].replace("**", "").split())
    sentence = re.split(r"(?<=[.!?]) (?=[A-Z])", prose, maxsplit=1)[0]
    return sentence if len(sentence) <= length else sentence[: length - 1].rstrip() + "…"


def _with_repair(
    messages: tuple[Message, ...],
    completion: Completion,
    refusal: Refusal,
    candidate: Candidate,
    repair: int,
) -> tuple[Message, ...]:
    """The conversation goes on; only the last refused answer stays in it, so it stays bounded.

    A blocked answer is asked for again as it was: there is nothing to be told.
    """
    if refusal.stage == "answer" and completion.finish_reason != "max_tokens":
        return messages
    turn = fill_prompt(
        "coder_repair",
        round=candidate.round,
        candidate=candidate.index + 1,
        repair=repair,
        refusal=observed(f"{refusal.stage}, rule `{refusal.rule}`\n{refusal.feedback}"),
    )
    said = completion.text if completion.text.strip() else "(no text)"
    return (*messages[:2], Message("assistant", said), Message("user", turn))


def _charge(session: Session, candidate: Candidate, completion: Completion) -> Candidate:
    usage = completion.usage
    tokens = usage.prompt_tokens + usage.output_tokens + usage.thinking_tokens
    dollars = session.ledger.dollars_of(session.config.llm.coder_model, usage, session.client.name)
    known = candidate.dollars is not None and dollars is not None
    return dataclasses.replace(
        candidate,
        model=completion.model_version,
        tokens=candidate.tokens + tokens,
        dollars=(candidate.dollars or 0.0) + (dollars or 0.0) if known else None,
    )


def _spent(candidate: Candidate) -> dict[str, Any]:
    return {"tokens": candidate.tokens, "dollars": candidate.dollars}


def _valid_text(candidate: Candidate) -> str:
    assert candidate.translation is not None
    assert candidate.report is not None
    repaired = f", after {len(candidate.refusals)} repair(s)" if candidate.refusals else ""
    return f"{candidate.translation.dialect}, credit ≥ 0: {candidate.report.igm}{repaired}"
