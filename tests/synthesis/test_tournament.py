"""Real training behind the measurement, at toy size."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from qllm_jax.config import AgentConfig, Config, LearnerConfig, RunnerConfig, SynthesisConfig
from qllm_jax.synthesis import Seeds, make_measure
from qllm_jax.synthesis.measure import VDN, measure_by_halving, vdn


@pytest.fixture(scope="module")
def tiny():
    return Config(
        agent=AgentConfig(hidden_dim=8),
        learner=LearnerConfig(num_envs=2, batch_size=4, replay_capacity=16, learning_starts=100),
        runner=RunnerConfig(num_eval_episodes=2),
        synthesis=SynthesisConfig(measured_seeds=2, measured_env_steps=500),
    )


@pytest.fixture(scope="module")
def measured(climbing, tiny):
    arms = {
        VDN: vdn,
        "same": lambda q, s: q[0] + q[1],
        "broken": lambda q, s: jnp.sum(q) * jnp.sqrt(-1.0 - jnp.square(s[0])),
    }
    return make_measure(climbing, tiny)(arms, Seeds(7, 2))


def test_every_arm_is_trained_with_the_same_seeds(measured):
    assert measured["same"] == measured[VDN]  # the same function, so the same numbers
    assert len(measured[VDN].scores) == 2
    assert measured[VDN].env_steps[-1] == 500
    assert len(measured[VDN].curve) == len(measured[VDN].env_steps) == 11
    assert all(np.isfinite(measured[VDN].td_error))


def test_an_arm_that_diverges_is_counted_and_harms_no_other(measured):
    assert measured["broken"].diverged == 2
    assert measured[VDN].diverged == 0


def test_a_score_is_the_mean_of_the_last_quarter(measured):
    """Ten evaluations after the untrained one: the last quarter is the last two."""
    assert measured[VDN].score == pytest.approx(np.mean(measured[VDN].curve[-2:]))


def test_halving_drops_the_worse_half_and_stops_when_one_is_apart(fake_measure):
    arms = dict.fromkeys([VDN, "a", "b", "c", "d"], vdn)

    class Close(fake_measure):
        def __call__(self, arms, seeds, budget=1.0):
            values = super().__call__(arms, seeds, budget)
            shift = {"a": 0.0, "b": 0.1, "c": 0.2, "d": 0.3}
            return {
                name: dataclasses.replace(
                    arm, scores=(1.0 + shift.get(name, 0), 2.0 - shift.get(name, 0))
                )
                for name, arm in values.items()
            }

    close = Close("nobody")
    result = measure_by_halving(close, arms, Seeds(0, 2), 3)
    assert [budget for _, _, budget in close.calls] == [0.25, 0.5, 1.0]
    assert [len(names) for names, _, _ in close.calls] == [5, 3, 3]
    assert all(VDN in names for names, _, _ in close.calls)
    assert {name: arm.env_steps[-1] for name, arm in result.items()} == {
        VDN: 20,
        "a": 20,
        "b": 20,
        "c": 5,
        "d": 5,
    }
    clear = fake_measure("c")
    measure_by_halving(clear, arms, Seeds(0, 2), 3)
    assert len(clear.calls) == 1
