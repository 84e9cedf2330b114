"""Checkpoints: damaged ones, best ones, small ones, and other numbers of devices."""

import dataclasses
import json
import logging

import jax
import numpy as np
import pytest

from qllm_jax.config import CheckpointConfig
from qllm_jax.errors import UserError
from qllm_jax.training import run_training
from qllm_jax.training.checkpoint import Checkpoints

pytestmark = pytest.mark.usefixtures("shared_programs")
STATE = {"weights": np.arange(6, dtype=np.float32).reshape(2, 3), "none": None}
CURVES = {"return": np.zeros((2, 3))}


def saved(directory, scores, keep=2):
    """One checkpoint per score, named 1, 2, ….; each state is the number of its checkpoint."""
    checkpoints = Checkpoints(directory, {"lr": 0.1}, keep)
    for step, score in enumerate(scores, start=1):
        state = {**STATE, "weights": STATE["weights"] + step}
        checkpoints.save(step, state, CURVES, score)
    checkpoints.wait()
    return checkpoints


def damage(directory, step):
    """Overwrite the middle of the largest file of one checkpoint."""
    files = [path for path in (directory / str(step) / "state").rglob("*") if path.is_file()]
    largest = max(files, key=lambda path: path.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 8] = b"\xff" * 8
    largest.write_bytes(bytes(data))


def test_the_newest_and_the_best_are_kept(tmp_path):
    checkpoints = saved(tmp_path, [1.0, 5.0, 2.0, float("nan"), 3.0])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2", "4", "5"]
    step, state = checkpoints.best(STATE)
    assert step == 2
    np.testing.assert_array_equal(state["weights"], STATE["weights"] + 2)
    step, state, curves = checkpoints.restore(STATE)
    assert step == 5
    np.testing.assert_array_equal(state["weights"], STATE["weights"] + 5)
    np.testing.assert_array_equal(curves["return"], CURVES["return"])
    checkpoints.close()


@pytest.mark.parametrize("how", ["overwritten", "emptied", "files missing", "no record"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path, caplog, how):
    saved(tmp_path, [1.0, 2.0, 3.0], keep=3).close()
    if how == "overwritten":
        damage(tmp_path, 3)
    elif how == "no record":
        for path in (tmp_path / "3" / "record").iterdir():
            path.unlink()
    else:
        for path in (tmp_path / "3" / "state").rglob("*"):
            if path.is_file():
                path.write_bytes(b"") if how == "emptied" else path.unlink()
    checkpoints = Checkpoints(tmp_path, {"lr": 0.1})
    with caplog.at_level(logging.WARNING, "qllm_jax"):
        step, state, _ = checkpoints.restore(STATE)
    assert step == 2
    np.testing.assert_array_equal(state["weights"], STATE["weights"] + 2)
    assert "checkpoint 3" in caplog.text
    assert "going back to the one before" in caplog.text
    # Its name can be used again.
    checkpoints.save(3, STATE, CURVES, 0.0)
    checkpoints.wait()
    assert checkpoints.restore(STATE)[0] == 3
    checkpoints.close()


def test_without_a_whole_checkpoint_there_is_none(tmp_path):
    saved(tmp_path, [1.0]).close()
    damage(tmp_path, 1)
    checkpoints = Checkpoints(tmp_path, {"lr": 0.1})
    assert checkpoints.restore(STATE) is None
    assert checkpoints.latest() is None
    checkpoints.close()


def test_other_settings_are_refused_even_beside_damage(tmp_path):
    saved(tmp_path, [1.0]).close()
    checkpoints = Checkpoints(tmp_path, {"lr": 0.2})
    with pytest.raises(UserError, match="other settings: lr"):
        checkpoints.restore(STATE)
    checkpoints.close()


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path, {})

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints._manager, "save", full)
    with pytest.raises(UserError, match=r"could not be written.*No space left.*output_dir"):
        checkpoints.save(1, STATE, CURVES, 0.0)
    checkpoints.close()


def stop_after(num_chunks):
    """Ask for a stop once `num_chunks` chunks are done."""
    answers = iter([False] * (num_chunks - 1) + [True])
    return lambda: next(answers)


def test_a_refused_checkpoint_is_let_go_of(spec, vdn, config, tmp_path, monkeypatch):
    run_training(spec, vdn, config, should_stop=stop_after(2), checkpoint_dir=tmp_path)
    closed, close = [], Checkpoints.close
    monkeypatch.setattr(Checkpoints, "close", lambda self: (closed.append(self), close(self)))
    with pytest.raises(UserError, match="already holds a checkpoint"):
        run_training(spec, vdn, config, checkpoint_dir=tmp_path)
    assert len(closed) == 1


def test_another_number_of_devices_continues_to_the_same(reference, spec, vdn, config, tmp_path):
    one_device = dataclasses.replace(
        config, runner=dataclasses.replace(config.runner, num_devices=1)
    )
    for name, first, then in (("12", one_device, config), ("21", config, one_device)):
        run_training(spec, vdn, first, should_stop=stop_after(2), checkpoint_dir=tmp_path / name)
        resumed = run_training(spec, vdn, then, checkpoint_dir=tmp_path / name, resume=True)
        for key, value in reference[0].metrics.items():
            np.testing.assert_allclose(resumed.metrics[key], value, rtol=1e-5, err_msg=key)


def test_without_the_replay_a_checkpoint_is_small_and_the_replay_is_played_anew(
    spec, vdn, config, tmp_path
):
    small = dataclasses.replace(config, checkpoint=CheckpointConfig(replay=False))
    leaves = {}
    for name, setting in (("with", config), ("without", small)):
        run_training(spec, vdn, setting, should_stop=stop_after(2), checkpoint_dir=tmp_path / name)
        (record,) = (tmp_path / name).glob("*/record/metadata")
        leaves[name] = set(json.loads(record.read_text())["checksums"]["state"])
    # Sizes on disk of a replay that is nearly empty depend on how well it compresses.
    assert {leaf for leaf in leaves["with"] if leaf.startswith(".replay")}
    assert leaves["without"] == {leaf for leaf in leaves["with"] if not leaf.startswith(".replay")}
    resumed = run_training(spec, vdn, small, checkpoint_dir=tmp_path / "without", resume=True)
    assert not resumed.interrupted
    assert np.all(np.isfinite(resumed.metrics["loss"][:, 2:]))
    assert np.all(resumed.metrics["alive"])


def test_the_best_parameters_are_those_of_the_best_evaluation(spec, vdn, config, tmp_path):
    every = dataclasses.replace(config, checkpoint=CheckpointConfig(interval_s=0.0))
    output = run_training(spec, vdn, every, checkpoint_dir=tmp_path)
    returns = output.metrics["return"].mean(axis=0)
    best = int(np.flatnonzero(output.metrics["env_steps"] == output.best_env_steps)[0])
    # Nothing is saved after the last chunk, whose parameters are the output's own.
    assert returns[best] == returns.max()
    if best == len(returns) - 1:
        jax.tree.map(np.testing.assert_array_equal, output.best_params, output.params)
