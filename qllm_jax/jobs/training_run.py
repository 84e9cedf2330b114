"""One training in its run directory: started, or continued where it stopped.

Joins the trainer, the store and the display; called by the jobs.
"""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import jax

from qllm_jax.config import config_to_mapping
from qllm_jax.errors import UserError
from qllm_jax.jobs.reporting import episode_figure
from qllm_jax.jobs.session import Session, Training
from qllm_jax.results import (
    CHECKPOINT_DIR,
    REPLACED,
    EpisodeFigure,
    RunResult,
    RunStore,
    is_run,
    open_loggers,
)
from qllm_jax.tfcaf import Artifact, holds_artifact, save_artifact
from qllm_jax.training import (
    ChunkReport,
    NetworkParams,
    TrainingOutput,
    load_params,
    make_hyper,
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
    training: Training, parent: Path, name: str | None, session: Session
) -> tuple[RunResult, EpisodeFigure]:
    """Train into a new run directory, and draw one greedy episode of the first seed.

    Args:
        training: What is trained.
        parent: Where the run directory is made.
        name: Its name; None takes a time stamp.
        session: Display, stop request and hosts.
    """
    with training.make_store(parent, name) as store:
        figure = _train(training, store, session, resume=False)
    return store.result(), figure


def train_or_resume(
    training: Training, parent: Path, name: str, session: Session
) -> tuple[RunResult, EpisodeFigure]:
    """As `train_one`, going on with what an earlier process left in `parent / name`.

    Where that is a training of another function, because a resumed design has chosen anew, it is
    moved to `parent / replaced` and this one starts.
    """
    path = parent / name
    if training.artifact is not None and _holds_another(path, training.artifact):
        _move_aside(path)
    if is_complete(path):
        return RunResult.load(path), _finished_figure(training, path)
    if is_run(path):
        return resume_one(training, path, session)
    shutil.rmtree(path, ignore_errors=True)  # its process was killed while making it
    return train_one(training, parent, name, session)


def _holds_another(path: Path, artifact: Artifact) -> bool:
    """Whether the training in `path` is of another function, or of another scale."""
    if not is_run(path) or not holds_artifact(path):
        return False
    held = json.loads((path / "tfcaf.json").read_text(encoding="utf-8"))
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


def resume_one(training: Training, path: Path, session: Session) -> tuple[RunResult, EpisodeFigure]:
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
        if training.artifact is not None and not holds_artifact(path):
            save_artifact(training.artifact, path)
        figure = _train(training, store, session, resume=True)
    return store.result(), figure


def _train(training: Training, store: RunStore, session: Session, *, resume: bool) -> EpisodeFigure:
    config, console = training.config, session.console
    runner = config.runner
    mixer, scale = training.mixer()
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
            training.spec,
            mixer,
            config,
            runs=runs,
            on_chunk=on_chunk,
            should_stop=session.should_stop,
            checkpoint_dir=store.checkpoints / "state" if config.checkpoint.enabled else None,
            resume=resume and config.checkpoint.enabled,
        )
    finally:
        loggers.close()
    figure = _figure(training, output.run_params(0))
    _finish(store, output, runner.num_env_steps)
    console.finish("interrupted" if output.interrupted else "done")
    return figure


def _figure(training: Training, params: NetworkParams) -> EpisodeFigure:
    """One greedy episode of the first seed."""
    config, spec = training.config, training.spec
    mixer, scale = training.mixer()
    hyper = make_hyper(config.learner, 1, scale).mixer
    first = jax.tree.map(lambda leaf: leaf[0], hyper)
    trace = record_episode(spec, mixer, config, params, jax.random.key(_EPISODE_KEY), first)
    seed = config.runner.first_seed
    return episode_figure(spec, trace, f"{config.label}, seed {seed}, greedy")


def _finished_figure(training: Training, path: Path) -> EpisodeFigure:
    """The episode of a complete training."""
    saved = saved_params(training, path, PARAMS)
    return _figure(training, NetworkParams(**jax.tree.map(lambda leaf: leaf[0], saved)))


def saved_params(training: Training, path: Path, kind: str) -> Any:
    """What a complete training in `path` kept: `PARAMS` or `BEST_PARAMS`, over its seeds."""
    mixer, _ = training.mixer()
    like = params_struct(training.spec, mixer, training.config)
    return load_params(path / CHECKPOINT_DIR / kind, dataclasses.asdict(like))


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
