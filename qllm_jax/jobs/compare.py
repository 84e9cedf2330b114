"""`compare`: several mixers, and learners, at equal configuration, in one report."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import yaml

from qllm_jax.config import LEARNERS_WITHOUT_MIXER, Config, config_from_mapping, config_to_mapping
from qllm_jax.errors import require
from qllm_jax.jobs.artifacts import load_tfcaf
from qllm_jax.jobs.checks import checked_task
from qllm_jax.jobs.directory import job_directory, time_stamp
from qllm_jax.jobs.hosts import Hosts, join_hosts
from qllm_jax.jobs.interrupt import StopRequest
from qllm_jax.jobs.outcome import JobOutcome, print_final_table, write_job_report
from qllm_jax.jobs.reporting import report_data, tfcaf_summary
from qllm_jax.jobs.session import Session, Training, with_fitting_seeds
from qllm_jax.jobs.train import train_mixer
from qllm_jax.results import (
    Console,
    EpisodeFigure,
    RunResult,
    is_run,
    load_config,
    write_text,
)
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
    spec = checked_learners(config, other_learners)
    trainings_of([config, *other_learners], spec)  # refused before anything is made
    directory = job_directory(config, "compare", hosts)
    if hosts.is_first:
        keep_learners(directory, other_learners)
    return compare_in(config, directory, hosts)


def compare_in(config: Config, directory: Path, joined: Hosts | None = None) -> JobOutcome:
    """The comparison in its directory, begun or gone on with; `joined` where hosts were found."""
    hosts = joined or join_hosts(config.hosts, time_stamp())
    spec = checked_task(config)
    configs = [config, *kept_learners(directory)]
    with Console(quiet=not hosts.is_first) as console, StopRequest() as should_stop:
        session = Session(console, should_stop, hosts)
        return compare_mixers(trainings_of(configs, spec), directory, session)


def checked_learners(config: Config, others: Sequence[Config]) -> TaskSpec:
    """The task of configs that differ in the learner, each of them checked.

    Raises:
        UserError: As `checked_task`; or `compare.learners` names others than were given.
    """
    given, named = [one.learner.name for one in (config, *others)], config.compare.learners
    require(
        not named or sorted(named) == sorted(given),
        f"compare.learners is {list(named)}, but the configurations are of {given}. Pass one "
        "configuration per learner: `first, *others = compose_learners(overrides)`.",
    )
    for one in others:
        checked_task(one)
    return checked_task(config)


def keep_learners(directory: Path, others: Sequence[Config]) -> None:
    """Note a job's other learners in its directory, so that `resume` knows them."""
    if others:
        configs = [config_to_mapping(one) for one in others]
        write_text(directory / _LEARNERS_FILE, yaml.safe_dump(configs, sort_keys=False))


def kept_learners(directory: Path) -> list[Config]:
    """A job's other learners."""
    path = directory / _LEARNERS_FILE
    configs = yaml.safe_load(path.read_text()) if path.exists() else []
    return [config_from_mapping(one) for one in configs]


def compare_mixers(
    trainings: Sequence[Training],
    directory: Path,
    session: Session,
    design: SynthesisResult | None = None,
) -> JobOutcome:
    """Train one after the other; write the report after each, so that none is lost.

    Args:
        trainings: What is compared, of one task.
        directory: The job's.
        session: Display, stop request and hosts.
        design: Where the TFCAF was written in the same job.
    """
    runs: list[RunResult] = []
    figures: list[EpisodeFigure] = []
    path = directory / "report.html"
    spec, is_first = trainings[0].spec, session.hosts.is_first
    shown = [one.artifact for one in trainings if one.artifact is not None]
    if design is not None:
        shown = [design.artifact]
    for training in _with_seeds(trainings, directory, session.hosts):
        result, figure = train_mixer(training, directory, training.config.label, session)
        runs.append(result)
        if not is_first:
            continue
        if training.artifact is not None:
            figures.append(figure)
        tfcaf = tfcaf_summary(shown[0]) if shown else None
        data = report_data(spec, runs, tfcaf=tfcaf, episodes=figures, design=design)
        path = write_job_report(directory, data)
        if session.should_stop():
            break
    if is_first:
        print_final_table(session.console, spec, runs)
        session.console.print(f"report: {path}")
    return JobOutcome(directory, tuple(runs), path, interrupted=session.should_stop())


def _with_seeds(trainings: Sequence[Training], directory: Path, hosts: Hosts) -> Sequence[Training]:
    """The trainings with a number of seeds: `with_fitting_seeds`, or what the job began with.

    A resumed job must not count anew what fits: the host's memory may be fuller or emptier now.
    """
    begun = [directory / one.config.label for one in trainings]
    counts = [load_config(path)["runner"]["num_seeds"] for path in begun if is_run(path)]
    if counts:
        return [one.with_seeds(counts[0]) for one in trainings]
    return with_fitting_seeds(trainings, hosts)


def trainings_of(
    configs: Sequence[Config], spec: TaskSpec, artifact: Artifact | None = None
) -> list[Training]:
    """What configs compare: every mixer with every learner that takes one.

    Args:
        configs: Of one task.
        spec: The task.
        artifact: Of the TFCAF mixers; None takes the one that `mixer.artifact` names or the one
            shipped for the task, where a mixer needs it.
    """
    compared = []
    for config in configs:
        names = config.compare.mixers
        if config.learner.name in LEARNERS_WITHOUT_MIXER:
            names = (config.mixer.name,)
        for name in names:
            mixer = dataclasses.replace(config.mixer, name=name)
            compared.append(dataclasses.replace(config, mixer=mixer))
    if artifact is None and any(one.uses_tfcaf for one in compared):
        artifact = load_tfcaf(configs[0].mixer, spec)
    return [Training(one, spec, artifact if one.uses_tfcaf else None) for one in compared]
