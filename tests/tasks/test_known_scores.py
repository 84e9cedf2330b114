"""The record of measured scores, and how tasks carry it."""

import pytest

from qllm_jax.tasks import get_task, task_names
from qllm_jax.tasks.known_scores import RANDOM, UNTRAINED, read_known_scores, with_known_scores


@pytest.mark.parametrize("name", task_names())
def test_every_task_says_what_random_and_untrained_play_score(name):
    spec = get_task(name)
    assert list(spec.landmarks)[:2] == [RANDOM, UNTRAINED]
    if spec.outcome is not None:
        assert list(spec.outcome.landmarks)[:2] == [RANDOM, UNTRAINED]
    best = spec.landmarks.get("best possible", float("inf"))
    assert all(value <= best for value in spec.landmarks.values())


@pytest.mark.parametrize("row", read_known_scores(), ids=lambda row: f"{row.task} {row.level}")
def test_every_row_was_measured_on_a_task_that_is(row):
    spec = get_task(row.task)
    if dict(spec.env_kwargs) != row.env_kwargs:
        spec = get_task(row.task, **row.env_kwargs)
    assert dict(spec.env_kwargs) == row.env_kwargs
    assert (row.outcome is None) == (spec.outcome is None)
    assert row.episodes >= 32
    assert row.command.startswith(("python benchmarks/landmarks.py ", "qllm-jax train "))


def test_random_play_is_recorded_as_it_is():
    """25 steps of payoff mean -31/9, exactly; the record measured it."""
    (row,) = [
        row for row in read_known_scores() if (row.task, row.level) == ("matrix/climbing", RANDOM)
    ]
    assert abs(row.score + 25 * 31 / 9) < 4 * row.standard_error
    assert get_task("matrix/climbing").landmarks[RANDOM] == pytest.approx(-25 * 31 / 9)  # proved


def test_other_settings_have_only_what_is_proved():
    spec = get_task("lbf/8x8-2p-2f-coop", sight=5)
    assert dict(spec.landmarks) == {"best possible": 1.0}
    assert dict(get_task("mpe/simple_spread", num_agents=4).landmarks) == {}
    assert with_known_scores(spec).landmarks == spec.landmarks
