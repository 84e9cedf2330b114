"""`resume`: a training or a whole job that was stopped or killed goes on."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from qllm_jax.config import HostsConfig, config_from_mapping
from qllm_jax.errors import require
from qllm_jax.jobs.artifacts import load_safe
from qllm_jax.jobs.checks import checked_task
from qllm_jax.jobs.compare import compare_in
from qllm_jax.jobs.directory import JOB_FILE, keep_config, require_one_process, time_stamp
from qllm_jax.jobs.generate import generate_in
from qllm_jax.jobs.hosts import join_hosts
from qllm_jax.jobs.hosts_run import train_on_hosts
from qllm_jax.jobs.interrupt import StopRequest
from qllm_jax.jobs.outcome import JobOutcome, print_final_table
from qllm_jax.jobs.run import run_in
from qllm_jax.jobs.session import Session, Training
from qllm_jax.jobs.sweep import sweep_in
from qllm_jax.jobs.train import report_one
from qllm_jax.jobs.training_run import is_complete, resume_one
from qllm_jax.results import Console, load_config
from qllm_jax.tfcaf import holds_artifact

_JOBS = {"compare": compare_in, "generate": generate_in, "run": run_in, "sweep": sweep_in}
_WITH_DESIGN = ("generate", "run")


def resume(
    path: Path, hosts_config: HostsConfig | None = None, caps: Mapping[str, Any] | None = None
) -> JobOutcome:
    """`qllm-jax resume`: continue a training or a whole job that was stopped or killed.

    A job continues its design where its journal ends, keeps the trainings that are complete,
    resumes the one that is not, and does those that are left.

    Args:
        path: A run directory, or a job's.
        hosts_config: Which host of several this is.
        caps: New values of the design's caps, `max_tokens` to `max_seconds` of `synthesis`; the
            job keeps them.

    Raises:
        UserError: It is not a run or job directory, is complete, or was made with other settings.
    """
    settings = hosts_config or HostsConfig()
    if (path / JOB_FILE).exists():
        job = yaml.safe_load((path / JOB_FILE).read_text())
        kind = job["kind"]
        require(
            kind in _JOBS,
            f"{path} holds a {kind}, which cannot be resumed. Run it again.",
        )
        if kind != "compare":
            require_one_process(settings, kind)
        config = config_from_mapping(job["config"])
        if caps:
            require(
                kind in _WITH_DESIGN,
                f"{path} is a {kind} job, which has no design: synthesis.* caps nothing. "
                "Leave it out.",
            )
            synthesis = dataclasses.replace(config.synthesis, **caps)
            config = dataclasses.replace(config, synthesis=synthesis)
            keep_config(path, config, kind)
        return _JOBS[kind](dataclasses.replace(config, hosts=settings), path)
    require(not caps, f"{path} is a training, which has no design: leave synthesis.* out.")
    hosts = join_hosts(settings, time_stamp())
    config = dataclasses.replace(config_from_mapping(load_config(path)), hosts=settings)
    spec = checked_task(config)
    if config.uses_tfcaf and holds_artifact(path):
        training = Training(config, spec, load_safe(path))
    else:  # it has none, or was killed before it was copied there
        training = Training.named_by(config, spec)
    with Console(quiet=not hosts.is_first) as console, StopRequest() as should_stop:
        session = Session(console, should_stop, hosts)
        if hosts.count > 1 and not is_complete(path):
            result, figure = train_on_hosts(training, path.parent, path.name, session)
        else:
            result, figure = resume_one(training, path, session)
        if not hosts.is_first:
            interrupted = result.info["status"] == "interrupted"
            return JobOutcome(path, (result,), interrupted=interrupted)
        outcome = report_one(training, result, figure)
        print_final_table(console, spec, outcome.runs)
        console.print(f"run directory: {outcome.directory}")
    return outcome
