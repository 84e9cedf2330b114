"""The fixed prey and the fixed adversary are worth playing against."""

import importlib.util
from pathlib import Path

import pytest

from qllm_jax.envs.opponents import opponent_weights, recurrent_opponent

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "measure_opponents.py"
PREDATORS = ("adversary_0", "adversary_1", "adversary_2")


@pytest.fixture(scope="module")
def measure():
    spec = importlib.util.spec_from_file_location("measure_opponents", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.NUM_EPISODES = 512
    return module


def test_greedy_chasers_seldom_catch_the_trained_prey_and_often_a_still_one(measure):
    world = "MPE_simple_tag_v3"
    prey = recurrent_opponent(opponent_weights("simple_tag_prey"), "agent_0")
    caught, error = measure.play(world, PREDATORS, PREDATORS[0], prey, measure.chase)
    assert 1.0 < caught < 4.0 + 2 * error
    still, error = measure.play(
        world, PREDATORS, PREDATORS[0], measure.still("agent_0"), measure.chase
    )
    assert still > 50.0


def test_the_adversary_is_nearer_to_the_goal_than_a_still_one(measure):
    world, good, adversary = "MPE_simple_adversary_v3", ("agent_0", "agent_1"), "adversary_0"
    weights = opponent_weights("simple_adversary_adversary")
    trained, error = measure.play(
        world, good, adversary, recurrent_opponent(weights, adversary), measure.cover_both
    )
    assert trained > -18.0 - 2 * error
    still, error = measure.play(
        world, good, adversary, measure.still(adversary), measure.cover_both
    )
    assert abs(still + 26.0) < 3 * error + 0.5


@pytest.mark.parametrize("name", ["simple_tag_prey", "simple_adversary_adversary"])
def test_weights_are_small(name):
    from qllm_jax.envs import opponents

    path = Path(opponents.__file__).with_name("weights") / f"{name}.npz"
    assert path.stat().st_size < 100_000
