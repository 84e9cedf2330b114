"""`compare`: several mixers, and learners, at equal configuration, in one report."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import yaml

from qllm_jax.config import LEARNERS_WITHOUT_MIXER, Config, config_from_mapping, config_to_mapping
from qllm_jax.jobs.artifacts import load_tfcaf
from qllm_jax.jobs.checks import checked_task
from qllm_jax.jobs.directory import job_directory, time_stamp
from qllm_jax.jobs.hosts import Hosts, join_hosts
from qllm_jax.jobs.interrupt import StopRequest
from qllm_jax.jobs.outcome import JobOutcome, print_final_table, write_job_report
from qllm_jax.jobs.reporting import report_data, tfcaf_summary
from qllm_jax.jobs.train import train_mixer
from qllm_jax.jobs.training_run import with_fitting_seeds
from qllm_jax.results import Console, EpisodeFigure, RunResult, write_text
from qllm_jax.synthesis import SynthesisResult
from qllm_jax.tasks.spec import TaskSpec
from qllm_jax.tfcaf import Artifact

_LEARNERS_FILE = "learners.yaml"  # configs of a comparison's other learners


def compare(config: Config, other_learners: Sequence[Config] = ()) -> JobOutcome:
    """`qllm-jax compare`: train every mixer of `config.compare.mixers`, then report.

    Args:
        config: The job's.
        other_learners: The same with other learners, each of which trains every mixer it takes.
    """
    hosts = join_hosts(config.hosts, time_stamp())
    spec = checked_task(config)
    for one in other_learners:
        checked_task(one)
    _needed_artifact([config, *other_learners], spec)
    directory = job_directory(config, "compare", hosts)
    if hosts.is_first and other_learners:
        others = [config_to_mapping(one) for one in other_learners]
        write_text(directory / _LEARNERS_FILE, yaml.safe_dump(others, sort_keys=False))
    return compare_in(config, directory, hosts)


def compare_in(config: Config, directory: Path, joined: Hosts | None = None) -> JobOutcome:
    """The comparison in its directory, begun or gone on with; `joined` where hosts were found."""
    hosts = joined or join_hosts(config.hosts, time_stamp())
    spec = checked_task(config)
    others = directory / _LEARNERS_FILE
    more = yaml.safe_load(others.read_text()) if others.exists() else []
    configs = [config, *(config_from_mapping(one) for one in more)]
    artifact = _needed_artifact(configs, spec)
    with Console(quiet=not hosts.is_first) as console, StopRequest() as should_stop:
        return compare_mixers(configs, spec, artifact, directory, console, should_stop, None, hosts)


def compare_mixers(
    configs: Sequence[Config],
    spec: TaskSpec,
    artifact: Artifact | None,
    directory: Path,
    console: Console,
    should_stop: StopRequest,
    design: SynthesisResult | None,
    hosts: Hosts,
) -> JobOutcome:
    """Train the mixers one after the other; write the report after each, so that none is lost."""
    runs: list[RunResult] = []
    figures: list[EpisodeFigure] = []
    path = directory / "report.html"
    for one in with_fitting_seeds(_compared(configs), spec, artifact):
        held = artifact if one.uses_tfcaf else None
        result, figure = train_mixer(
            one, spec, held, directory, one.label, console, should_stop, hosts
        )
        runs.append(result)
        if not hosts.is_first:
            continue
        if held is not None:
            figures.append(figure)
        tfcaf = tfcaf_summary(artifact) if artifact is not None else None
        data = report_data(spec, runs, tfcaf=tfcaf, episodes=figures, design=design)
        path = write_job_report(directory, data)
        if should_stop():
            break
    if hosts.is_first:
        print_final_table(console, spec, runs)
        console.print(f"report: {path}")
    return JobOutcome(directory, tuple(runs), path, interrupted=should_stop())


def _needed_artifact(configs: Sequence[Config], spec: TaskSpec) -> Artifact | None:
    """The artifact that `mixer.artifact` names, or the one shipped for the task."""
    if not any(one.uses_tfcaf for one in _compared(configs)):
        return None
    return load_tfcaf(configs[0].mixer, spec)


def _compared(configs: Sequence[Config]) -> list[Config]:
    """One config per training: every mixer with every learner that takes one."""
    trainings = []
    for config in configs:
        names = config.compare.mixers
        if config.learner.name in LEARNERS_WITHOUT_MIXER:
            names = (config.mixer.name,)
        for name in names:
            mixer = dataclasses.replace(config.mixer, name=name)
            trainings.append(dataclasses.replace(config, mixer=mixer))
    return trainings
