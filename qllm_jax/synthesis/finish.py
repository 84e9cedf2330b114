"""The end of a design run: the finalist scored again on fresh seeds, verdicts, the artifact."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from qllm_jax.synthesis.candidate import Candidate
from qllm_jax.synthesis.coder import Session
from qllm_jax.synthesis.measure import (
    VDN,
    ArmFn,
    ArmMeasurement,
    MeasureFn,
    Seeds,
    measurement_from_json,
    measurement_to_json,
    paired_interval,
    vdn,
)
from qllm_jax.synthesis.result import SynthesisResult
from qllm_jax.synthesis.rounds import RoundOutcome, tell_scores
from qllm_jax.tfcaf import Artifact, make_artifact

FINAL_SEED = 200_000

MixerFn = Callable[[str, Seeds], ArmMeasurement]


def finish(
    session: Session,
    outcomes: Sequence[RoundOutcome],
    stopped: str,
    measure: MeasureFn | None,
    train_mixer: MixerFn | None,
) -> SynthesisResult:
    """Score the finalist again and put the result together.

    Args:
        session: The run.
        outcomes: Of all rounds; at least one has chosen a candidate.
        stopped: Why the rounds ended.
        measure: Trains arms; None where nothing is measured.
        train_mixer: Measures a learned mixer by name; None where that is not possible.
    """
    chosen = next(item.chosen for item in reversed(outcomes) if item.chosen is not None)
    final = _score_again(session, chosen, len(outcomes), measure, train_mixer)
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
    session.tell("done", len(outcomes), chosen.name, reason)
    references = [name for name in latest if not any(name == item.name for item in candidates)]
    return SynthesisResult(
        artifact=_artifact(session, chosen, reason),
        chosen=chosen,
        candidates=candidates,
        reason=reason,
        stopped=stopped,
        costs=session.ledger.rows(),
        reference={name: (latest[name].score, *latest[name].interval) for name in references},
        agreement={
            number: outcome.agreement
            for number, outcome in enumerate(outcomes, start=1)
            if outcome.agreement is not None
        },
        provider=session.client.name,
        notes=_notes(session, outcomes),
    )


def _score_again(
    session: Session,
    chosen: Candidate,
    num_rounds: int,
    measure: MeasureFn | None,
    train_mixer: MixerFn | None,
) -> dict[str, ArmMeasurement]:
    """The finalist and the references on seeds that decided nothing: an unbiased score."""
    synthesis = session.config.synthesis
    if measure is None or synthesis.final_seeds == 0:
        return {}
    assert chosen.translation is not None
    arms: dict[str, ArmFn] = {chosen.name: chosen.translation.function}
    if VDN in synthesis.references:
        arms = {VDN: vdn, **arms}
    learned = [name for name in synthesis.references if name != VDN and train_mixer is not None]
    seeds = Seeds(FINAL_SEED, synthesis.final_seeds)
    session.tell(
        "measuring", num_rounds, text=f"scoring {chosen.name} again on {seeds.count} fresh seeds"
    )

    def score() -> dict[str, Any]:
        measured = measure(arms, seeds)
        for name in learned:
            assert train_mixer is not None
            measured[name] = train_mixer(name, seeds)
        return {name: measurement_to_json(arm) for name, arm in measured.items()}

    step = f"r{num_rounds}.final.{chosen.name}"
    content = session.journal.step(step, score, seconds=session.ledger.seconds)
    final = {name: measurement_from_json(arm) for name, arm in content.items()}
    tell_scores(session, num_rounds, final)
    return final


def _judged(
    candidate: Candidate, chosen: str, measurement: ArmMeasurement | None, advice: str
) -> Candidate:
    if candidate.name == chosen:
        verdict = "chosen"
    elif candidate.verdict == "valid":
        verdict = "measured" if measurement is not None else "kept"
    else:
        verdict = candidate.verdict
    candidate = dataclasses.replace(candidate, verdict=verdict, advice=advice)
    if measurement is None:
        return candidate
    low, high = measurement.interval
    return dataclasses.replace(
        candidate,
        score=measurement.score,
        low=low,
        high=high,
        num_seeds=len(measurement.scores),
    )


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
    if session.client.name == "recorded":
        notes.append("The language model's answers were replayed from recorded transcripts.")
    notes += [outcome.problem for outcome in outcomes if outcome.problem]
    return tuple(notes)


def _artifact(session: Session, chosen: Candidate, reason: str) -> Artifact:
    assert chosen.translation is not None
    config = session.config
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
            "score": chosen.score,
            "interval": [chosen.low, chosen.high],
            "num_seeds": chosen.num_seeds,
            "env_steps": config.synthesis.measured_env_steps if chosen.score else None,
            "evaluator": config.synthesis.evaluator,
            "reason": reason,
        },
        report=chosen.report,
        igm_mode=config.synthesis.igm,
    )
