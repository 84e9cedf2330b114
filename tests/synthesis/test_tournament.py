"""Real training behind the measurement, at toy size."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from qllm_jax.config import AgentConfig, Config, LearnerConfig, RunnerConfig, SynthesisConfig
from qllm_jax.errors import UserError
from qllm_jax.synthesis import Seeds, make_measure
from qllm_jax.synthesis.measure import VDN, measure_by_halving
from qllm_jax.synthesis.tournament import vdn


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
    candidates = {
        "same": lambda q, s: q[0] + q[1],
        "broken": lambda q, s: jnp.sum(q) * jnp.sqrt(-1.0 - jnp.square(s[0])),
    }
    return make_measure(climbing, tiny)(candidates, ("vdn", "qmix"), Seeds(7, 2))


def test_every_arm_is_trained_with_the_same_seeds(measured):
    assert measured["same"] == measured[VDN]  # the same function, so the same numbers
    assert len(measured[VDN].scores) == 2
    assert measured[VDN].env_steps[-1] == 500
    assert len(measured[VDN].curve) == len(measured[VDN].env_steps) == 11
    # one TD error per evaluation; before learning starts there is none
    first, *errors = measured[VDN].td_error
    assert first is None
    assert len(errors) == 10
    assert all(np.isfinite(error) for error in errors if error is not None)
    assert errors[-1] is not None


def test_a_mixer_with_parameters_is_an_arm_with_the_same_seeds_and_budget(measured):
    assert list(measured) == ["vdn", "qmix", "same", "broken"]
    qmix, vdn_arm = measured["qmix"], measured[VDN]
    assert qmix.env_steps == vdn_arm.env_steps
    assert len(qmix.scores) == len(vdn_arm.scores)
    assert qmix.curve[0] == vdn_arm.curve[0]  # the same keys: the same agents before training
    assert qmix.td_error != vdn_arm.td_error


def test_an_unknown_arm_is_refused_before_anything_is_asked(climbing, tiny):
    synthesis = dataclasses.replace(tiny.synthesis, arms=("vdn", "qmixx"))
    with pytest.raises(UserError, match="qmix"):
        make_measure(climbing, dataclasses.replace(tiny, synthesis=synthesis))


def test_an_arm_that_diverges_is_counted_and_harms_no_other(measured):
    assert measured["broken"].diverged == 2
    assert measured[VDN].diverged == 0


def test_a_score_is_the_mean_of_the_last_quarter(measured):
    """Ten evaluations after the untrained one: the last quarter is the last two."""
    assert measured[VDN].score == pytest.approx(np.mean(measured[VDN].curve[-2:]))


def test_halving_drops_the_worse_half_and_stops_when_one_is_apart(fake_measure):
    candidates = dict.fromkeys("abcd", vdn)

    class Close(fake_measure):
        def __call__(self, candidates, mixers, seeds, budget=1.0):
            values = super().__call__(candidates, mixers, seeds, budget)
            shift = {"a": 0.0, "b": 0.1, "c": 0.2, "d": 0.3}
            return {
                name: dataclasses.replace(
                    arm, scores=(1.0 + shift.get(name, 0), 2.0 - shift.get(name, 0))
                )
                for name, arm in values.items()
            }

    close = Close("nobody")
    result = measure_by_halving(close, candidates, [VDN], Seeds(0, 2), 3)
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
    measure_by_halving(clear, candidates, [VDN], Seeds(0, 2), 3)
    assert len(clear.calls) == 1
