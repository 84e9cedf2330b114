"""What can be known to fail is checked first, before a job makes anything."""

from qllm_jax.config import Config
from qllm_jax.errors import unknown_name
from qllm_jax.networks import mixer_names
from qllm_jax.schedule import make_schedule
from qllm_jax.tasks import get_task
from qllm_jax.tasks.spec import TaskSpec


def checked_task(config: Config) -> TaskSpec:
    """The task, after everything that can be known to fail has been checked."""
    spec = get_task(config.task.source, **config.task.env_kwargs)
    make_schedule(config.learner, config.runner, spec.env.episode_length)
    for name in config.compare.mixers:
        if name not in mixer_names():
            raise unknown_name("mixer", name, mixer_names())
    return spec
