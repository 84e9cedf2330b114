"""From the parts' own types to the plain values of a report. Used by the jobs."""

import datetime
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax
import numpy as np

from qllm_jax.config import Config, config_to_mapping
from qllm_jax.results import (
    CandidateRow,
    CheckRow,
    CostRow,
    EpisodeFigure,
    Measure,
    ReportData,
    RunResult,
    Table,
    TfcafSummary,
    synthesis_table,
)
from qllm_jax.synthesis import ArmMeasurement, SynthesisEvent, SynthesisResult
from qllm_jax.tasks.spec import TaskSpec
from qllm_jax.tfcaf import Artifact
from qllm_jax.training import EpisodeTrace


def command_line() -> str:
    """The command that runs now, as a person would type it again."""
    program = Path(sys.argv[0]).name
    return " ".join(["qllm-jax" if program.startswith("qllm-jax") else program, *sys.argv[1:]])


def episode_figure(spec: TaskSpec, trace: EpisodeTrace, title: str) -> EpisodeFigure:
    """A recorded episode as a figure; without frames where the task cannot be drawn."""
    length = len(trace.rewards)
    frames: list[np.ndarray] = []
    if spec.render is not None:
        for step in range(length):
            env_state = jax.tree.map(lambda leaf, at=step: leaf[at], trace.env_states)
            frames.append(np.asarray(spec.render(env_state)))
    return EpisodeFigure(
        frames=frames,
        credits=trace.credits,
        agent_names=spec.agent_names,
        rewards=trace.rewards,
        q_tot=trace.q_tot,
        title=title,
    )


def tfcaf_summary(artifact: Artifact) -> TfcafSummary:
    """An artifact as a report shows it."""
    provenance = {  # chosen without measurement, it has no score
        key: value
        for key, value in artifact.provenance.items()
        if value is not None and value != [None, None]
    }
    return TfcafSummary(
        source=artifact.source,
        original=artifact.original,
        dialect=artifact.dialect,
        checks=[
            CheckRow(
                name=str(check["name"]),
                passed=bool(check["passed"]),
                detail=str(check["detail"]),
                required=bool(check.get("required", True)),
            )
            for check in artifact.checks
        ],
        igm=artifact.igm,
        reason=str(provenance.pop("reason", "")),
        provenance={**provenance, "hash": artifact.sha256, "scale": artifact.scale},
    )


def candidate_table(events: Iterable[SynthesisEvent]) -> Table:
    """The design loop so far, one row per candidate, from each one's newest event."""
    rows = []
    for event in events:
        values = event.values
        rows.append(
            CandidateRow(
                name=event.candidate,
                round=event.round,
                verdict=event.kind,
                rule=str(values.get("rule", "")),
                score=values.get("score"),
                low=values.get("low"),
                high=values.get("high"),
                tokens=values.get("tokens"),
                dollars=values.get("dollars"),
            )
        )
    return synthesis_table(rows)


def report_data(
    spec: TaskSpec,
    runs: Sequence[RunResult],
    *,
    tfcaf: TfcafSummary | None = None,
    episodes: Sequence[EpisodeFigure] = (),
    design: SynthesisResult | None = None,
    config: Config | None = None,
) -> ReportData:
    """Everything a report shows of a job; `config` is that of a design without runs."""
    info: Mapping[str, Any] = (
        runs[0].info if runs else {"command": command_line(), "versions": versions_here()}
    )
    return ReportData(
        task=spec.name,
        runs=[result.summary() for result in runs],
        score=spec.score,
        landmarks=dict(spec.landmarks),
        outcome=outcome_measure(spec),
        tfcaf=tfcaf,
        candidates=_candidate_rows(design) if design is not None else (),
        episodes=episodes,
        costs=_cost_rows(design) if design is not None else (),
        agreement={str(n): tau for n, tau in design.agreement.items()} if design else {},
        command=str(info.get("command", "")),
        device=str(info.get("device", "")),
        precision=str(info.get("precision", "")),
        versions=dict(info.get("versions", {})),
        config=dict(runs[0].config) if runs else config_to_mapping(config or Config()),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        notes=list(design.notes) if design is not None else (),
    )


def outcome_measure(spec: TaskSpec) -> Measure | None:
    """The task's second measure, as tables and reports take it."""
    if spec.outcome is None:
        return None
    return Measure(spec.outcome.name, spec.outcome.metric, dict(spec.outcome.landmarks))


def versions_here() -> dict[str, str]:
    """Of this package and of those that a design depends on."""
    try:
        own = version("qllm-jax")
    except PackageNotFoundError:  # run from a checkout that was not installed
        own = "not installed"
    return {"qllm-jax": own, "jax": version("jax"), "jaxmarl": version("jaxmarl")}


def _candidate_rows(design: SynthesisResult) -> list[CandidateRow]:
    arms = [
        CandidateRow(name=name, round=0, verdict="arm", **_measured(arm))
        for name, arm in design.reference.items()
    ]
    by_name = {item.name: item for item in design.candidates}
    return [
        CandidateRow(
            name=item.name,
            round=item.round,
            parent=item.parent,
            verdict=item.verdict,
            rule=item.rule,
            feedback=item.feedback,
            advice=item.advice,
            tokens=item.tokens,
            dollars=item.dollars,
            difference=item.summary,
            program=item.original,
            diff=item.difference_to(by_name[item.parent]) if item.parent in by_name else "",
            **_measured(item.measurement),
        )
        for item in design.candidates
    ] + arms


def _measured(arm: ArmMeasurement | None) -> dict[str, Any]:
    """A measurement's fields of a `CandidateRow`."""
    if arm is None:
        return {}
    low, high = arm.interval
    return {
        "score": arm.score,
        "low": low,
        "high": high,
        "num_seeds": len(arm.scores),
        "env_steps": arm.env_steps,
        "curve": arm.curve,
        "td_error": arm.td_error,
    }


def _cost_rows(design: SynthesisResult) -> list[CostRow]:
    return [
        CostRow(
            role=row.purpose,
            model=row.model,
            calls=row.calls,
            prompt_tokens=row.usage.prompt_tokens,
            output_tokens=row.usage.output_tokens + row.usage.thinking_tokens,
            dollars=row.dollars,
            seconds=row.seconds,
            recorded=design.recorded,
            failed=row.failed_attempts,
        )
        for row in design.costs
    ]
