"""The directory of a job with several parts, and `job.yaml` in it, from which `resume` goes on."""

import datetime
from pathlib import Path

import yaml

from qllm_jax.config import Config, HostsConfig, config_to_mapping
from qllm_jax.errors import UserError, require
from qllm_jax.jobs.hosts import Hosts
from qllm_jax.results.files import write_text

JOB_FILE = "job.yaml"  # kind and config of a job with several parts, for `resume`


def time_stamp() -> str:
    """Now, as part of a name; seconds are the smallest unit."""
    return datetime.datetime.now().strftime("%Y%m%d-%H%M%S")


def directory_name(task: str) -> str:
    """A task id as part of a path: itself, or a user's import path without its punctuation."""
    return task if ":" not in task else Path(task.replace(":", ".")).name


def job_directory(config: Config, kind: str, hosts: Hosts | None = None) -> Path:
    """A directory of its own for a job with several parts; the same on all hosts."""
    if hosts is None:
        require_one_process(config.hosts, kind)
    stamp = hosts.stamp if hosts is not None else time_stamp()
    parent = Path(config.runner.output_dir) / directory_name(config.task.source)
    if hosts is not None and hosts.count > 1:
        path = parent / f"{kind}-{stamp}"
        if hosts.is_first:
            _start_job(path, config, kind)
        return path
    for attempt in range(1, 1000):
        path = parent / f"{kind}-{stamp}{'' if attempt == 1 else f'-{attempt}'}"
        try:
            return _start_job(path, config, kind)
        except FileExistsError:
            continue
    raise UserError(f"{parent} holds a thousand jobs started at {stamp}.")


def require_one_process(hosts: HostsConfig, kind: str) -> None:
    """Refuse several hosts for a job that knows of none.

    Raises:
        UserError: A coordinator is set.
    """
    require(
        hosts.coordinator is None,
        f"hosts.coordinator is set, but `{kind}` runs in one process. Use it with train or "
        "compare, for which `generate` leaves the artifact.",
    )


def keep_config(path: Path, config: Config, kind: str) -> None:
    """Note in a job's directory what `resume` needs; again where it goes on with other caps."""
    job = {"kind": kind, "config": config_to_mapping(config)}
    write_text(path / JOB_FILE, yaml.safe_dump(job, sort_keys=False))


def _start_job(path: Path, config: Config, kind: str) -> Path:
    """Make the directory, with the job's config in it."""
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        raise
    except OSError as error:
        raise UserError(
            f"{path} cannot be created: {error.strerror}. Set runner.output_dir."
        ) from None
    keep_config(path, config, kind)
    return path
