"""Sweeps: what is tried, that a setting trains as it would alone, halving, stopping, and output."""

import dataclasses
import json

import command_line
import numpy as np
import pytest
import yaml

from qllm_jax import pipeline
from qllm_jax.compose import compose_config
from qllm_jax.config import Config, SweepConfig
from qllm_jax.errors import UserError
from qllm_jax.jobs.interrupt import StopRequest
from qllm_jax.sweep import draw_settings, with_setting
from qllm_jax.sweep.outcome import SettingResult, SweepResult, ranked
from qllm_jax.sweep.shown import sweep_csv, sweep_figure, sweep_table

TINY = (*command_line.TINY, "runner.num_env_steps=800", "runner.num_evaluations=4")


def swept(**values):
    return Config(sweep=SweepConfig(values=values))


def test_a_grid_has_every_combination_in_order():
    settings = draw_settings(swept(lr=[1e-3, 1e-2], discount=[0.9, 0.95, 0.99]))
    assert len(settings) == 6
    assert settings[0] == {"learner.lr": 1e-3, "learner.discount": 0.9}
    assert settings[1] == {"learner.lr": 1e-3, "learner.discount": 0.95}
    assert settings[-1] == {"learner.lr": 1e-2, "learner.discount": 0.99}


def test_draws_lie_inside_their_bounds_and_repeat():
    config = swept(lr="loguniform(1e-4,1e-2)", discount="uniform(0.9,0.99)", tau=[0.1, 1.0])
    config = dataclasses.replace(config, sweep=dataclasses.replace(config.sweep, num_samples=200))
    settings = draw_settings(config)
    assert len(settings) == 200
    assert settings == draw_settings(config)
    lrs = np.array([setting["learner.lr"] for setting in settings])
    assert lrs.min() >= 1e-4
    assert lrs.max() <= 1e-2
    # Evenly in the logarithm: half of them below the geometric mean of the bounds.
    assert 0.4 < np.mean(lrs < 1e-3) < 0.6
    assert {setting["learner.tau"] for setting in settings} == {0.1, 1.0}
    other = dataclasses.replace(config, sweep=dataclasses.replace(config.sweep, seed=1))
    assert settings != draw_settings(other)


def test_a_small_grid_is_not_drawn_twice():
    config = Config(sweep=SweepConfig(method="random", num_samples=50, values={"tau": [0.1, 1.0]}))
    assert len(draw_settings(config)) == 2


@pytest.mark.parametrize(
    ("sweep", "words"),
    [
        (SweepConfig("grid", num_samples=2, values={"tau": [0.1]}), "num_samples draws"),
        (SweepConfig(), r"sweep.lr=\[1e-4,1e-3\]"),
        (SweepConfig(values={"leer": [1]}), "'lr'"),
        (SweepConfig(values={"name": ["a", "b"]}), "learner.name or mixer.name"),
        (SweepConfig(values={"lr": [1e-3], "learner.lr": [1e-2]}), "swept twice"),
        (SweepConfig(values={"lr": []}), "empty"),
        (SweepConfig(values={"lr": [1e-3, 1e-3]}), "names a value twice"),
        (SweepConfig(values={"lr": "gauss(0,1)"}), "loguniform"),
        (SweepConfig(values={"lr": "uniform(1)"}), "two numbers"),
        (SweepConfig(values={"lr": "loguniform(0,1)"}), "above zero"),
        (SweepConfig(values={"lr": [1e-3, -1.0]}), "must be positive"),
        (SweepConfig(values={"num_seeds": [1]}), "unknown setting to sweep"),
        (SweepConfig(method="grid", values={"lr": "uniform(0.1,0.2)"}), "method=random"),
    ],
)
def test_what_cannot_be_swept_is_explained(sweep, words):
    with pytest.raises(UserError, match=words):
        draw_settings(Config(sweep=sweep))


def test_the_command_line_says_what_is_swept():
    config = compose_config(
        ["sweep.lr=[1e-4,3e-4]", "sweep.discount=uniform(0.9,0.99)", "sweep.agent.hidden_dim=8,16",
         "sweep.optimizer=adam", "sweep.num_samples=3"]
    )  # fmt: skip
    assert config.sweep.num_samples == 3
    assert config.sweep.values == {
        "lr": [1e-4, 3e-4],
        "discount": "uniform(0.9,0.99)",
        "agent.hidden_dim": [8, 16],
        "optimizer": "adam",
    }


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """Two learning rates in one program, two widths: two programs of two settings."""
    place = tmp_path_factory.mktemp("sweep")
    values = ["sweep.lr=[1e-3,1e-2]", "sweep.hidden_dim=[8,16]", f"runner.output_dir={place}"]
    outcome = pipeline.sweep(compose_config([*TINY, *values]))
    assert outcome.exit_code == 0
    return outcome.directory


def test_traced_settings_share_a_program(grid):
    record = json.loads((grid / "sweep.json").read_text())
    assert record["num_settings"] == len(record["rows"]) == 4
    assert record["num_programs"] == 2  # one per width
    assert record["env_steps"] == 4 * 2 * 800
    lines = (grid / "sweep.csv").read_text().splitlines()
    assert lines[0].startswith("rank,learner.lr,agent.hidden_dim,iqm,low,high,seeds")
    assert len(lines) == 5
    assert (grid / "sweep.png").stat().st_size > 1000


def test_a_setting_trains_as_it_would_alone(grid, tmp_path):
    """The best setting, from the config that the sweep wrote."""
    record = json.loads((grid / "sweep.json").read_text())
    config = compose_config([f"config={grid / 'best.yaml'}", f"runner.output_dir={tmp_path}"])
    best = record["rows"][0]
    assert config.learner.lr == best["setting"]["learner.lr"]
    assert config.agent.hidden_dim == best["setting"]["agent.hidden_dim"]
    alone = pipeline.train(config)
    np.testing.assert_allclose(alone.metrics["return"], best["return"], rtol=1e-5)
    assert alone.metrics["env_steps"].tolist() == best["env_steps"]


def test_a_sweep_without_checkpoints_keeps_its_trainings(tmp_path):
    values = ["sweep.lr=[1e-3]", "checkpoint.enabled=false", f"runner.output_dir={tmp_path}"]
    directory = pipeline.sweep(compose_config([*TINY, *values])).directory
    assert [path.name for path in (directory / "trainings").iterdir()] == ["rung-1-group-1.npz"]


HALVING = (*TINY, "sweep.method=halving", "sweep.rungs=2", "sweep.lr=[1e-4,1e-3,1e-2]")


def rows_of(directory):
    return json.loads((directory / "sweep.json").read_text())["rows"]


@pytest.fixture(scope="module")
def halved(tmp_path_factory):
    """Three learning rates × two widths to half the budget; the best three of six to the end."""
    place = tmp_path_factory.mktemp("halving")
    values = ["sweep.hidden_dim=[8,16]", f"runner.output_dir={place}"]
    return pipeline.sweep(compose_config([*HALVING, *values])).directory


def test_halving_drops_the_worse_half_and_goes_on_with_the_better(halved):
    rows = rows_of(halved)
    assert [row["rung"] for row in rows] == [1, 1, 1, 0, 0, 0]
    assert [row["env_steps"][-1] for row in rows] == [800] * 3 + [400] * 3
    record = json.loads((halved / "sweep.json").read_text())
    assert record["env_steps"] == 2 * (3 * 800 + 3 * 400)  # what went on was not trained again
    # At the end of the first rung, after its evaluations at 200 and 400 steps, whoever went on
    # was at least as good as whoever did not; with two seeds the IQM is the mean.
    scores = [np.mean(np.asarray(row["return"])[:, 1:3]) for row in rows]
    assert min(scores[:3]) >= max(scores[3:])


def test_what_halving_keeps_ends_where_it_would_have_alone(halved, tmp_path):
    for index, row in enumerate(rows_of(halved)[:3]):
        lr, width = row["setting"]["learner.lr"], row["setting"]["agent.hidden_dim"]
        alone = pipeline.train(
            compose_config(
                [*TINY, f"learner.lr={lr}", f"agent.hidden_dim={width}",
                 f"runner.output_dir={tmp_path}/{index}"]
            )
        )  # fmt: skip
        np.testing.assert_allclose(alone.metrics["return"], row["return"], rtol=1e-5)


@pytest.mark.parametrize(
    ("polls", "checkpoints"),
    # Each of two groups polls twice a rung: the first rung ends after 4.
    [(1, "true"), (4, "true"), (4, "false"), (5, "true")],
    ids=["in the first rung", "between rungs", "between rungs, nothing saved", "in the last rung"],
)
def test_a_stopped_halving_goes_on_to_the_same_numbers(
    halved, tmp_path, monkeypatch, polls, checkpoints
):
    """From a checkpoint, or where none was kept from the beginning of the rung's runs."""
    calls = iter([False] * polls + [True] * 100)
    monkeypatch.setattr(StopRequest, "__call__", lambda self: next(calls))
    values = ["sweep.hidden_dim=[8,16]", f"checkpoint.enabled={checkpoints}"]
    stopped = pipeline.sweep(compose_config([*HALVING, *values, f"runner.output_dir={tmp_path}"]))
    assert stopped.exit_code == 130
    monkeypatch.undo()
    assert pipeline.resume(stopped.directory).exit_code == 0
    assert rows_of(stopped.directory) == rows_of(halved)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("runner.num_evaluations=1", r"num_evaluations is 1\. 2 would fit"),
        ("learner.learning_starts=600", "nothing to choose by"),
    ],
)
def test_rungs_that_cannot_be_are_refused(tmp_path, override, words):
    with pytest.raises(UserError, match=words):
        pipeline.sweep(compose_config([*HALVING, override, f"runner.output_dir={tmp_path}/new"]))
    assert not (tmp_path / "new").exists()


def test_a_stopped_sweep_goes_on_to_the_same_numbers(grid, tmp_path, monkeypatch):
    calls = iter([False] * 6 + [True] * 100)
    monkeypatch.setattr(StopRequest, "__call__", lambda self: next(calls))
    values = ["sweep.lr=[1e-3,1e-2]", "sweep.hidden_dim=[8,16]", f"runner.output_dir={tmp_path}"]
    stopped = pipeline.sweep(compose_config([*TINY, *values]))
    assert stopped.exit_code == 130
    assert len(json.loads((stopped.directory / "sweep.json").read_text())["rows"]) == 2
    monkeypatch.undo()
    assert pipeline.resume(stopped.directory).exit_code == 0
    whole = json.loads((grid / "sweep.json").read_text())["rows"]
    assert json.loads((stopped.directory / "sweep.json").read_text())["rows"] == whole


def test_an_impossible_budget_is_refused_before_anything_is_made(tmp_path):
    values = ["sweep.num_env_steps=[800,801]", f"runner.output_dir={tmp_path}/new"]
    with pytest.raises(UserError, match="801, not a multiple"):
        pipeline.sweep(compose_config([*TINY, *values]))
    assert not (tmp_path / "new").exists()


def result_of(setting, scores, rung=0, alive=None):
    returns = np.repeat(np.asarray(scores, float)[:, None], 4, axis=1)
    alive = np.ones(len(scores), bool) if alive is None else np.asarray(alive)
    return SettingResult(setting, returns, np.arange(4) * 100, alive, rung)


def test_the_ranking_prefers_further_rungs_then_no_divergence_then_the_score():
    rows = [
        result_of({"learner.lr": 1.0}, [5, 5]),
        result_of({"learner.lr": 2.0}, [9, 9], alive=[True, False]),
        result_of({"learner.lr": 3.0}, [1, 1], rung=1),
        result_of({"learner.lr": 4.0}, [7, 7]),
    ]
    assert [row.setting["learner.lr"] for row in ranked(rows)] == [3.0, 4.0, 1.0, 2.0]


def test_the_table_says_what_is_left_out():
    rows = [
        result_of({"learner.lr": 0.01, "agent.hidden_dim": 8}, [4, 6, 5]),
        result_of({"learner.lr": 0.001, "agent.hidden_dim": 8}, [1, 2, 90], alive=[1, 1, 0]),
    ]
    rows[1] = dataclasses.replace(rows[1], alive=rows[1].alive.astype(bool))
    result = SweepResult(tuple(rows), 3, 1, 1.0, 2.0, 900, interrupted=True)  # half was resumed
    assert result.env_steps == 2 * 3 * 300
    assert result.env_steps_per_s == 450
    table = sweep_table(result, "t", "return", Config())
    assert table.rows[0][:4] == ("1", "0.01", "8", "5.0")
    assert table.rows[1][3] == "1.5"  # the mean of 1 and 2: the diverged 90 is out
    assert table.rows[1][6] == "2 of 3"
    assert table.rows[1][5].startswith("−3.5")
    assert "2 of 3 settings" in table.notes[0]
    assert sweep_csv(result).splitlines()[2].startswith("2,0.001,8,1.5,")
    assert len(sweep_figure(result, "return").axes) == 2


def test_config_and_groups_do_not_mix(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"mixer": {"name": "vdn"}}))
    assert compose_config([f"config={path}", "learner.lr=0.5"]).learner.lr == 0.5
    with pytest.raises(UserError, match=r"mixer.name=qmix"):
        compose_config([f"config={path}", "mixer=qmix"])
    with pytest.raises(UserError, match="could not be read"):
        compose_config(["config=nowhere.yaml"])


def test_a_setting_is_a_config():
    config = with_setting(Config(), {"learner.lr": 0.5, "agent.hidden_dim": 16.0})
    assert (config.learner.lr, config.agent.hidden_dim) == (0.5, 16)
