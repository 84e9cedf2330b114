"""`report`: the report of finished jobs again, or their runs in marl-eval's format."""

import json
from collections.abc import Sequence
from pathlib import Path

from qllm_jax.errors import UserError
from qllm_jax.jobs.reporting import report_data, tfcaf_summary
from qllm_jax.results import (
    RunResult,
    find_runs,
    load_report_data,
    marl_eval_data,
    write_report,
    write_text,
)
from qllm_jax.tasks import get_task
from qllm_jax.tfcaf import load_artifact


def report(paths: Sequence[Path], output: Path) -> Path:
    """`qllm-jax report`: write a job's report again, or one report over runs of several jobs.

    A single job's directory gives all that its report showed; several directories give their runs
    and the TFCAF, since the design and the episodes belong to one job.
    """
    if len(paths) == 1 and (paths[0] / "report.json").exists():
        return write_report(output, load_report_data(paths[0]))
    runs = [RunResult.load(path) for parent in paths for path in find_runs(parent)]
    tasks = {str(result.info.get("task")) for result in runs}
    if len(tasks) > 1:
        raise UserError(f"these runs are of different tasks ({', '.join(sorted(tasks))}).")
    artifacts = [result.path for result in runs if (result.path / "tfcaf.json").exists()]
    tfcaf = tfcaf_summary(load_artifact(artifacts[0])) if artifacts else None
    spec = get_task(tasks.pop(), **runs[0].config.get("task", {}).get("env_kwargs", {}))
    return write_report(output, report_data(spec, runs, tfcaf=tfcaf))


def export_marl_eval(paths: Sequence[Path], output: Path) -> Path:
    """`qllm-jax report --marl-eval`: runs of any jobs in marl-eval's JSON format."""
    runs = [RunResult.load(path) for parent in paths for path in find_runs(parent)]
    write_text(output, json.dumps(marl_eval_data(runs)) + "\n")
    return output
