"""`generate`: a language model writes a TFCAF for a task; leaves an artifact and a report."""

import dataclasses
from pathlib import Path

from qllm_jax.config import Config
from qllm_jax.jobs.directory import job_directory
from qllm_jax.jobs.outcome import JobOutcome, write_job_report
from qllm_jax.jobs.reporting import candidate_table, report_data, tfcaf_summary
from qllm_jax.llm import make_client
from qllm_jax.results import Console
from qllm_jax.synthesis import SynthesisEvent, SynthesisResult
from qllm_jax.synthesis import generate as synthesise
from qllm_jax.tasks import get_task
from qllm_jax.tasks.spec import TaskSpec
from qllm_jax.tfcaf import save_artifact


def generate(config: Config) -> JobOutcome:
    """`qllm-jax generate`: write, verify and evaluate a TFCAF; leaves an artifact."""
    get_task(config.task.source, **config.task.env_kwargs)
    return generate_in(config, job_directory(config, "generate"))


def generate_in(config: Config, directory: Path) -> JobOutcome:
    """The design in its directory, begun or gone on with."""
    spec = get_task(config.task.source, **config.task.env_kwargs)
    with Console() as console:
        result = design(config, spec, directory, console)
        tfcaf = tfcaf_summary(result.artifact)
        data = report_data(spec, (), tfcaf=tfcaf, design=result, config=config)
        path = write_job_report(directory, data)
        console.print(f"chosen: {result.reason}")
        console.print(f"artifact: {directory / 'artifact'}")
        console.print(f"report: {path}")
    return JobOutcome(directory, report=path)


def design(config: Config, spec: TaskSpec, directory: Path, console: Console) -> SynthesisResult:
    """Run the coder–evaluator loop with a live table; saves the artifact."""
    client = make_client(config.llm)
    synthesis = config.synthesis
    total = synthesis.num_rounds * synthesis.num_candidates
    console.phase(f"design {spec.name}", total, unit="candidates")
    rows: dict[str, SynthesisEvent] = {}
    proposed: set[str] = set()  # the fixed arms of a tournament have rows, but no proposal

    def on_event(event: SynthesisEvent) -> None:
        if event.kind == "asking":
            proposed.add(event.candidate)
        if event.candidate:
            known = rows[event.candidate].values if event.candidate in rows else {}
            rows[event.candidate] = dataclasses.replace(event, values={**known, **event.values})
            console.show_table(candidate_table(rows.values()))
        done = sum(rows[name].kind not in ("asking", "answered") for name in proposed)
        console.update(done, note=event.text)

    result = synthesise(spec, config, client, directory / "design", on_event=on_event)
    save_artifact(result.artifact, directory / "artifact")
    console.finish(note=f"{result.chosen.name} chosen")
    return result
