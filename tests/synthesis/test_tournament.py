"""Real training behind the measurement, at toy size."""

import dataclasses
import functools

import jax.numpy as jnp
import numpy as np
import pytest

from qllm_jax.config import AgentConfig, Config, LearnerConfig, RunnerConfig, SynthesisConfig
from qllm_jax.errors import UserError
from qllm_jax.synthesis import ArmMeasurement, Seeds, make_measure
from qllm_jax.synthesis.measurement import VDN, going_on, num_going_on
from qllm_jax.training import fleet
from qllm_jax.training.chunk import compile_chunk


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


def test_a_learner_that_mixes_nothing_is_refused_before_anything_is_asked(climbing, tiny):
    """Its critic takes the mixer's place, so every candidate would have the same numbers."""
    learner = LearnerConfig(name="mappo", num_envs=2, batch_size=2)
    with pytest.raises(UserError, match=r"learner\.name is mappo.*learner=dqn"):
        make_measure(climbing, dataclasses.replace(tiny, learner=learner))


def test_an_arm_that_diverges_is_counted_and_harms_no_other(measured):
    assert measured["broken"].diverged == 2
    assert measured[VDN].diverged == 0


def test_a_score_is_the_mean_of_the_last_quarter(measured):
    """Ten evaluations after the untrained one: the last quarter is the last two."""
    assert measured[VDN].score == pytest.approx(np.mean(measured[VDN].curve[-2:]))


def scored(*scores):
    return ArmMeasurement(scores, (0.0, 1.0), (0, 1))


def test_the_better_half_goes_on_two_at_least_and_none_where_one_is_apart():
    """Means rise by 0.1 from a to e, and the two seeds' differences have both signs: ties."""
    close = {
        "a": scored(0.0, 0.0),
        "b": scored(1.1, -0.9),
        "c": scored(2.2, -1.8),
        "d": scored(3.3, -2.7),
        "e": scored(4.4, -3.6),
    }
    assert going_on(close, "abcde") == ("c", "d", "e")
    assert going_on(close, ("e", "d", "a")) == ("e", "d")
    assert going_on(close, ("a", "b")) == ("a", "b")
    assert going_on({**close, "d": scored(10.0, 10.5)}, "abcde") == ()
    assert [num_going_on(count) for count in (8, 4, 3, 2, 1)] == [4, 2, 2, 2, 1]


def test_a_tournament_compiles_once_and_who_reaches_the_end_has_its_own_numbers(
    climbing, tiny, monkeypatch
):
    """Five candidates, three rungs: six arms, then four, then three, by the program that holds
    three. What is given up keeps its curve up to there."""
    compiled = []

    def counted(program, placement, precision):
        compiled.append(placement.num_runs)
        return compile_chunk(program, placement, precision)

    monkeypatch.setattr(fleet, "compile_chunk", counted)
    weights = {"a": 0.9, "b": 1.0, "c": 1.1, "d": 1.2, "e": 1.3}
    candidates = {
        name: functools.partial(lambda w, q, s: w * q[0] + q[1], w) for name, w in weights.items()
    }
    measure, seeds = make_measure(climbing, tiny), Seeds(7, 2)
    whole = measure(candidates, ("vdn",), seeds)
    assert compiled == [12]
    halved = measure(candidates, ("vdn",), seeds, num_rungs=3)
    assert compiled == [12, 6]
    lengths = {name: len(arm.curve) for name, arm in halved.items()}
    assert lengths[VDN] == 11
    assert sorted(lengths[name] for name in candidates) == [4, 4, 6, 11, 11]
    for name, arm in halved.items():
        assert arm.curve == pytest.approx(whole[name].curve[: len(arm.curve)], rel=1e-5)
        assert arm.env_steps == whole[name].env_steps[: len(arm.curve)]
        if len(arm.curve) == 11:
            assert arm.scores == pytest.approx(whole[name].scores, rel=1e-5)
