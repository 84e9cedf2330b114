"""Every task has a config; with every learner its budget fits the episodes and a memory."""

import math

import pytest

from qllm_jax.compose import compose_config
from qllm_jax.config import LEARNERS_WITHOUT_REPLAY
from qllm_jax.paths import data_dir
from qllm_jax.schedule import make_schedule
from qllm_jax.tasks import get_configured_task, get_task, task_names
from qllm_jax.training.learners import learner_names

BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


def family_of(task):
    return task.split("/")[0]


def test_configs_and_tasks_have_the_same_names():
    folder = data_dir("configs") / "task"
    found = {str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.yaml")}
    assert set(task_names()) <= found


def test_every_recipe_belongs_to_a_family_and_a_learner():
    folder = data_dir("configs") / "recipe"
    found = [path.relative_to(folder).with_suffix("").parts for path in folder.rglob("*.yaml")]
    families = {family_of(name) for name in task_names()}
    assert {family for family, _ in found} <= families
    assert {learner for _, learner in found} <= set(learner_names())


def test_a_learners_values_are_its_own_whatever_the_family_gives_another():
    """SMAX: JaxMARL's PPO learns with 0.002 and no entropy bonus, its PQN with 0.00025."""
    mappo = compose_config(["task=smax/3m", "learner=mappo"]).learner
    pqn = compose_config(["task=smax/3m", "learner=pqn"]).learner
    assert (mappo.lr, mappo.entropy_coef, mappo.reward_scale) == (0.002, 0.0, 1.0)
    assert (pqn.lr, pqn.td_lambda, pqn.reward_scale) == (0.00025, 0.85, 10.0)


def test_a_value_of_ones_own_beats_the_recipe():
    given = compose_config(["task=smax/3m", "learner=mappo", "learner.entropy_coef=0.5"])
    assert given.learner.entropy_coef == 0.5


@pytest.mark.parametrize("name", task_names())
def test_config_fits_the_task(name):
    config = compose_config([f"task={name}"])
    assert config.task.name == name
    spec = get_task(name, **config.task.env_kwargs)
    assert get_configured_task(name) is spec  # what the coder is told about is what is trained on
    env = spec.env
    assert make_schedule(config.learner, config.runner, env.episode_length).num_iterations >= 100
    check_fit(config, env)


@pytest.mark.parametrize("learner", learner_names())
@pytest.mark.parametrize("family", sorted({family_of(name) for name in task_names()}))
def test_every_learner_fits_every_family(family, learner):
    name = next(name for name in task_names() if family_of(name) == family)
    config = compose_config([f"task={name}", f"learner={learner}"])
    check_fit(config, get_task(name, **config.task.env_kwargs).env)


def check_fit(config, env):
    """The budget is whole iterations, and a replay leaves room for many seeds."""
    schedule = make_schedule(config.learner, config.runner, env.episode_length)
    if config.learner.name in LEARNERS_WITHOUT_REPLAY:
        return
    size = math.prod(env.seen_shape)
    size += 0 if env.state_from_obs is not None else env.state_dim
    numbers = config.learner.replay_capacity * schedule.window_length * size
    assert numbers * BYTES[config.learner.replay_dtype] < 400e6  # per seed
