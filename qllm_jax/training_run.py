"""One training in its run directory: started, or continued where it stopped.

Joins the trainer, the store and the display; called by the pipeline only.
"""

import dataclasses
import shutil
from pathlib import Path

import jax

from qllm_jax.config import Config
from qllm_jax.config_mapping import config_to_mapping
from qllm_jax.errors import UserError
from qllm_jax.interrupt import StopRequest
from qllm_jax.networks import Mixer, make_mixer
from qllm_jax.reporting import command_line, episode_figure
from qllm_jax.results import CHECKPOINT_DIR, Console, EpisodeFigure, RunResult, RunStore
from qllm_jax.tasks.spec import TaskSpec
from qllm_jax.tfcaf import Artifact, save_artifact
from qllm_jax.training import (
    ChunkReport,
    TrainingOutput,
    mixer_scale,
    record_episode,
    run_training,
    runs_for_seeds,
    save_params,
)

_EPISODE_KEY = 7  # folded apart from every seed's keys, so that all mixers show one episode


_PARAMS = "params"  # below checkpoints/, once training is complete


def is_complete(path: Path) -> bool:
    """Whether `path` is a run directory whose training reached its end."""
    return (path / CHECKPOINT_DIR / _PARAMS).exists()


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
    info = {"task": spec.name, "mixer": config.mixer.name, "command": command_line()}
    with RunStore.create(parent, name, config_to_mapping(config), seeds=seeds, info=info) as store:
        if artifact is not None:
            save_artifact(artifact, store.path)
        figure = _train(config, spec, artifact, store, console, should_stop, resume=False)
    return store.result(), figure


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
    with RunStore.reopen(path) as store:
        if is_complete(path):
            store.finish("complete")
            raise UserError(f"{path} is complete; there is nothing to resume.")
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
    console.phase(f"train {config.mixer.name}", runner.num_env_steps, num_seeds=runner.num_seeds)
    started = False

    def on_chunk(chunk: ChunkReport) -> None:
        nonlocal started
        if not started:
            started = True
            console.compiled(chunk.compile_s, completed=chunk.env_steps)
            if store.num_evaluations:
                store.truncate(chunk.env_steps - 1)  # a killed run may have measured past its save
        store.append(chunk.env_steps, {**chunk.metrics, "diverged": ~chunk.metrics["alive"]})
        console.update(chunk.env_steps, best=float(chunk.metrics["return"].mean()))

    output = run_training(
        spec,
        mixer,
        config,
        runs=runs,
        on_chunk=on_chunk,
        should_stop=should_stop,
        checkpoint_dir=store.checkpoints / "state" if runner.checkpoint else None,
        resume=resume and runner.checkpoint,
    )
    hyper = jax.tree.map(lambda leaf: leaf[0], runs.hyper.mixer)
    key = jax.random.key(_EPISODE_KEY)
    trace = record_episode(spec, mixer, config, output.run_params(0), key, hyper)
    figure = episode_figure(spec, trace, f"{config.mixer.name}, seed {runner.first_seed}, greedy")
    _finish(store, output, runner.num_env_steps)
    console.finish("interrupted" if output.interrupted else "done")
    return figure


def mixer_of(config: Config, spec: TaskSpec, artifact: Artifact | None) -> tuple[Mixer, float]:
    """The mixer that a config names, with the artifact's function, and the factor on its value."""
    env = spec.env
    functions = [artifact.function] if artifact is not None else []
    mixer = make_mixer(
        config.mixer, env.num_agents, env.state_dim, tfcafs=functions, num_actions=env.num_actions
    )
    stored = artifact.scale if artifact is not None else "none"
    return mixer, mixer_scale(config.mixer.scale, env.num_agents, stored)


def _finish(store: RunStore, output: TrainingOutput, num_env_steps: int) -> None:
    """Note how it went; a complete training keeps its parameters instead of its replay."""
    params = output.run_params(0)
    if not output.interrupted:
        save_params(store.checkpoints / _PARAMS, dataclasses.asdict(output.params))
        shutil.rmtree(store.checkpoints / "state", ignore_errors=True)
    store.finish(
        "interrupted" if output.interrupted else "complete",
        versions=output.versions,
        device=output.devices,
        precision=output.matmul_precision,
        compile_s=output.compile_s,
        run_s=output.run_s,
        env_steps_per_s=output.env_steps_per_second,
        num_env_steps=num_env_steps,
        num_diverged=output.num_diverged,
        num_mixer_params=sum(leaf.size for leaf in jax.tree.leaves(params.mixer)),
        num_agent_params=sum(leaf.size for leaf in jax.tree.leaves(params.agent)),
        replay_bytes_per_seed=output.replay_bytes_per_run,
    )
