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
    progress = Progress()

    def on_event(event: SynthesisEvent) -> None:
        progress.note(event)
        if event.candidate:
            console.show_table(candidate_table(progress.rows.values()))
        console.update(progress.num_settled, note=event.text)

    result = synthesise(spec, config, client, directory / "design", on_event=on_event)
    save_artifact(result.artifact, directory / "artifact")
    console.finish(note=f"{result.chosen.name} chosen")
    return result


class Progress:
    """What the live table shows, and how many candidates' fates are known.

    Attributes:
        rows: The newest event of every candidate and fixed arm, with all values known of it; a
            candidate stays in the round that proposed it.
    """

    def __init__(self) -> None:
        self.rows: dict[str, SynthesisEvent] = {}
        self._proposed: dict[str, int] = {}  # round by candidate; fixed arms are not proposed
        self._settled: set[str] = set()

    @property
    def num_settled(self) -> int:
        """Candidates that were measured or dropped, and all of a round that has chosen."""
        return len(self._settled)

    def note(self, event: SynthesisEvent) -> None:
        """Take an event in."""
        name = event.candidate
        if event.kind == "asking":
            self._proposed[name] = event.round
        if name:
            known = self.rows[name].values if name in self.rows else {}
            self.rows[name] = dataclasses.replace(
                event,
                round=self._proposed.get(name, event.round),
                values={**known, **event.values},
            )
        if name in self._proposed and event.kind in ("measured", "duplicate", "failed"):
            self._settled.add(name)
        if event.kind in ("round", "chosen", "stopped"):
            past = event.round - (event.kind == "round")
            self._settled |= {item for item, number in self._proposed.items() if number <= past}
