"""`report`: the report of finished jobs again, or their runs in marl-eval's format."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from qllm_jax.errors import UserError
from qllm_jax.jobs.reporting import report_data, tfcaf_summary
from qllm_jax.results import (
    RunResult,
    find_runs,
    is_measured,
    load_report_data,
    marl_eval_data,
    write_report,
    write_text,
)
from qllm_jax.tasks import get_task
from qllm_jax.tfcaf import holds_artifact, load_artifact


def report(paths: Sequence[Path], output: Path) -> Path:
    """`qllm-jax report`: write a job's report again, or one report over runs of several jobs.

    A single job's directory gives all that its report showed; several directories give their runs
    and the TFCAF, since the design and the episodes belong to one job.
    """
    if len(paths) == 1 and (paths[0] / "report.json").exists():
        return write_report(output, load_report_data(paths[0]))
    runs = _measured_runs(paths)
    tasks = {str(result.info.get("task")) for result in runs}
    if len(tasks) > 1:
        raise UserError(f"these runs are of different tasks ({', '.join(sorted(tasks))}).")
    artifacts = [result.path for result in runs if holds_artifact(result.path)]
    tfcaf = tfcaf_summary(load_artifact(artifacts[0])) if artifacts else None
    spec = get_task(tasks.pop(), **runs[0].config.get("task", {}).get("env_kwargs", {}))
    return write_report(output, report_data(spec, runs, tfcaf=tfcaf))


def export_marl_eval(paths: Sequence[Path], output: Path) -> Path:
    """`qllm-jax report --marl-eval`: runs of any jobs in marl-eval's JSON format."""
    runs = _measured_runs(paths)
    write_text(output, json.dumps(marl_eval_data(runs)) + "\n")
    return output


def _measured_runs(paths: Sequence[Path]) -> list[RunResult]:
    """The runs at or below `paths`; one that was stopped before its first evaluation is left out.

    Raises:
        UserError: None of them was measured.
    """
    found = [path for parent in paths for path in find_runs(parent)]
    measured = [path for path in found if is_measured(path)]
    left_out = [str(path) for path in found if path not in measured]
    if not measured:
        raise UserError(f"nothing was measured yet in {', '.join(left_out)}; resume it first.")
    if left_out:
        print(f"left out, not measured yet: {', '.join(left_out)}", file=sys.stderr)
    return [RunResult.load(path) for path in measured]
