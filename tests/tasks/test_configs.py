"""Every task has a config, and every config's budget fits the task's episodes and a memory."""

import math

import pytest

from qllm_jax.compose import compose_config
from qllm_jax.paths import data_dir
from qllm_jax.schedule import make_schedule
from qllm_jax.tasks import get_task, task_names

BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


def test_configs_and_tasks_have_the_same_names():
    folder = data_dir("configs") / "task"
    found = {str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.yaml")}
    assert set(task_names()) <= found


@pytest.mark.parametrize("name", task_names())
def test_config_fits_the_task(name):
    config = compose_config([f"task={name}"])
    assert config.task.name == name
    env = get_task(name, **config.task.env_kwargs).env
    schedule = make_schedule(config.learner, config.runner, env.episode_length)
    assert schedule.num_iterations >= 100
    size = env.num_agents * math.prod(env.obs_shape)
    size += 0 if env.state_from_obs is not None else env.state_dim
    numbers = config.learner.replay_capacity * schedule.window_length * size
    assert numbers * BYTES[config.learner.replay_dtype] < 400e6  # per seed
