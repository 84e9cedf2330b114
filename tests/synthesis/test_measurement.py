"""Intervals, ties, and what the coder is told about a measurement."""

import numpy as np
import pytest

from qllm_jax.config import Config, LearnerConfig, SynthesisConfig
from qllm_jax.schedule import make_schedule
from qllm_jax.synthesis.measurement import (
    ArmMeasurement,
    mean_interval,
    measurement_from_json,
    measurement_to_json,
    paired_interval,
    statistical_ties,
)
from qllm_jax.synthesis.reflection import measurement_text
from qllm_jax.synthesis.tournament import measurement_config


def arm(*scores, curve=(0.0, 1.0), **fields):
    return ArmMeasurement(tuple(map(float, scores)), curve, tuple(range(len(curve))), **fields)


def test_an_interval_covers_the_mean_of_normal_samples_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(200):
        low, high = mean_interval(rng.normal(3.0, 1.0, 20))
        hits += low <= 3.0 <= high
    assert 0.87 <= hits / 200 <= 0.99


def test_pairing_removes_what_the_seeds_share():
    """Seeds differ by 100, arms by 1 in every seed: the paired interval is [1, 1]."""
    seeds = np.array([0.0, 100.0, 200.0])
    assert paired_interval(arm(*(seeds + 1)), arm(*seeds)) == (1.0, 1.0)
    assert statistical_ties({"a": arm(*(seeds + 1)), "b": arm(*seeds)}, ("a", "b")) == ["a"]


def test_equal_arms_are_tied():
    assert statistical_ties({"a": arm(1, 2), "b": arm(1, 2)}, ("a", "b")) == ["a", "b"]


def test_a_measurement_survives_the_journal():
    measurement = arm(1.25, 2.5, td_error=(0.5,), diverged=1)
    assert measurement_from_json(measurement_to_json(measurement)) == measurement


def test_what_the_coder_is_told():
    measured = {
        "vdn": arm(0, 0, 0),
        "r1c1": arm(1, 2, 3, curve=tuple(float(i) for i in range(21)), td_error=(None, 2.0, 1.0)),
    }
    text = measurement_text("r1c1", measured, ["vdn", "absent"])
    assert "Return after training: 2.00 [" in text
    assert "0, 2, 4, 6, 8, 11, 13, 15, 17, 20" in text  # ten points of 21
    assert "TD error along training: 2, 1." in text
    assert "Against vdn: +2.00 [" in text
    assert "better" in text
    assert "absent" not in text


@pytest.mark.parametrize(("steps", "budget"), [(40_000, 40_000), (41_999, 40_000), (1_100, 1_000)])
def test_a_shortened_run_fits_its_schedule(steps, budget):
    """8 environments of 25 steps: 200 steps per iteration, ten evaluations where there is room."""
    short = measurement_config(Config(synthesis=SynthesisConfig(measured_env_steps=steps)), 25)
    assert short.runner.num_env_steps == budget
    schedule = make_schedule(short.learner, short.runner, 25)
    assert schedule.num_iterations * 200 == budget


def test_periods_shrink_with_the_run():
    config = Config(learner=LearnerConfig(learning_starts=10_000, target_update_interval=200))
    short = measurement_config(config, 25).learner
    assert short.learning_starts == 5_000  # an eighth of 40,000
    assert short.target_update_interval == 20  # a tenth of 200 iterations
