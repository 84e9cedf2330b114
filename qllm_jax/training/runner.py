"""The host's loop over compiled chunks: all runs, all devices, progress, stops, checkpoints."""

import dataclasses
import logging
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from qllm_jax.config import Config, config_to_mapping
from qllm_jax.errors import UserError
from qllm_jax.learning import NetworkParams
from qllm_jax.networks import Mixer
from qllm_jax.tasks.spec import Outcome, TaskSpec
from qllm_jax.training.checkpoint import Checkpoints
from qllm_jax.training.chunk import ChunkMetrics, make_program, state_struct
from qllm_jax.training.fleet import Fleet
from qllm_jax.training.paused import Paused
from qllm_jax.training.replay import replay_bytes
from qllm_jax.training.runs import Runs, mixer_scale, runs_for_seeds
from qllm_jax.training.state import Program, RunState
from qllm_jax.types import Params

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class ChunkReport:
    """Progress, after every chunk.

    Attributes:
        chunk: Evaluations done so far; the first precedes training.
        num_chunks: E, evaluations in all.
        env_steps: Environment steps per run so far.
        metrics: The newest values, `[R]` per name or `[R, N]`; names as in `TrainingOutput`.
        env_steps_per_second: Over all runs, compilation excluded; NaN before the first steps.
        elapsed_s: Run time so far, compilation excluded.
        remaining_s: Run time left at this rate; NaN before the first steps.
        compile_s: Tracing, compiling and initialising.
    """

    chunk: int
    num_chunks: int
    env_steps: int
    metrics: dict[str, np.ndarray]
    env_steps_per_second: float
    elapsed_s: float
    remaining_s: float
    compile_s: float


@dataclasses.dataclass(frozen=True)
class TrainingOutput:
    """What a training leaves; all arrays on the host.

    Attributes:
        metrics: `env_steps [E]` (per run); per run and evaluation `[R, E]`: `return` (mean
            undiscounted team return of greedy episodes), the mean of the task's outcome under its
            name (such as `win_rate`) where it has one, `loss`, `td_error`, `q_tot`, `grad_norm`
            (means over the gradient steps since the evaluation before; NaN where there were none),
            `epsilon`, `alive`, `credit_uniform`, `credit_zero`; `[R, E, N]`: `credit_mean`,
            `credit_std`. Fewer than E columns where it was interrupted.
        params: `NetworkParams` with every leaf `[R, ...]`.
        best_params: As `params`, of the checkpoint with the best mean return, or of the end where
            that was as good.
        best_env_steps: Environment steps per run behind `best_params`.
        runs: Seed ids and settings of the R runs.
        num_diverged: Runs that met a value that was not finite and were frozen there.
        interrupted: A stop was asked for before the end.
        paused: What `start` takes to go on; None where `pause_after` did not end the training.
        compile_s: Tracing, compiling and initialising.
        run_s: Everything else, evaluation and checkpoints included.
        env_steps_per_second: Over all runs, in `run_s`; NaN where no step was taken.
        replay_bytes_per_run: Memory of one run's replay; 0 where the learner keeps none.
        devices: What it ran on and how runs were spread.
        matmul_precision: As set.
        versions: Of Python, JAX and the packages that numbers depend on.
    """

    metrics: dict[str, np.ndarray]
    params: Params
    best_params: Params
    best_env_steps: int
    runs: Runs
    num_diverged: int
    interrupted: bool
    paused: Paused | None
    compile_s: float
    run_s: float
    env_steps_per_second: float
    replay_bytes_per_run: int
    devices: str
    matmul_precision: str
    versions: dict[str, str]

    def run_params(self, run: int) -> Params:
        """`NetworkParams` of one run."""
        return jax.tree.map(lambda leaf: leaf[run], self.params)


def run_training(
    spec: TaskSpec,
    mixer: Mixer,
    config: Config,
    *,
    runs: Runs | None = None,
    on_chunk: Callable[[ChunkReport], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    checkpoint_dir: str | Path | None = None,
    resume: bool = False,
    start: Paused | None = None,
    pause_after: int | None = None,
) -> TrainingOutput:
    """Train R independent runs side by side in one compiled program.

    A run's result depends on its seed id and settings only: not on the other runs, the number of
    devices or of evaluations.

    Args:
        spec: The task.
        mixer: How agents' values are combined.
        config: Budget, learner, agents.
        runs: The R runs; None is `config.runner`'s seeds with `config.mixer.scale`.
        on_chunk: Called after every evaluation, the one before training included.
        should_stop: Asked between chunks; True ends the training with what it has.
        checkpoint_dir: Where to save the whole state, between chunks, at most every
            `checkpoint.interval_s` seconds and when stopped; None saves nothing.
        resume: Continue from the newest whole checkpoint in `checkpoint_dir`, where there is one.
        start: Continue these R runs, of this config, where there is no such checkpoint.
        pause_after: Evaluations, the one before training included, after which to stop and keep
            the runs in `TrainingOutput.paused`; None goes to the end.

    Raises:
        UserError: An impossible budget, more devices than there are, a checkpoint of other
            settings, or one that cannot be written.
    """
    if runs is None:
        runs = runs_for_seeds(config, mixer_scale(config.mixer.scale, spec.env.num_agents))
    if resume and checkpoint_dir is None:
        raise UserError("resume needs checkpoint_dir, the directory that was saved to.")
    if start is not None and start.num_runs != len(runs):
        raise ValueError(f"{start.num_runs} paused runs cannot be continued as {len(runs)} runs.")
    program = make_program(spec.env, mixer, config, spec.outcome)
    loop = _Loop(program, runs, config, on_chunk or (lambda report: None), pause_after)
    if checkpoint_dir is not None:
        loop.open_checkpoints(checkpoint_dir, _fingerprint(spec, mixer, config, runs), resume)
    if start is not None:
        loop.begin_at(start)
    try:
        interrupted = loop.run(should_stop or (lambda: False))
        return loop.output(runs, interrupted)
    finally:
        loop.close()


def params_struct(spec: TaskSpec, mixer: Mixer, config: Config) -> NetworkParams:
    """Shapes of `TrainingOutput.params` of a training with the config's seeds."""
    one = state_struct(make_program(spec.env, mixer, config)).learner.params
    count = config.runner.num_seeds
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((count, *leaf.shape), leaf.dtype), one)


class _Loop:
    """One training in progress: the state on the devices and the metrics on the host."""

    def __init__(
        self,
        program: Program,
        runs: Runs,
        config: Config,
        on_chunk: Callable[[ChunkReport], None],
        pause_after: int | None = None,
    ):
        self._program, self._config, self._on_chunk = program, config, on_chunk
        begin = time.perf_counter()
        self._fleet = Fleet(program, runs, config.runner)
        level = logging.WARNING if self._fleet.num_waves > 1 else logging.INFO
        _log.log(level, "%s", self._fleet.describe())
        self._compile_s = time.perf_counter() - begin
        self._run_s = 0.0
        self._last_chunk = self._num_chunks if pause_after is None else pause_after
        assert 0 < self._last_chunk <= self._num_chunks, f"no chunk {pause_after} to pause after"
        self._columns: list[dict[str, np.ndarray]] = []
        self._first_column = 0  # of this process; earlier ones come from a checkpoint
        self._checkpoints: Checkpoints | None = None
        self._saved_at = time.perf_counter()

    @property
    def _num_chunks(self) -> int:
        return self._config.runner.num_evaluations + 1

    def open_checkpoints(
        self, directory: str | Path, fingerprint: dict[str, Any], resume: bool
    ) -> None:
        """Save from now on; with `resume`, continue what is there."""
        self._checkpoints = Checkpoints(directory, fingerprint, self._config.checkpoint.keep)
        saved = self._checkpoints.latest()
        if saved is None:
            return
        if not resume:
            raise UserError(
                f"{directory} already holds a checkpoint (after {saved} evaluations). Continue it "
                "with resume, or name another directory."
            )
        restored = self._checkpoints.restore(self._saved_struct())
        if restored is None:
            _log.warning("no checkpoint in %s is whole; starting again.", directory)
            return
        done, state, metrics = restored
        if self._omits_replay:
            iterations = max(done - 1, 0) * self._program.schedule.iterations_per_chunk
            self._fleet.load_and_refill(state, iterations)
        else:
            self._fleet.load(state)
        self._take_columns(metrics, done)

    def begin_at(self, paused: Paused) -> None:
        """Continue paused runs, unless a checkpoint, which is further, was already continued."""
        if self._columns:
            return
        self._fleet.load(paused.state)
        self._take_columns(paused.metrics, paused.num_chunks)
        self._save()  # `paused` is in memory only

    def _take_columns(self, metrics: dict[str, np.ndarray], done: int) -> None:
        self._columns = [
            {name: value[:, column] for name, value in metrics.items()} for column in range(done)
        ]
        self._first_column = len(self._columns)

    @property
    def _omits_replay(self) -> bool:
        return self._program.algorithm.uses_replay and not self._config.checkpoint.replay

    def _saved_struct(self) -> RunState:
        """Shapes of what a checkpoint holds, `[R, ...]`."""
        one = state_struct(self._program)
        if self._omits_replay:
            one = dataclasses.replace(one, replay=None)
        num_runs = self._fleet.num_runs
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((num_runs, *leaf.shape), leaf.dtype), one
        )

    def run(self, should_stop: Callable[[], bool]) -> bool:
        """Do the chunks that are left; True if it was stopped before the end."""
        while len(self._columns) < self._last_chunk:
            if self._columns and should_stop():
                self._save()
                self._wait_for_disk()
                return True
            self._advance()
            due = self._saved_at + self._config.checkpoint.interval_s
            if len(self._columns) < self._last_chunk and time.perf_counter() >= due:
                self._save()
        return False

    def _save(self) -> None:
        """Save the state, after the caller has been told of all it holds."""
        if self._checkpoints is None or self._checkpoints.latest() == len(self._columns):
            return
        begin = time.perf_counter()
        score = float(np.mean(self._columns[-1]["return"]))
        saved = self._fleet.fetch(replay=not self._omits_replay)
        self._checkpoints.save(len(self._columns), saved, self._metrics(), score)
        self._saved_at = time.perf_counter()
        self._run_s += self._saved_at - begin

    def _wait_for_disk(self) -> None:
        if self._checkpoints is not None:
            self._checkpoints.wait()

    def _advance(self) -> None:
        begin = time.perf_counter()
        done = len(self._columns)
        per_chunk = self._program.schedule.iterations_per_chunk
        start, count = (max(done - 1, 0) * per_chunk, per_chunk if done else 0)
        metrics = self._fleet.advance(start, count)
        self._columns.append(_column(metrics, self._program.outcome))
        self._run_s += time.perf_counter() - begin
        self._on_chunk(self._report())

    def _report(self) -> ChunkReport:
        done = len(self._columns)
        rate = self._rate()
        steps_left = (self._last_chunk - done) * self._steps_per_chunk * self._fleet.num_runs
        return ChunkReport(
            chunk=done,
            num_chunks=self._num_chunks,
            env_steps=(done - 1) * self._steps_per_chunk,
            metrics=self._columns[-1],
            env_steps_per_second=rate,
            elapsed_s=self._run_s,
            remaining_s=steps_left / rate,
            compile_s=self._compile_s,
        )

    @property
    def _steps_per_chunk(self) -> int:
        schedule = self._program.schedule
        return schedule.iterations_per_chunk * schedule.steps_per_iteration

    def _rate(self) -> float:
        """Environment steps per second of this process, over all runs."""
        chunks = len(self._columns) - max(self._first_column, 1)
        if chunks <= 0:
            return float("nan")
        return chunks * self._steps_per_chunk * self._fleet.num_runs / self._run_s

    def _metrics(self) -> dict[str, np.ndarray]:
        names = self._columns[0]
        return {name: np.stack([c[name] for c in self._columns], axis=1) for name in names}

    def close(self) -> None:
        """Let go of the checkpoint directory."""
        if self._checkpoints is not None:
            self._checkpoints.close()

    def _best(self, params: Params) -> tuple[Params, int]:
        """Parameters with the best mean return among the checkpoints and the end, and when."""
        scores = [float(np.mean(column["return"])) for column in self._columns]
        done, best = len(self._columns), params
        if self._checkpoints is not None:
            saved = self._checkpoints.best(self._saved_struct())
            if saved is not None and scores[saved[0] - 1] > scores[-1]:
                done, best = saved[0], saved[1].learner.params
        return best, (done - 1) * self._steps_per_chunk

    def output(self, runs: Runs, interrupted: bool) -> TrainingOutput:
        """Everything, on the host."""
        learner, schedule = self._program.learner, self._program.schedule
        metrics = self._metrics()
        paused = None
        if not interrupted and len(self._columns) < self._num_chunks:
            paused = Paused(len(self._columns), self._fleet.fetch(), dict(metrics))
        metrics["env_steps"] = np.arange(len(self._columns)) * self._steps_per_chunk
        params = self._fleet.fetch(replay=False).learner.params
        best_params, best_env_steps = self._best(params)
        return TrainingOutput(
            metrics=metrics,
            params=params,
            best_params=best_params,
            best_env_steps=best_env_steps,
            runs=runs,
            num_diverged=int(np.sum(~metrics["alive"][:, -1])),
            interrupted=interrupted,
            paused=paused,
            compile_s=self._compile_s,
            run_s=self._run_s,
            env_steps_per_second=self._rate(),
            replay_bytes_per_run=replay_bytes(
                self._program.env,
                learner.replay_capacity,
                schedule.window_length,
                learner.replay_dtype,
            )
            if self._program.algorithm.uses_replay
            else 0,
            devices=self._fleet.describe(),
            matmul_precision=self._config.runner.matmul_precision,
            versions=_versions(),
        )


def _column(metrics: ChunkMetrics, outcome: Outcome | None) -> dict[str, np.ndarray]:
    """A chunk's metrics by name, `[R]` or `[R, N]`."""
    values = {
        field.name: getattr(metrics, field.name)
        for field in dataclasses.fields(metrics)
        if field.name != "evaluation"
    }
    evaluation = metrics.evaluation
    values["return"] = evaluation.episode_return
    for name in ("credit_mean", "credit_std", "credit_uniform", "credit_zero"):
        values[name] = getattr(evaluation, name)
    if outcome is not None:
        values[outcome.metric] = evaluation.outcome
    return {name: np.asarray(value) for name, value in values.items()}


def _fingerprint(spec: TaskSpec, mixer: Mixer, config: Config, runs: Runs) -> dict[str, Any]:
    """What decides a run's numbers; how many devices there are does not."""
    settings = config_to_mapping(config)
    runner = settings["runner"]
    hyper = jax.tree.map(lambda leaf: np.asarray(leaf).tolist(), runs.hyper)
    return {
        "task": {"name": spec.name, "env_kwargs": str(dict(spec.env_kwargs))},
        "mixer": {**settings["mixer"], "name": mixer.name},
        "agent": settings["agent"],
        "learner": settings["learner"],
        "runner": {
            name: runner[name]
            for name in (
                "num_env_steps",
                "num_evaluations",
                "num_eval_episodes",
                "matmul_precision",
            )
        },
        "seed_ids": np.asarray(runs.seed_ids).tolist(),
        "hyper": str(hyper),
    }


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    packages = ("jax", "jaxlib", "flax", "optax", "numpy", "jaxmarl")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}
