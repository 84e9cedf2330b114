"""The real `MeasureFn`: candidates × seeds trained in one compiled program.

Called by `loop.generate`. VDN, the TFCAF that sums, is one more function of that program; a mixer
with parameters, such as QMIX, is trained by a program of its own with the same seeds and budget.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from qllm_jax.config import LEARNERS_WITHOUT_MIXER, Config, LearnerConfig, RunnerConfig
from qllm_jax.errors import require
from qllm_jax.halving import rung_ends
from qllm_jax.networks import make_mixer
from qllm_jax.synthesis.measurement import (
    VDN,
    ArmFn,
    ArmMeasurement,
    MeasureFn,
    Seeds,
    going_on,
    num_going_on,
)
from qllm_jax.tasks.spec import TaskSpec
from qllm_jax.training import ChunkReport, run_rungs, run_training, runs_for_tournament

_EVALUATIONS = 10
_EVAL_EPISODES = 32

OnChunk = Callable[[str, ChunkReport], None]  # what is trained, and how far it is


def vdn(agent_qs: Any, state: Any) -> Any:
    """VDN as a TFCAF: the sum.

    "Value-Decomposition Networks For Cooperative Multi-Agent Learning",
    https://arxiv.org/abs/1706.05296.
    """
    return jnp.sum(agent_qs, axis=-1)


def make_measure(
    spec: TaskSpec, config: Config, scale: float = 1.0, on_chunk: OnChunk | None = None
) -> MeasureFn:
    """Measured evaluation of a task's arms.

    Args:
        spec: The task.
        config: The job's; `measurement_config` derives the tournament's.
        scale: Factor on every candidate's value; fixed mixers are never scaled.
        on_chunk: Told after every evaluation.

    Raises:
        UserError: A mixer of `synthesis.arms` is unknown or needs a function of its own; or the
            learner mixes nothing, so that all arms would be trained alike.
    """
    require(
        config.learner.name not in LEARNERS_WITHOUT_MIXER,
        f"learner.name is {config.learner.name}, which mixes nothing: trained with it, all "
        "candidates are alike. Design with learner=dqn, pqn or mixed_critic (the first of "
        "compare.learners, where several are compared), or set synthesis.evaluator=llm.",
    )
    for name in config.synthesis.arms:
        _make_arm(spec, config, name)

    def measure(
        candidates: Mapping[str, ArmFn],
        mixers: Sequence[str],
        seeds: Seeds,
        num_rungs: int = 1,
    ) -> dict[str, ArmMeasurement]:
        job = measurement_config(config, spec.env.episode_length, seeds)
        found = _tournament(spec, job, candidates, VDN in mixers, num_rungs, scale, on_chunk)
        chunks = max(len(arm.curve) for arm in found.values())
        for name in mixers:
            if name != VDN:
                mixer = _make_arm(spec, job, name)
                told = _named(on_chunk, name)
                output = run_training(spec, mixer, job, on_chunk=told, pause_after=chunks)
                found[name] = arm_of(output.metrics, 0, seeds.count)
        return {name: found[name] for name in (*mixers, *candidates)}

    return measure


def _tournament(
    spec: TaskSpec,
    job: Config,
    candidates: Mapping[str, ArmFn],
    with_vdn: bool,
    num_rungs: int,
    scale: float,
    on_chunk: OnChunk | None,
) -> dict[str, ArmMeasurement]:
    """Candidates × seeds in one compiled program, rung after rung, VDN beside them to the end."""
    functions = {VDN: vdn, **candidates} if with_vdn else dict(candidates)
    scales = [scale if name in candidates else 1.0 for name in functions]
    sizes = spec.env.num_agents, spec.env.state_dim
    mixer = make_mixer(job.mixer, *sizes, tuple(functions.values()))
    num_seeds, going = job.runner.num_seeds, list(functions)
    found: dict[str, ArmMeasurement] = {}

    def choose(metrics: Mapping[str, np.ndarray]) -> list[int]:
        nonlocal going
        found.update({name: arm_of(metrics, i, num_seeds) for i, name in enumerate(going)})
        kept = going_on(found, [name for name in going if name in candidates])
        stay = [i for i, name in enumerate(going) if name in kept or (kept and name == VDN)]
        going = [going[i] for i in stay]
        return [i * num_seeds + seed for i in stay for seed in range(num_seeds)]

    rungs = [1 + end for end in rung_ends(job.runner.num_evaluations, num_rungs)]
    finalists = len(candidates)
    for _ in rungs[1:]:
        finalists = num_going_on(finalists)
    run_rungs(
        spec,
        mixer,
        job,
        runs_for_tournament(job, len(functions), scales),
        rungs,
        choose,
        runs_at_once=(finalists + with_vdn) * num_seeds,
        on_chunk=_named(on_chunk, ", ".join(functions)),
    )
    return found


def _named(on_chunk: OnChunk | None, name: str) -> Callable[[ChunkReport], None] | None:
    return None if on_chunk is None else lambda report: on_chunk(name, report)


def _make_arm(spec: TaskSpec, config: Config, name: str) -> Any:
    """The mixer `name` with the sizes of a task."""
    env, mixer = spec.env, dataclasses.replace(config.mixer, name=name)
    return make_mixer(mixer, env.num_agents, env.state_dim, num_actions=env.num_actions)


def measurement_config(config: Config, episode_length: int, seeds: Seeds | None = None) -> Config:
    """The job's config, shortened to `synthesis.measured_env_steps` per seed.

    Periods that would not come round in the shorter run shrink with it: learning starts after an
    eighth of it at the latest, and the target network is renewed ten times at least. The budget
    is the largest multiple of the evaluations' period that is not above the one asked for.
    """
    synthesis, learner = config.synthesis, config.learner
    window = learner.window_length or episode_length + 1
    per_iteration = learner.num_envs * (window - 1)
    seeds = seeds or Seeds(0, synthesis.measured_seeds)
    iterations = max(synthesis.measured_env_steps // per_iteration, 1)
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
    )
    mixer = dataclasses.replace(config.mixer, name="tfcaf")
    return dataclasses.replace(config, learner=short, runner=runner, mixer=mixer)


def _capacity(learner: LearnerConfig, iterations: int) -> int:
    """No more windows than the run collects, no fewer than a batch."""
    batches = -(-learner.batch_size // learner.num_envs)
    return min(learner.replay_capacity, max(iterations, batches) * learner.num_envs)


def arm_of(metrics: Mapping[str, np.ndarray], index: int, num_seeds: int) -> ArmMeasurement:
    """One arm's rows of a tournament's metrics: run `index * num_seeds + s` is its s-th seed."""
    rows = slice(index * num_seeds, (index + 1) * num_seeds)
    returns = np.asarray(metrics["return"][rows], np.float64)  # [S, E]
    tail = max((returns.shape[1] - 1) // 4, 1)
    errors = np.asarray(metrics["td_error"][rows], np.float64)
    alive = np.asarray(metrics["alive"][rows])[:, -1]
    return ArmMeasurement(
        scores=tuple(float(value) for value in returns[:, -tail:].mean(axis=1)),
        curve=tuple(float(value) for value in returns.mean(axis=0)),
        env_steps=tuple(int(value) for value in metrics["env_steps"]),
        td_error=tuple(_finite_mean(column) for column in errors.T),
        diverged=int(np.sum(~alive.astype(bool))),
    )


def _finite_mean(values: np.ndarray) -> float | None:
    """Mean over the seeds in which there is a value; None where there is in none."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None
