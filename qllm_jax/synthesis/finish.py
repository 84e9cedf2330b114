"""The end of a design run: the finalist scored again on fresh seeds, verdicts, the artifact.

Called by `loop.generate` when the rounds are over.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from qllm_jax.llm import is_replay
from qllm_jax.synthesis.candidate import Candidate, is_candidate_name
from qllm_jax.synthesis.measurement import ArmMeasurement, MeasureFn, paired_interval
from qllm_jax.synthesis.measuring import measure_finalist
from qllm_jax.synthesis.result import SynthesisResult
from qllm_jax.synthesis.rounds import RoundOutcome
from qllm_jax.synthesis.session import Session
from qllm_jax.tfcaf import Artifact, make_artifact


def finish(
    session: Session,
    outcomes: Sequence[RoundOutcome],
    stopped: str,
    measure: MeasureFn | None,
) -> SynthesisResult:
    """Score the finalist again and put the result together.

    Args:
        session: The run.
        outcomes: Of all rounds; at least one has chosen a candidate.
        stopped: Why the rounds ended.
        measure: Trains arms; None where nothing is measured.
    """
    chosen = next(item.chosen for item in reversed(outcomes) if item.chosen is not None)
    final: dict[str, ArmMeasurement] = {}
    if measure is not None and session.config.synthesis.final_seeds > 0:
        final = measure_finalist(session, len(outcomes), chosen, measure)
    latest: dict[str, ArmMeasurement] = {}
    for outcome in outcomes:
        latest |= outcome.measured or {}
    latest |= final
    advice = {item.chosen.name: item.advice for item in outcomes if item.chosen is not None}
    candidates = tuple(
        _judged(item, chosen.name, latest.get(item.name), advice.get(item.name, ""))
        for outcome in outcomes
        for item in outcome.candidates
    )
    chosen = next(item for item in candidates if item.name == chosen.name)
    reason = _reason(chosen, outcomes, final)
    session.tell("chosen", len(outcomes), chosen.name, reason)
    return SynthesisResult(
        artifact=_artifact(session, chosen, reason),
        chosen=chosen,
        candidates=candidates,
        reason=reason,
        stopped=stopped,
        costs=session.ledger.rows(),
        reference={name: arm for name, arm in latest.items() if not is_candidate_name(name)},
        agreement={
            number: outcome.agreement
            for number, outcome in enumerate(outcomes, start=1)
            if outcome.agreement is not None
        },
        provider=session.client.name,
        notes=_notes(session, outcomes),
    )


def _judged(
    candidate: Candidate, chosen: str, measurement: ArmMeasurement | None, advice: str
) -> Candidate:
    if candidate.name == chosen:
        verdict = "chosen"
    elif candidate.verdict == "valid":
        verdict = "measured" if measurement is not None else "kept"
    else:
        verdict = candidate.verdict
    return dataclasses.replace(candidate, verdict=verdict, advice=advice, measurement=measurement)


def _reason(
    chosen: Candidate, outcomes: Sequence[RoundOutcome], final: Mapping[str, ArmMeasurement]
) -> str:
    parts = [
        f"Round {number}: {outcome.chosen.name} was chosen because {outcome.reason}"
        for number, outcome in enumerate(outcomes, start=1)
        if outcome.chosen is not None and outcome.reason
    ]
    if chosen.name in final:
        arm = final[chosen.name]
        low, high = arm.interval
        text = (
            f"On {len(arm.scores)} fresh seeds {chosen.name} scores {arm.score:.2f} "
            f"[{low:.2f}, {high:.2f}]"
        )
        for name in final:
            if name != chosen.name:
                low, high = paired_interval(arm, final[name])
                text += f"; its difference to {name} is [{low:+.2f}, {high:+.2f}]"
        parts.append(text + ".")
    return " ".join(parts)


def _notes(session: Session, outcomes: Sequence[RoundOutcome]) -> tuple[str, ...]:
    notes = []
    if is_replay(session.client.name):
        notes.append("The language model's answers were replayed from recorded transcripts.")
    unpriced = sorted({row.model for row in session.ledger.rows() if row.dollars is None})
    if unpriced:
        notes.append(
            f"The price of {', '.join(unpriced)} is unknown (llm.prices), so money was not counted "
            "and synthesis.max_dollars bounds nothing; the caps on tokens, calls and time hold."
        )
    notes += [outcome.problem for outcome in outcomes if outcome.problem]
    return tuple(notes)


def _artifact(session: Session, chosen: Candidate, reason: str) -> Artifact:
    assert chosen.translation is not None
    config, measurement = session.config, chosen.measurement
    low, high = measurement.interval if measurement else (None, None)
    return make_artifact(
        chosen.translation,
        task=session.spec.name,
        scale="num_agents" if config.mixer.scale == "num_agents" else "none",
        provenance={
            "provider": session.client.name,
            "model": chosen.model,
            "round": chosen.round,
            "candidate": chosen.name,
            "parent": chosen.parent,
            "direction": chosen.hint,
            "repairs": len(chosen.refusals),
            "score": measurement.score if measurement else None,
            "interval": [low, high],
            "num_seeds": len(measurement.scores) if measurement else None,
            "env_steps": measurement.env_steps[-1] if measurement else None,
            "evaluator": config.synthesis.evaluator,
            "reason": reason,
        },
        report=chosen.report,
        igm_mode=config.synthesis.igm,
    )
