"""From step budgets to whole numbers of iterations and chunks. Nothing is rounded silently.

Called where a training is put together (`training.chunk`) and where it is refused before that
(`jobs.checks`, `sweep.search`).
"""

import dataclasses
import math

from qllm_jax.config import LearnerConfig, RunnerConfig
from qllm_jax.errors import require


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Whole numbers that follow from a config and an episode length; nothing is rounded.

    Attributes:
        window_length: T slots per window.
        steps_per_iteration: Environment steps of one iteration, `num_envs * (T - 1)`.
        num_iterations: Iterations in the run.
        iterations_per_chunk: Iterations between two evaluations.
        first_update: Iteration index of the first gradient step.
    """

    window_length: int
    steps_per_iteration: int
    num_iterations: int
    iterations_per_chunk: int
    first_update: int


def make_schedule(learner: LearnerConfig, runner: RunnerConfig, episode_length: int) -> Schedule:
    """Turn step budgets into iterations.

    Environment steps are counted as `num_envs * (window_length - 1)` per iteration: exact where
    every episode has full length.

    Raises:
        UserError: The budget does not divide, or a window cannot hold an episode; says what would
            fit.
    """
    window = learner.window_length or episode_length + 1
    require(
        window >= episode_length + 1,
        f"learner.window_length is {window}, but an episode of this task has up to "
        f"{episode_length} steps and needs {episode_length + 1} slots.",
    )
    steps = learner.num_envs * (window - 1)
    unit = steps * runner.num_evaluations
    lower = runner.num_env_steps // unit * unit
    fits = f"{lower:,} or {lower + unit:,}" if lower else f"{unit:,}"
    require(
        runner.num_env_steps % unit == 0,
        f"runner.num_env_steps is {runner.num_env_steps:,}, not a multiple of {unit:,} = "
        f"{learner.num_envs} envs × {window - 1} steps × {runner.num_evaluations} evaluations. "
        f"{fits} would fit; or change runner.num_evaluations.",
    )
    num_iterations = runner.num_env_steps // steps
    needed = max(
        math.ceil(learner.learning_starts / steps), math.ceil(learner.batch_size / learner.num_envs)
    )
    require(
        needed <= num_iterations,
        f"learning would start after {needed * steps:,} environment steps "
        f"(learner.learning_starts = {learner.learning_starts:,}), but the run ends at "
        f"{runner.num_env_steps:,}: nothing would be learned. Lower learner.learning_starts or "
        "raise runner.num_env_steps.",
    )
    return Schedule(
        window_length=window,
        steps_per_iteration=steps,
        num_iterations=num_iterations,
        iterations_per_chunk=num_iterations // runner.num_evaluations,
        first_update=max(needed - 1, 0),
    )
