"""What a job leaves: its directory, the runs in it, the report, the final table."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from qllm_jax.jobs.reporting import outcome_measure
from qllm_jax.results import (
    Console,
    ReportData,
    RunResult,
    comparison_rows,
    comparison_table,
    reference_threshold,
    save_report_data,
    write_report,
)
from qllm_jax.tasks.spec import TaskSpec


@dataclasses.dataclass(frozen=True)
class JobOutcome:
    """What a job left.

    Attributes:
        directory: Where everything of the job is.
        runs: Run directories, read back.
        report: The HTML report; None where there is nothing to report.
        interrupted: It was stopped before the end.
    """

    directory: Path
    runs: tuple[RunResult, ...] = ()
    report: Path | None = None
    interrupted: bool = False

    @property
    def exit_code(self) -> int:
        """0, or 130 after an interruption."""
        return 130 if self.interrupted else 0


def write_job_report(directory: Path, data: ReportData) -> Path:
    """`report.html`, and the data to draw it again."""
    save_report_data(directory, data)
    return write_report(directory / "report.html", data)


def print_final_table(console: Console, spec: TaskSpec, runs: Sequence[RunResult]) -> None:
    """The report's final table, in the terminal."""
    summaries = [result.summary() for result in runs]
    threshold, outcome = reference_threshold(summaries), outcome_measure(spec)
    table = comparison_table(
        comparison_rows(summaries, threshold, outcome),
        title=spec.name,
        score=spec.score,
        landmarks=dict(spec.landmarks),
        outcome=outcome,
        threshold=threshold,
    )
    console.print_table(table)
