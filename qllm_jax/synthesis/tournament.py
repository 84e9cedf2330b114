"""The real `MeasureFn`: arms × seeds trained in one compiled program."""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from qllm_jax.config import Config, LearnerConfig, RunnerConfig
from qllm_jax.networks import make_mixer
from qllm_jax.synthesis.measure import VDN, ArmFn, ArmMeasurement, MeasureFn, Seeds
from qllm_jax.tasks.spec import TaskSpec
from qllm_jax.training import ChunkReport, TrainingOutput, run_training, runs_for_tournament

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
        scale: Factor on every candidate's value; VDN, the reference, is never scaled.
        on_chunk: Told after every evaluation.
    """

    def measure(
        arms: Mapping[str, ArmFn], seeds: Seeds, budget: float = 1.0
    ) -> dict[str, ArmMeasurement]:
        job = measurement_config(config, spec.env.episode_length, seeds, budget)
        mixer = make_mixer(job.mixer, spec.env.num_agents, spec.env.state_dim, tuple(arms.values()))
        scales = [1.0 if name == VDN else scale for name in arms]
        runs = runs_for_tournament(job, len(arms), scales)
        output = run_training(spec, mixer, job, runs=runs, on_chunk=on_chunk)
        return {name: arm_of(output, index, seeds.count) for index, name in enumerate(arms)}

    return measure


def measure_mixer(spec: TaskSpec, config: Config, name: str, seeds: Seeds) -> ArmMeasurement:
    """Measure a learned mixer, such as QMIX, as a tournament measures its arms."""
    job = measurement_config(config, spec.env.episode_length, seeds)
    job = dataclasses.replace(job, mixer=dataclasses.replace(job.mixer, name=name))
    env = spec.env
    mixer = make_mixer(job.mixer, env.num_agents, env.state_dim, num_actions=env.num_actions)
    return arm_of(run_training(spec, mixer, job), 0, seeds.count)


def measurement_config(
    config: Config, episode_length: int, seeds: Seeds | None = None, budget: float = 1.0
) -> Config:
    """The job's config, shortened to `budget` times `synthesis.measured_env_steps` per seed.

    Periods that would not come round in the shorter run shrink with it: learning starts after an
    eighth of it at the latest, and the target network is renewed ten times at least. The budget
    is the largest multiple of the evaluations' period that is not above the one asked for.
    """
    synthesis, learner = config.synthesis, config.learner
    window = learner.window_length or episode_length + 1
    per_iteration = learner.num_envs * (window - 1)
    seeds = seeds or Seeds(0, synthesis.measured_seeds)
    iterations = max(int(budget * synthesis.measured_env_steps) // per_iteration, 1)
    evaluations = min(_EVALUATIONS, iterations)
    iterations -= iterations % evaluations
    num_env_steps = iterations * per_iteration
    short: LearnerConfig = dataclasses.replace(
        learner,
        learning_starts=min(learner.learning_starts, num_env_steps // 8),
        target_update_interval=min(learner.target_update_interval, max(iterations // 10, 1)),
        replay_capacity=_capacity(learner, iterations),
    )
    runner: RunnerConfig = dataclasses.replace(
        config.runner,
        first_seed=seeds.first,
        num_seeds=seeds.count,
        num_env_steps=num_env_steps,
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


def arm_of(output: TrainingOutput, index: int, num_seeds: int) -> ArmMeasurement:
    """One arm's rows of a tournament: run `index * num_seeds + s` is its s-th seed."""
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
