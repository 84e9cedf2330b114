"""Bad input gets one clear error; what composes is what the dataclasses say."""

import pytest

from qllm_jax.compose import compose_config, config_groups
from qllm_jax.config import (
    Config,
    LearnerConfig,
    RunnerConfig,
    config_from_mapping,
    config_to_mapping,
)
from qllm_jax.errors import UserError, closest_names
from qllm_jax.paths import data_dir
from qllm_jax.schedule import make_schedule


def test_a_config_survives_the_round_trip_through_plain_values():
    config = compose_config(["task=matrix/climbing", "learner.lr=1e-3", "compare.mixers=[vdn]"])
    assert config_from_mapping(config_to_mapping(config)) == config
    assert config.learner.lr == 1e-3
    assert config.compare.mixers == ("vdn",)


@pytest.mark.parametrize("group", sorted(config_groups(data_dir("configs"))))
def test_every_shipped_option_composes(group):
    for option in config_groups(data_dir("configs"))[group]:
        assert isinstance(compose_config([f"{group}={option}"]), Config)


def test_a_task_overrides_the_learner_and_the_command_line_overrides_the_task():
    assert compose_config(["task=matrix/climbing"]).learner.learning_starts == 1000
    chosen = compose_config(["task=matrix/climbing", "learner.learning_starts=7"])
    assert chosen.learner.learning_starts == 7


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("task=matrix/climing", "Did you mean 'matrix/climbing'"),
        ("mixer=qmx", "Did you mean 'qmix'"),
        ("learner.lrr=1", "Did you mean 'learner.lr'"),
        ("nonsense", "write key=value"),
        ("learner.lr=fast", "learner.lr is 'fast'; it must be of type float"),
        ("learner.lr=[", "could not be composed"),
        ("runner.num_seeds=0", "runner.num_seeds is 0; it must be positive"),
        ("runner.num_seeds=2.5", "must be of type int"),
        ("learner.discount=1.5", "must lie in [0, 1]"),
        ("mixer.scale=two", "Known: artifact, none, num_agents"),
        ("learner.replay_capacity=5001", "5000 or 5008 would fit"),
        ("learner.batch_size=10000", "a batch could never be drawn"),
        ("compare.mixers=[vdn,vdn]", "names one mixer twice"),
        ("compare.mixers=vdn", "must be a list such as [a,b]"),
    ],
)
def test_a_mistake_is_answered_with_what_would_work(override, expected):
    with pytest.raises(UserError) as caught:
        compose_config([override])
    assert expected in str(caught.value)


def test_schedule_by_hand():
    # 8 envs × 25 steps = 200 steps an iteration; 200,000 / 200 = 1,000 iterations in 20 chunks;
    # learning starts at 10,000 / 200 = 50 windows collected, which is iteration index 49.
    schedule = make_schedule(LearnerConfig(), RunnerConfig(num_env_steps=200_000), 25)
    assert schedule.window_length == 26
    assert schedule.steps_per_iteration == 200
    assert schedule.num_iterations == 1000
    assert schedule.iterations_per_chunk == 50
    assert schedule.first_update == 49


def test_a_budget_that_does_not_divide_says_what_would():
    with pytest.raises(UserError, match=r"200,000 or 204,000 would fit"):
        make_schedule(LearnerConfig(), RunnerConfig(num_env_steps=201_000), 25)


def test_a_window_must_hold_an_episode():
    with pytest.raises(UserError, match="needs 26 slots"):
        make_schedule(LearnerConfig(window_length=25), RunnerConfig(), 25)


def test_a_run_that_would_learn_nothing_is_refused():
    with pytest.raises(UserError, match="nothing would be learned"):
        make_schedule(LearnerConfig(), RunnerConfig(num_env_steps=4000, num_evaluations=1), 25)


def test_closest_names_are_ordered_by_likeness():
    assert closest_names("qmx", ["vdn", "qmix", "iql", "qplex"])[0] == "qmix"
