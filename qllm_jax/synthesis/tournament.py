"""The real `MeasureFn`: arms × seeds trained in one compiled program."""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from qllm_jax.config import Config, LearnerConfig, RunnerConfig
from qllm_jax.networks import make_mixer
from qllm_jax.synthesis.measure import ArmMeasurement, MeasureFn
from qllm_jax.tasks.spec import TaskSpec
from qllm_jax.training import ChunkReport, TrainingOutput, run_training, runs_for_tournament
from qllm_jax.types import TfcafFunction

_EVALUATIONS = 10
_EVAL_EPISODES = 32

OnChunk = Callable[[ChunkReport], None]


def make_measure(
    spec: TaskSpec, config: Config, scale: float = 1.0, on_chunk: OnChunk | None = None
) -> MeasureFn:
    """Measured evaluation of a task's arms.

    Args:
        spec: The task.
        config: The job's; `measurement_config` derives the tournament's.
        scale: Factor on every arm's value.
        on_chunk: Told after every evaluation.
    """
    short = measurement_config(config, spec.env.episode_length)

    def measure(arms: Mapping[str, TfcafFunction], first_seed: int) -> dict[str, ArmMeasurement]:
        runner = dataclasses.replace(short.runner, first_seed=first_seed)
        job = dataclasses.replace(short, runner=runner)
        mixer = make_mixer(job.mixer, spec.env.num_agents, spec.env.state_dim, tuple(arms.values()))
        runs = runs_for_tournament(job, len(arms), scale)
        output = run_training(spec, mixer, job, runs=runs, on_chunk=on_chunk)
        return {name: _arm(output, index, runner.num_seeds) for index, name in enumerate(arms)}

    return measure


def measurement_config(config: Config, episode_length: int) -> Config:
    """The job's config, shortened to `synthesis.measured_env_steps` per seed.

    Periods that would not come round in the shorter run shrink with it: learning starts after an
    eighth of it at the latest, and the target network is renewed ten times at least. The budget
    is the largest multiple of the evaluations' period that is not above the one asked for.
    """
    synthesis, learner = config.synthesis, config.learner
    window = learner.window_length or episode_length + 1
    per_iteration = learner.num_envs * (window - 1)
    iterations = max(synthesis.measured_env_steps // per_iteration, 1)
    evaluations = min(_EVALUATIONS, iterations)
    iterations -= iterations % evaluations
    budget = iterations * per_iteration
    short: LearnerConfig = dataclasses.replace(
        learner,
        learning_starts=min(learner.learning_starts, budget // 8),
        target_update_interval=min(learner.target_update_interval, max(iterations // 10, 1)),
        replay_capacity=_capacity(learner, iterations),
    )
    runner: RunnerConfig = dataclasses.replace(
        config.runner,
        num_seeds=synthesis.measured_seeds,
        num_env_steps=budget,
        num_evaluations=evaluations,
        num_eval_episodes=min(config.runner.num_eval_episodes, _EVAL_EPISODES),
        checkpoint=False,
    )
    mixer = dataclasses.replace(config.mixer, name="tfcaf")
    return dataclasses.replace(config, learner=short, runner=runner, mixer=mixer)


def _capacity(learner: LearnerConfig, iterations: int) -> int:
    """No more windows than the run collects, no fewer than a batch."""
    batches = -(-learner.batch_size // learner.num_envs)
    return min(learner.replay_capacity, max(iterations, batches) * learner.num_envs)


def _arm(output: TrainingOutput, index: int, num_seeds: int) -> ArmMeasurement:
    rows = slice(index * num_seeds, (index + 1) * num_seeds)
    returns = np.asarray(output.metrics["return"][rows], np.float64)  # [S, E]
    tail = max((returns.shape[1] - 1) // 4, 1)
    errors = np.asarray(output.metrics["td_error"][rows], np.float64)
    known = errors[:, np.all(np.isfinite(errors), axis=0)].mean(axis=0)
    alive = np.asarray(output.metrics["alive"][rows])[:, -1]
    return ArmMeasurement(
        scores=tuple(float(value) for value in returns[:, -tail:].mean(axis=1)),
        curve=tuple(float(value) for value in returns.mean(axis=0)),
        env_steps=tuple(int(value) for value in output.metrics["env_steps"]),
        td_error=tuple(float(value) for value in known),
        diverged=int(np.sum(~alive.astype(bool))),
    )
