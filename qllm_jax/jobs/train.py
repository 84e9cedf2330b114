"""`train`: one mixer over S seeds, on one host or several, with a report of its own."""

from pathlib import Path

from qllm_jax.config import Config
from qllm_jax.jobs.checks import checked_task
from qllm_jax.jobs.directory import directory_name, require_one_process, time_stamp
from qllm_jax.jobs.hosts import ALONE, Hosts, join_hosts
from qllm_jax.jobs.hosts_run import train_on_hosts
from qllm_jax.jobs.interrupt import StopRequest
from qllm_jax.jobs.outcome import JobOutcome, print_final_table, write_job_report
from qllm_jax.jobs.reporting import report_data, tfcaf_summary
from qllm_jax.jobs.session import Session, Training, with_fitting_seeds
from qllm_jax.jobs.training_run import train_one, train_or_resume
from qllm_jax.results import Console, EpisodeFigure, RunResult, run_parent
from qllm_jax.tasks.spec import TaskSpec


def train(config: Config) -> RunResult:
    """Train `config.mixer` over `config.runner.num_seeds` seeds; `qllm_jax.train`.

    It leaves a run directory with a report, shows nothing, and runs in this process alone; the
    first Ctrl-C or SIGTERM ends it after the chunk under way, and `info["status"]` says so.

    Returns:
        The run; `metrics["return"]` is `[S, E]` for S seeds and E evaluations.

    Raises:
        UserError: The config asks for something impossible; the message says what would fit.
    """
    require_one_process(config.hosts, "qllm_jax.train")
    with Console(quiet=True) as console:
        return _train_with(config, checked_task(config), console).runs[0]


def train_job(config: Config) -> JobOutcome:
    """`qllm-jax train`: as `train`, with progress, a table and a report; on several hosts too."""
    hosts = join_hosts(config.hosts, time_stamp())
    spec = checked_task(config)
    with Console(quiet=not hosts.is_first) as console:
        outcome = _train_with(config, spec, console, hosts)
        if not hosts.is_first:
            return outcome
        print_final_table(console, spec, outcome.runs)
        console.print(f"run directory: {outcome.directory}")
        return outcome


def _train_with(
    config: Config, spec: TaskSpec, console: Console, hosts: Hosts = ALONE
) -> JobOutcome:
    """The job on a given display: trains, and on the first host reports."""
    (training,) = with_fitting_seeds([Training.named_by(config, spec)], hosts)
    parent = run_parent(config.runner.output_dir, directory_name(spec.name), config.label)
    with StopRequest() as should_stop:
        session = Session(console, should_stop, hosts)
        result, figure = train_mixer(training, parent, None, session)
    if not hosts.is_first:
        return JobOutcome(result.path, (result,), None, result.info["status"] == "interrupted")
    return report_one(training, result, figure)


def train_mixer(
    training: Training, parent: Path, name: str | None, session: Session
) -> tuple[RunResult, EpisodeFigure]:
    """One training in `parent / name`, or in a directory named by the time; on all hosts."""
    if session.hosts.count > 1:
        return train_on_hosts(training, parent, name, session)
    if name is None:
        return train_one(training, parent, name, session)
    return train_or_resume(training, parent, name, session)


def report_one(training: Training, result: RunResult, figure: EpisodeFigure) -> JobOutcome:
    """The report of a single training, in its own directory."""
    tfcaf = tfcaf_summary(training.artifact) if training.artifact is not None else None
    data = report_data(training.spec, [result], tfcaf=tfcaf, episodes=[figure])
    path = write_job_report(result.path, data)
    interrupted = result.info["status"] == "interrupted"
    return JobOutcome(result.path, (result,), path, interrupted)
