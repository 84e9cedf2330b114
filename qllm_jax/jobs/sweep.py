"""`sweep`: one mixer at many settings; leaves a table, a figure and the best as a config."""

import dataclasses
import json
from pathlib import Path

import yaml

from qllm_jax.config import Config, SweepConfig, config_to_mapping
from qllm_jax.errors import require
from qllm_jax.jobs.artifacts import kept_tfcaf
from qllm_jax.jobs.checks import checked_task
from qllm_jax.jobs.directory import job_directory
from qllm_jax.jobs.interrupt import StopRequest
from qllm_jax.jobs.outcome import JobOutcome
from qllm_jax.jobs.reporting import command_line
from qllm_jax.jobs.session import Training
from qllm_jax.networks import Mixer
from qllm_jax.results import Console, save_figure_png, write_text
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
from qllm_jax.tasks.spec import TaskSpec
from qllm_jax.training import ChunkReport


def sweep(config: Config) -> JobOutcome:
    """`qllm-jax sweep`: train every setting of `config.sweep`; leaves the best as a config."""
    require(config.runner.num_seeds > 0, "a sweep needs a number of seeds; set runner.num_seeds.")
    spec = checked_task(config)
    check_budgets(config, spec, draw_settings(config))
    return sweep_in(config, job_directory(config, "sweep"))


def sweep_in(config: Config, directory: Path) -> JobOutcome:
    """The sweep in its directory, begun or gone on with."""
    spec = checked_task(config)
    settings = draw_settings(config)
    seeds = config.runner.num_seeds

    def named_mixer(one: Config) -> tuple[Mixer, float]:
        tfcaf = kept_tfcaf(directory / "tfcafs", one.mixer, spec) if one.uses_tfcaf else None
        return Training(one, spec, tfcaf).mixer()

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
