"""A design run on the climbing game: recorded answers, and a measurement that needs no training."""

import dataclasses

import pytest

from qllm_jax.config import Config, LlmConfig, SynthesisConfig
from qllm_jax.llm import RecordedClient
from qllm_jax.llm.prompts import prompt_dir
from qllm_jax.synthesis import ArmMeasurement
from qllm_jax.tasks import get_task


class FakeMeasure:
    """Scores by name; `winner` wins. Counts its calls."""

    def __init__(self, winner="r1c1"):
        self.winner, self.calls = winner, []

    def __call__(self, candidates, mixers, seeds, num_rungs=1):
        arms = (*mixers, *candidates)
        self.calls.append((arms, seeds, num_rungs))
        return {
            name: ArmMeasurement(
                scores=tuple(10.0 * (name == self.winner) + i for i in range(seeds.count)),
                curve=(0.0, 5.0, 10.0),
                env_steps=(0, 10, 20),
                td_error=(None, 1.0, 0.5),
            )
            for name in arms
        }


@pytest.fixture
def fake_measure():
    return FakeMeasure


@pytest.fixture(scope="session")
def climbing():
    return get_task("matrix/climbing")


@pytest.fixture(scope="session")
def config():
    return Config(llm=LlmConfig(provider="recorded"), synthesis=SynthesisConfig(final_seeds=2))


@pytest.fixture
def with_synthesis(config):
    def change(**fields):
        return dataclasses.replace(
            config, synthesis=dataclasses.replace(config.synthesis, **fields)
        )

    return change


@pytest.fixture(scope="session")
def recorded():
    return RecordedClient(prompt_dir() / "recorded" / "matrix" / "climbing")
