"""The jobs: task → TFCAF → training → report. Wiring only; each step lives in its own part.

    generate   task ──► synthesis ──► artifact
    train      artifact ──► one mixer over S seeds ──► run directory
    compare    several mixers at equal configuration ──► run directories ──► report
    run        generate, then compare
    sweep      one mixer at many settings ──► table, figure, the best as a config
    bench      one configuration, timed for growing numbers of seeds

A job stops cleanly at the first Ctrl-C, between two compiled chunks, and reports what there is.
"""

import dataclasses
import datetime
import json
from collections.abc import Sequence
from pathlib import Path

import yaml

from qllm_jax.bench import Throughput, bench_figure, bench_record, bench_tables
from qllm_jax.bench import measure as measure_bench
from qllm_jax.config import (
    LEARNERS_WITHOUT_MIXER,
    Config,
    HostsConfig,
    MixerConfig,
    SweepConfig,
    config_from_mapping,
    config_to_mapping,
)
from qllm_jax.errors import UserError, require, unknown_name
from qllm_jax.hosts import Hosts, join_hosts
from qllm_jax.hosts_run import train_on_hosts
from qllm_jax.interrupt import StopRequest
from qllm_jax.llm import make_client
from qllm_jax.networks import Mixer, mixer_names
from qllm_jax.paths import data_dir
from qllm_jax.reporting import (
    candidate_table,
    command_line,
    report_data,
    tfcaf_summary,
)
from qllm_jax.results import (
    Console,
    EpisodeFigure,
    ReportData,
    RunResult,
    comparison_rows,
    comparison_table,
    find_runs,
    format_rate,
    load_config,
    load_report_data,
    marl_eval_data,
    reference_threshold,
    run_parent,
    save_figure_png,
    save_report_data,
    write_report,
    write_text,
)
from qllm_jax.schedule import make_schedule
from qllm_jax.sweep import (
    Group,
    SweepResult,
    check_budgets,
    draw_settings,
    run_sweep,
    sweep_csv,
    sweep_figure,
    sweep_record,
    sweep_table,
    with_setting,
)
from qllm_jax.synthesis import SynthesisEvent, SynthesisResult
from qllm_jax.synthesis import generate as synthesise
from qllm_jax.tasks import get_task
from qllm_jax.tasks.spec import TaskSpec
from qllm_jax.tfcaf import Artifact, load_artifact, save_artifact
from qllm_jax.training import ChunkReport, Runs, runs_for_seeds
from qllm_jax.training_run import (
    is_complete,
    mixer_of,
    resume_one,
    train_one,
    train_or_resume,
    with_fitting_seeds,
)
from qllm_jax.verify import check_program


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


def train(config: Config) -> RunResult:
    """Train `config.mixer` over `config.runner.num_seeds` seeds; `qllm_jax.train`.

    Raises:
        UserError: The config asks for something impossible; the message says what would fit.
    """
    with Console(quiet=True) as console:
        return _train_job(config, _checked_task(config), console).runs[0]


def train_job(config: Config) -> JobOutcome:
    """`qllm-jax train`: as `train`, with progress, a table and a report; on several hosts too."""
    hosts = join_hosts(config.hosts, _time_stamp())
    spec = _checked_task(config)
    with Console(quiet=not hosts.is_first) as console:
        outcome = _train_job(config, spec, console, hosts)
        if not hosts.is_first:
            return outcome
        _print_table(console, spec, outcome.runs)
        console.print(f"run directory: {outcome.directory}")
        return outcome


def resume(path: Path, hosts_config: HostsConfig | None = None) -> JobOutcome:
    """`qllm-jax resume`: continue a training or a whole job that was stopped or killed.

    A job continues its design where its journal ends, keeps the trainings that are complete,
    resumes the one that is not, and does those that are left.

    Raises:
        UserError: It is not a run or job directory, is complete, or was made with other settings.
    """
    settings = hosts_config or HostsConfig()
    if (path / _JOB_FILE).exists():
        job = yaml.safe_load((path / _JOB_FILE).read_text())
        config = config_from_mapping(job["config"])
        return _JOBS[job["kind"]](dataclasses.replace(config, hosts=settings), path)
    hosts = join_hosts(settings, _time_stamp())
    config = dataclasses.replace(config_from_mapping(load_config(path)), hosts=settings)
    spec = _checked_task(config)
    artifact = None
    if config.uses_tfcaf:
        has_artifact = (path / "tfcaf.json").exists()  # else killed before it was copied there
        artifact = _load_safe(path) if has_artifact else load_tfcaf(config.mixer, spec)
    with Console(quiet=not hosts.is_first) as console, StopRequest() as should_stop:
        if hosts.count > 1 and not is_complete(path):
            result, figure = train_on_hosts(
                config, spec, artifact, path.parent, path.name, console, should_stop, hosts
            )
        else:
            result, figure = resume_one(config, spec, artifact, path, console, should_stop)
        if not hosts.is_first:
            return JobOutcome(path, (result,))
        outcome = _report_one(spec, artifact, result, figure)
        _print_table(console, spec, outcome.runs)
        console.print(f"run directory: {outcome.directory}")
    return outcome


def compare(config: Config, other_learners: Sequence[Config] = ()) -> JobOutcome:
    """`qllm-jax compare`: train every mixer of `config.compare.mixers`, then report.

    Args:
        config: The job's.
        other_learners: The same with other learners, each of which trains every mixer it takes.
    """
    hosts = join_hosts(config.hosts, _time_stamp())
    spec = _checked_task(config)
    for one in other_learners:
        _checked_task(one)
    _needed_artifact([config, *other_learners], spec)
    directory = _job_directory(config, "compare", hosts)
    if hosts.is_first and other_learners:
        others = [config_to_mapping(one) for one in other_learners]
        write_text(directory / _LEARNERS_FILE, yaml.safe_dump(others, sort_keys=False))
    return _compare_in(config, directory, hosts)


def generate(config: Config) -> JobOutcome:
    """`qllm-jax generate`: write, verify and evaluate a TFCAF; leaves an artifact."""
    get_task(config.task.source, **config.task.env_kwargs)
    return _generate_in(config, _job_directory(config, "generate"))


def bench(config: Config) -> JobOutcome:
    """`qllm-jax bench`: time the training that `config` describes; leaves a record and a figure."""
    spec = _checked_task(config)
    artifact = load_tfcaf(config.mixer, spec) if config.uses_tfcaf else None
    mixer, scale = mixer_of(config, spec, artifact)

    def runs_of(count: int) -> Runs:
        runner = dataclasses.replace(config.runner, num_seeds=count)
        return runs_for_seeds(dataclasses.replace(config, runner=runner), scale)

    directory = _job_directory(config, "bench")
    with Console() as console:
        console.phase(f"bench {mixer.name}", len(config.bench.seeds), unit="programs")
        done = 0

        def on_row(row: Throughput) -> None:
            nonlocal done
            done += 1
            rate = format_rate(row.env_steps_per_s)
            console.update(done, note=f"{rate} env-steps/s with {row.num_seeds:,}")

        result = measure_bench(config, spec, mixer, runs_of, on_row)
        console.finish()
        record = json.dumps(bench_record(result, command_line()), indent=1)
        write_text(directory / "bench.json", record + "\n")
        save_figure_png(directory / "bench.png", bench_figure(result))
        for table in bench_tables(result):
            console.print_table(table)
        console.print(f"record and figure: {directory}")
    return JobOutcome(directory)


def sweep(config: Config) -> JobOutcome:
    """`qllm-jax sweep`: train every setting of `config.sweep`; leaves the best as a config."""
    require(config.runner.num_seeds > 0, "a sweep needs a number of seeds; set runner.num_seeds.")
    spec = _checked_task(config)
    check_budgets(config, spec, draw_settings(config))
    return _sweep_in(config, _job_directory(config, "sweep"))


def run(config: Config) -> JobOutcome:
    """`qllm-jax run`: the main job, from the task's description to the report."""
    _checked_task(config)
    return _run_in(config, _job_directory(config, "run"))


def _compare_in(config: Config, directory: Path, joined: Hosts | None = None) -> JobOutcome:
    hosts = joined or join_hosts(config.hosts, _time_stamp())
    spec = _checked_task(config)
    others = directory / _LEARNERS_FILE
    more = yaml.safe_load(others.read_text()) if others.exists() else []
    configs = [config, *(config_from_mapping(one) for one in more)]
    artifact = _needed_artifact(configs, spec)
    with Console(quiet=not hosts.is_first) as console, StopRequest() as should_stop:
        return _compare(configs, spec, artifact, directory, console, should_stop, None, hosts)


def _generate_in(config: Config, directory: Path) -> JobOutcome:
    spec = get_task(config.task.source, **config.task.env_kwargs)
    with Console() as console:
        result = _generate(config, spec, directory, console)
        tfcaf = tfcaf_summary(result.artifact)
        data = report_data(spec, (), tfcaf=tfcaf, design=result, config=config)
        path = _write_report(directory, data)
        console.print(f"chosen: {result.reason}")
        console.print(f"artifact: {directory / 'artifact'}")
        console.print(f"report: {path}")
    return JobOutcome(directory, report=path)


def _run_in(config: Config, directory: Path) -> JobOutcome:
    spec = _checked_task(config)
    with Console() as console:
        # The design keeps a journal, so that Ctrl-C may end it anywhere; training stops at a chunk.
        result = _generate(config, spec, directory, console)
        with StopRequest() as should_stop:
            return _compare(
                [config], spec, result.artifact, directory, console, should_stop, result, Hosts()
            )


def _sweep_in(config: Config, directory: Path) -> JobOutcome:
    spec = _checked_task(config)
    settings = draw_settings(config)
    seeds = config.runner.num_seeds

    def named_mixer(one: Config) -> tuple[Mixer, float]:
        held = load_tfcaf(one.mixer, spec) if one.uses_tfcaf else None
        return mixer_of(one, spec, held)

    with Console() as console, StopRequest() as should_stop:
        console.print(f"{len(settings):,} settings × {seeds:,} seeds: {directory}")

        compiling = True

        def on_group(group: Group) -> None:
            nonlocal compiling
            compiling = True
            title = f"sweep {group.number + 1}/{group.count}"
            if config.sweep.method == "halving":
                title += f", rung {group.rung + 1}/{config.sweep.rungs}"
            console.phase(title, group.env_steps, num_seeds=group.num_runs)

        def on_chunk(group: Group, chunk: ChunkReport) -> None:
            nonlocal compiling
            if compiling:  # not always at step 0: runs go on from the rung before
                compiling = False
                console.compiled(chunk.compile_s, completed=chunk.env_steps)
            returns = chunk.metrics["return"].reshape(-1, seeds).mean(axis=1)
            console.update(chunk.env_steps, best=float(returns.max()))
            if chunk.env_steps == group.env_steps:
                console.finish()

        result = run_sweep(
            config,
            spec,
            settings,
            named_mixer,
            directory / "trainings",
            on_group=on_group,
            on_chunk=on_chunk,
            should_stop=should_stop,
        )
        _write_sweep(config, spec, directory, result, console)
    return JobOutcome(directory, interrupted=result.interrupted)


def _write_sweep(
    config: Config, spec: TaskSpec, directory: Path, result: SweepResult, console: Console
) -> None:
    """Everything that a sweep leaves, as far as it got."""
    if result.best is None:
        console.print(f"nothing was finished; `qllm-jax resume {directory}` goes on.")
        return
    record = sweep_record(result, command_line(), config_to_mapping(config))
    write_text(directory / "sweep.json", json.dumps(record) + "\n")
    write_text(directory / "sweep.csv", sweep_csv(result))
    save_figure_png(directory / "sweep.png", sweep_figure(result, spec.score))
    best = dataclasses.replace(with_setting(config, result.best.setting), sweep=SweepConfig())
    path = directory / "best.yaml"
    write_text(path, yaml.safe_dump(config_to_mapping(best), sort_keys=False, allow_unicode=True))
    title = f"{spec.name}, {config.label}"
    console.print_table(sweep_table(result, title, spec.score, config))
    console.print(f"table and figure: {directory}")
    console.print(f"the best again: qllm-jax train config={path}")
    if result.interrupted:
        console.print(f"stopped; `qllm-jax resume {directory}` goes on.")


_JOBS = {"compare": _compare_in, "generate": _generate_in, "run": _run_in, "sweep": _sweep_in}


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


def _checked_task(config: Config) -> TaskSpec:
    """The task, after everything that can be known to fail has been checked."""
    spec = get_task(config.task.source, **config.task.env_kwargs)
    make_schedule(config.learner, config.runner, spec.env.episode_length)
    for name in config.compare.mixers:
        if name not in mixer_names():
            raise unknown_name("mixer", name, mixer_names())
    return spec


def directory_name(task: str) -> str:
    """A task id as part of a path: itself, or a user's import path without its punctuation."""
    return task if ":" not in task else Path(task.replace(":", ".")).name


_LEARNERS_FILE = "learners.yaml"  # configs of a comparison's other learners
_JOB_FILE = "job.yaml"  # kind and config of a job with several parts, for `resume`


def _time_stamp() -> str:
    return datetime.datetime.now().strftime("%Y%m%d-%H%M%S")


def _job_directory(config: Config, kind: str, hosts: Hosts | None = None) -> Path:
    """A directory of its own for a job with several parts; the same on all hosts."""
    require(
        config.hosts.coordinator is None or hosts is not None,
        f"hosts.coordinator is set, but `{kind}` runs in one process. Use it with train or "
        "compare, for which `generate` leaves the artifact.",
    )
    stamp = hosts.stamp if hosts is not None else _time_stamp()
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


def _start_job(path: Path, config: Config, kind: str) -> Path:
    """Make the directory and note in it what `resume` needs."""
    try:
        path.mkdir(parents=True)
        job = {"kind": kind, "config": config_to_mapping(config)}
        (path / _JOB_FILE).write_text(yaml.safe_dump(job, sort_keys=False))
    except FileExistsError:
        raise
    except OSError as error:
        raise UserError(
            f"{path} cannot be created: {error.strerror}. Set runner.output_dir."
        ) from None
    return path


def _generate(config: Config, spec: TaskSpec, directory: Path, console: Console) -> SynthesisResult:
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


def load_tfcaf(mixer: MixerConfig, spec: TaskSpec) -> Artifact:
    """The artifact that a mixer's config names, checked against the task's sizes.

    Raises:
        UserError: There is none, or it was written for other sizes.
    """
    shipped = data_dir("configs") / "artifacts" / spec.name
    path = Path(mixer.artifact) if mixer.artifact is not None else shipped
    if not path.exists():
        raise UserError(
            f"no TFCAF is shipped for {spec.name}. Write one with `qllm-jax generate "
            f"task={spec.name}` and pass its directory as mixer.artifact=…"
            if mixer.artifact is None
            else f"mixer.artifact is {mixer.artifact!r}, which does not exist."
        )
    artifact = _load_safe(path)
    env = spec.env
    if (artifact.num_agents, artifact.state_dim) != (env.num_agents, env.state_dim):
        raise UserError(
            f"the TFCAF in {path} mixes {artifact.num_agents} agents in a state of "
            f"{artifact.state_dim} values, but {spec.name} has {env.num_agents} and "
            f"{env.state_dim}. Generate one for these sizes."
        )
    return artifact


def _load_safe(path: Path) -> Artifact:
    return load_artifact(path, check=_refuse_unsafe_program)


def _refuse_unsafe_program(artifact: Artifact) -> None:
    """The static gate, again: an artifact may come from elsewhere."""
    failed = [check for check in check_program(artifact) if not check.passed]
    if failed:
        raise UserError(
            f"the TFCAF of {artifact.task or 'this artifact'} fails the check "
            f"{failed[0].name!r}: {failed[0].detail}"
        )


def _train_job(
    config: Config, spec: TaskSpec, console: Console, hosts: Hosts | None = None
) -> JobOutcome:
    artifact = load_tfcaf(config.mixer, spec) if config.uses_tfcaf else None
    (config,) = with_fitting_seeds([config], spec, artifact)
    parent = run_parent(config.runner.output_dir, directory_name(spec.name), config.label)
    with StopRequest() as should_stop:
        result, figure = _train_mixer(
            config, spec, artifact, parent, None, console, should_stop, hosts or Hosts()
        )
    if hosts is not None and not hosts.is_first:
        return JobOutcome(result.path, (result,), None, result.info["status"] == "interrupted")
    return _report_one(spec, artifact, result, figure)


def _report_one(
    spec: TaskSpec, artifact: Artifact | None, result: RunResult, figure: EpisodeFigure
) -> JobOutcome:
    """The report of a single training, in its own directory."""
    tfcaf = tfcaf_summary(artifact) if artifact is not None else None
    path = _write_report(
        result.path, report_data(spec, [result], tfcaf=tfcaf, episodes=[figure] if figure else [])
    )
    interrupted = result.info["status"] == "interrupted"
    return JobOutcome(result.path, (result,), path, interrupted)


def _compare(
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
        result, figure = _train_mixer(
            one, spec, held, directory, one.label, console, should_stop, hosts
        )
        runs.append(result)
        if not hosts.is_first:
            continue
        if held is not None:
            figures.append(figure)
        tfcaf = tfcaf_summary(artifact) if artifact is not None else None
        data = report_data(spec, runs, tfcaf=tfcaf, episodes=figures, design=design)
        path = _write_report(directory, data)
        if should_stop():
            break
    if hosts.is_first:
        _print_table(console, spec, runs)
        console.print(f"report: {path}")
    return JobOutcome(directory, tuple(runs), path, interrupted=should_stop())


def _train_mixer(
    config: Config,
    spec: TaskSpec,
    artifact: Artifact | None,
    parent: Path,
    name: str | None,
    console: Console,
    should_stop: StopRequest,
    hosts: Hosts,
) -> tuple[RunResult, EpisodeFigure]:
    """One training in `parent / name`, or in a directory named by the time; on all hosts."""
    if hosts.count > 1:
        return train_on_hosts(config, spec, artifact, parent, name, console, should_stop, hosts)
    if name is None:
        return train_one(config, spec, artifact, parent, name, console, should_stop)
    return train_or_resume(config, spec, artifact, parent, name, console, should_stop)


def _write_report(directory: Path, data: ReportData) -> Path:
    """`report.html`, and the data to draw it again."""
    save_report_data(directory, data)
    return write_report(directory / "report.html", data)


def _print_table(console: Console, spec: TaskSpec, runs: Sequence[RunResult]) -> None:
    """The report's final table, in the terminal."""
    summaries = [result.summary() for result in runs]
    threshold = reference_threshold(summaries)
    table = comparison_table(
        comparison_rows(summaries, threshold),
        title=spec.name,
        score=spec.score,
        landmarks=dict(spec.landmarks),
        threshold=threshold,
    )
    console.print_table(table)
