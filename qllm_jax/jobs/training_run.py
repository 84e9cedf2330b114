"""One training in its run directory: started, or continued where it stopped.

Joins the trainer, the store and the display; called by the jobs.
"""

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import jax

from qllm_jax.config import ALL_THAT_FIT, Config, config_to_mapping
from qllm_jax.errors import UserError
from qllm_jax.jobs.interrupt import StopRequest
from qllm_jax.jobs.reporting import command_line, episode_figure
from qllm_jax.networks import Mixer, make_mixer
from qllm_jax.results import (
    CHECKPOINT_DIR,
    REPLACED,
    Console,
    EpisodeFigure,
    RunResult,
    RunStore,
    is_run,
    open_loggers,
)
from qllm_jax.tasks.spec import TaskSpec
from qllm_jax.tfcaf import Artifact, save_artifact
from qllm_jax.training import (
    ChunkReport,
    NetworkParams,
    TrainingOutput,
    load_params,
    make_hyper,
    make_program,
    mixer_scale,
    most_runs,
    params_struct,
    record_episode,
    run_training,
    runs_for_seeds,
    save_params,
)

_EPISODE_KEY = 7  # folded apart from every seed's keys, so that all mixers show one episode


# Below checkpoints/, once training is complete: at the end, and at the best mean return saved.
PARAMS, BEST_PARAMS = "params", "best_params"
SHARES = "hosts"  # below a run directory, what several hosts have not merged yet


def is_complete(path: Path) -> bool:
    """Whether `path` is a run directory whose training reached its end."""
    return (path / CHECKPOINT_DIR / PARAMS).exists()


def train_one(
    config: Config,
    spec: TaskSpec,
    artifact: Artifact | None,
    parent: Path,
    name: str | None,
    console: Console,
    should_stop: StopRequest,
) -> tuple[RunResult, EpisodeFigure]:
    """Train one mixer into a new run directory, and draw one greedy episode of its first seed.

    Args:
        config: Names the mixer, the seeds and the budget.
        spec: The task.
        artifact: The function of a TFCAF mixer; None for the others.
        parent: Where the run directory is made.
        name: Its name; None takes a time stamp.
        console: Shows progress.
        should_stop: Polled between chunks.
    """
    seeds = [config.runner.first_seed + index for index in range(config.runner.num_seeds)]
    info = {"task": spec.name, "mixer": config.label, "command": command_line()}
    with RunStore.create(parent, name, config_to_mapping(config), seeds=seeds, info=info) as store:
        if artifact is not None:
            save_artifact(artifact, store.path)
        figure = _train(config, spec, artifact, store, console, should_stop, resume=False)
    return store.result(), figure


def train_or_resume(
    config: Config,
    spec: TaskSpec,
    artifact: Artifact | None,
    parent: Path,
    name: str,
    console: Console,
    should_stop: StopRequest,
) -> tuple[RunResult, EpisodeFigure]:
    """As `train_one`, going on with what an earlier process left in `parent / name`.

    What it left of another function, as where a design went on and chose anew, is moved to
    `parent / replaced`.
    """
    path = parent / name
    if artifact is not None and _holds_another(path, artifact):
        _move_aside(path)
    if is_complete(path):
        return RunResult.load(path), _finished_figure(config, spec, artifact, path)
    if is_run(path):
        return resume_one(config, spec, artifact, path, console, should_stop)
    shutil.rmtree(path, ignore_errors=True)  # its process was killed while making it
    return train_one(config, spec, artifact, parent, name, console, should_stop)


def _holds_another(path: Path, artifact: Artifact) -> bool:
    """Whether the training in `path` is of another function, or of another scale."""
    if not is_run(path) or not (path / "tfcaf.json").exists():
        return False
    held = json.loads((path / "tfcaf.json").read_text())
    return (held["sha256"], held["scale"]) != (artifact.sha256, artifact.scale)


def _move_aside(path: Path) -> None:
    """Keep a training that no longer belongs to its job, where no report looks for runs."""
    RunStore.reopen(path).finish(REPLACED)  # refused while another process writes it
    replaced = path.parent / REPLACED
    number = 1
    while (replaced / f"{path.name}-{number}").exists():
        number += 1
    replaced.mkdir(exist_ok=True)
    path.rename(replaced / f"{path.name}-{number}")


def resume_one(
    config: Config,
    spec: TaskSpec,
    artifact: Artifact | None,
    path: Path,
    console: Console,
    should_stop: StopRequest,
) -> tuple[RunResult, EpisodeFigure]:
    """Continue the training of an existing run directory from its newest checkpoint.

    Without a checkpoint it starts again, in the same directory: the result is the same.

    Raises:
        UserError: It is complete, or another process is writing it.
    """
    if (path / SHARES).exists():
        raise UserError(
            f"{path} was trained by several hosts, whose shares are not merged yet. Resume it with "
            "as many: hosts.coordinator=… hosts.count=… hosts.index=…"
        )
    with RunStore.reopen(path) as store:
        if is_complete(path):
            store.finish("complete")
            raise UserError(
                f"{path} is complete; there is nothing to resume. `qllm-jax report {path}` writes "
                "its report again."
            )
        if artifact is not None and not (path / "tfcaf.json").exists():
            save_artifact(artifact, path)
        figure = _train(config, spec, artifact, store, console, should_stop, resume=True)
    return store.result(), figure


def _train(
    config: Config,
    spec: TaskSpec,
    artifact: Artifact | None,
    store: RunStore,
    console: Console,
    should_stop: StopRequest,
    *,
    resume: bool,
) -> EpisodeFigure:
    runner = config.runner
    mixer, scale = mixer_of(config, spec, artifact)
    runs = runs_for_seeds(config, scale)
    console.phase(f"train {config.label}", runner.num_env_steps, num_seeds=runner.num_seeds)
    started = False
    settings = config_to_mapping(config)
    loggers = open_loggers(config.logging, store.path, settings, runs.seed_ids.tolist())

    def on_chunk(chunk: ChunkReport) -> None:
        nonlocal started
        if not started:
            started = True
            console.compiled(chunk.compile_s, completed=chunk.env_steps)
            if store.num_evaluations:
                store.truncate(chunk.env_steps - 1)  # a killed run may have measured past its save
        metrics = {**chunk.metrics, "diverged": ~chunk.metrics["alive"]}
        store.append(chunk.env_steps, metrics)
        loggers.log(chunk.env_steps, metrics)
        console.update(chunk.env_steps, best=float(chunk.metrics["return"].mean()))

    try:
        output = run_training(
            spec,
            mixer,
            config,
            runs=runs,
            on_chunk=on_chunk,
            should_stop=should_stop,
            checkpoint_dir=store.checkpoints / "state" if config.checkpoint.enabled else None,
            resume=resume and config.checkpoint.enabled,
        )
    finally:
        loggers.close()
    figure = _figure(config, spec, mixer, scale, output.run_params(0))
    _finish(store, output, runner.num_env_steps)
    console.finish("interrupted" if output.interrupted else "done")
    return figure


def _figure(
    config: Config, spec: TaskSpec, mixer: Mixer, scale: float, params: NetworkParams
) -> EpisodeFigure:
    """One greedy episode of the first seed."""
    hyper = make_hyper(config.learner, 1, scale).mixer
    first = jax.tree.map(lambda leaf: leaf[0], hyper)
    trace = record_episode(spec, mixer, config, params, jax.random.key(_EPISODE_KEY), first)
    seed = config.runner.first_seed
    return episode_figure(spec, trace, f"{config.label}, seed {seed}, greedy")


def _finished_figure(
    config: Config, spec: TaskSpec, artifact: Artifact | None, path: Path
) -> EpisodeFigure:
    """The episode of a complete training, from its saved parameters."""
    mixer, scale = mixer_of(config, spec, artifact)
    like = params_struct(spec, mixer, config)
    saved = load_params(path / CHECKPOINT_DIR / PARAMS, dataclasses.asdict(like))
    params = NetworkParams(**jax.tree.map(lambda leaf: leaf[0], saved))
    return _figure(config, spec, mixer, scale, params)


def mixer_of(config: Config, spec: TaskSpec, artifact: Artifact | None) -> tuple[Mixer, float]:
    """The mixer that a config names, with the artifact's function, and the factor on its value."""
    env = spec.env
    functions = [artifact.function] if artifact is not None else []
    named = config.mixer
    if named.name.startswith("tfcaf") and not config.uses_tfcaf:
        named = dataclasses.replace(named, name="iql")  # the learner brings a critic instead
    mixer = make_mixer(
        named, env.num_agents, env.state_dim, tfcafs=functions, num_actions=env.num_actions
    )
    stored = artifact.scale if artifact is not None else "none"
    return mixer, mixer_scale(config.mixer.scale, env.num_agents, stored)


def with_fitting_seeds(
    configs: Sequence[Config], spec: TaskSpec, artifact: Artifact | None
) -> list[Config]:
    """The configs with as many seeds as fit at once in every one of them.

    They are as they were where `runner.num_seeds` is a number.
    """
    if all(config.runner.num_seeds != ALL_THAT_FIT for config in configs):
        return list(configs)
    counts = []
    for config in configs:
        one = _with_seeds(config, 1)
        mixer, scale = mixer_of(one, spec, artifact if one.uses_tfcaf else None)
        program = make_program(spec.env, mixer, one, spec.outcome)
        counts.append(most_runs(program, runs_for_seeds(one, scale), one.runner))
    return [_with_seeds(config, min(counts)) for config in configs]


def _with_seeds(config: Config, count: int) -> Config:
    return dataclasses.replace(config, runner=dataclasses.replace(config.runner, num_seeds=count))


def _finish(store: RunStore, output: TrainingOutput, num_env_steps: int) -> None:
    """Note how it went; a complete training keeps its parameters instead of its replay."""
    params = output.run_params(0)
    # First: a training that has its parameters has all the rest.
    store.update_info(
        versions=output.versions,
        device=output.devices,
        precision=output.matmul_precision,
        compile_s=output.compile_s,
        run_s=output.run_s,
        env_steps_per_s=output.env_steps_per_second,
        num_env_steps=num_env_steps,
        best_env_steps=output.best_env_steps,
        num_diverged=output.num_diverged,
        num_mixer_params=sum(leaf.size for leaf in jax.tree.leaves(params.mixer)),
        num_agent_params=sum(leaf.size for leaf in jax.tree.leaves(params.agent)),
        replay_bytes_per_seed=output.replay_bytes_per_run,
    )
    if not output.interrupted:
        save_params(store.checkpoints / BEST_PARAMS, dataclasses.asdict(output.best_params))
        save_params(store.checkpoints / PARAMS, dataclasses.asdict(output.params))
        shutil.rmtree(store.checkpoints / "state", ignore_errors=True)
    store.finish("interrupted" if output.interrupted else "complete")
