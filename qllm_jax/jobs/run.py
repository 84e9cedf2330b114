"""`run`: the main job, `generate` and then `compare` in one directory."""

from collections.abc import Sequence
from pathlib import Path

from qllm_jax.config import Config
from qllm_jax.jobs.checks import checked_task
from qllm_jax.jobs.compare import (
    checked_learners,
    compare_mixers,
    keep_learners,
    kept_learners,
    trainings_of,
)
from qllm_jax.jobs.directory import job_directory
from qllm_jax.jobs.generate import design
from qllm_jax.jobs.interrupt import StopRequest
from qllm_jax.jobs.outcome import JobOutcome
from qllm_jax.jobs.session import Session
from qllm_jax.results import Console


def run(config: Config, other_learners: Sequence[Config] = ()) -> JobOutcome:
    """`qllm-jax run`: the main job, from the task's description to the report.

    Args:
        config: The job's; the design measures candidates with its learner.
        other_learners: The same with other learners, which the comparison trains as well.
    """
    checked_learners(config, other_learners)
    directory = job_directory(config, "run")
    keep_learners(directory, other_learners)
    return run_in(config, directory)


def run_in(config: Config, directory: Path) -> JobOutcome:
    """The main job in its directory, begun or gone on with."""
    spec = checked_task(config)
    with Console() as console:
        # The design keeps a journal, so that Ctrl-C may end it anywhere; training stops at a chunk.
        result = design(config, spec, directory, console)
        with StopRequest() as should_stop:
            configs = [config, *kept_learners(directory)]
            trainings = trainings_of(configs, spec, result.artifact)
            return compare_mixers(trainings, directory, Session(console, should_stop), result)
