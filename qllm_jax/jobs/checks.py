"""What can be known to fail is checked first, before a job makes anything."""

from qllm_jax.config import Config
from qllm_jax.errors import unknown_name
from qllm_jax.networks import make_agent, mixer_names
from qllm_jax.schedule import make_schedule
from qllm_jax.tasks import get_task
from qllm_jax.tasks.spec import TaskSpec
from qllm_jax.training import get_learner


def checked_task(config: Config) -> TaskSpec:
    """The task, after everything that can be known to fail has been checked.

    Raises:
        UserError: An unknown task, learner or mixer, a budget that does not divide, or a network
            that cannot read the task's observations.
    """
    spec = get_task(config.task.source, **config.task.env_kwargs)
    get_learner(config.learner.name)
    make_schedule(config.learner, config.runner, spec.env.episode_length)
    make_agent(config.agent, spec.env.num_agents, spec.env.num_actions, spec.env.obs_shape)
    for name in (config.mixer.name, *config.compare.mixers):
        if name not in mixer_names():
            raise unknown_name("mixer", name, mixer_names())
    return spec
