"""The host's loop over compiled chunks: progress, stops, checkpoints. Driven by `runner`."""

import dataclasses
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from qllm_jax.config import Config
from qllm_jax.errors import UserError
from qllm_jax.tasks.spec import Outcome
from qllm_jax.training.checkpoint import Checkpoints
from qllm_jax.training.chunk import ChunkMetrics, state_struct
from qllm_jax.training.fleet import Fleet
from qllm_jax.training.output import ChunkReport, TrainingOutput
from qllm_jax.training.paused import Paused
from qllm_jax.training.provenance import versions
from qllm_jax.training.replay import replay_bytes
from qllm_jax.training.runs import Runs
from qllm_jax.training.state import Program, RunState
from qllm_jax.types import Params

_log = logging.getLogger(__name__)


class TrainingLoop:
    """One training in progress: the state on the devices and the metrics on the host."""

    def __init__(
        self,
        program: Program,
        runs: Runs,
        config: Config,
        on_chunk: Callable[[ChunkReport], None],
        pause_after: int | None = None,
        runs_at_once: int | None = None,
    ):
        self._program, self._config, self._on_chunk = program, config, on_chunk
        begin = time.perf_counter()
        self._fleet = Fleet(program, runs, config.runner, runs_at_once)
        level = logging.WARNING if self._fleet.is_short_of_memory else logging.INFO
        _log.log(level, "%s", self._fleet.describe())
        self._compile_s = time.perf_counter() - begin
        self._run_s = 0.0
        self._last_chunk = self._num_chunks if pause_after is None else pause_after
        assert 0 < self._last_chunk <= self._num_chunks, f"no chunk {pause_after} to pause after"
        self._columns: list[dict[str, np.ndarray]] = []
        self._run_chunks = 0  # chunks with training done by this process, summed over runs
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

    def go_on(self, rows: Sequence[int], last_chunk: int) -> None:
        """Give up all runs but those at `rows`; the next `run` takes them to `last_chunk`."""
        self._fleet.keep(rows)
        kept = np.asarray(rows)
        self._columns = [
            {name: value[kept] for name, value in column.items()} for column in self._columns
        ]
        self._last_chunk = last_chunk

    def _take_columns(self, metrics: dict[str, np.ndarray], done: int) -> None:
        self._columns = [
            {name: value[:, column] for name, value in metrics.items()} for column in range(done)
        ]

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
        self._run_chunks += self._fleet.num_runs if done else 0
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
        if not self._run_chunks:
            return float("nan")
        return self._run_chunks * self._steps_per_chunk / self._run_s

    def metrics(self) -> dict[str, np.ndarray]:
        """So far, `[R, chunks]` or `[R, chunks, N]`, and `env_steps` `[chunks]` per run."""
        return {**self._metrics(), "env_steps": self._env_steps()}

    def _env_steps(self) -> np.ndarray:
        return np.arange(len(self._columns)) * self._steps_per_chunk

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
        metrics["env_steps"] = self._env_steps()
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
            matmul_precision=self._fleet.precision,
            versions=versions(),
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
