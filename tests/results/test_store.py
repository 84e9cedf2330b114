"""Run directories: complete after every evaluation, whatever happens next."""

import csv
import errno
import json
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest

from qllm_jax.errors import UserError
from qllm_jax.results import RunResult, RunStore, find_runs, run_parent

CONFIG = {"task": {"name": "mpe/simple_spread"}, "learner": {"lr": 1e-5}, "mixers": ("a", "b")}


def append_some(store, first=0, last=4):
    for index in range(first, last):
        scores = np.arange(3.0) + 10 * index
        store.append(100 * index, {"return": scores, "credit": np.ones((3, 2)) * scores[:, None]})


@pytest.fixture
def store(tmp_path):
    parent = run_parent(tmp_path, "mpe/simple_spread", "qmix")
    with RunStore.create(parent, "one", CONFIG, seeds=(7, 8, 9), info={"mixer": "qmix"}) as opened:
        yield opened


def test_a_directory_is_readable_after_every_evaluation(store, tmp_path):
    assert store.path == tmp_path / "mpe" / "simple_spread" / "qmix" / "one"
    for count in range(1, 4):
        append_some(store, count - 1, count)
        result = RunResult.load(store.path)
        assert result.info["status"] == "running"
        assert result.metrics["return"].shape == (3, count)
        assert result.metrics["credit"].shape == (3, count, 2)
        np.testing.assert_array_equal(result.metrics["env_steps"], 100 * np.arange(count))
    np.testing.assert_array_equal(result.metrics["return"][1], [1.0, 11.0, 21.0])
    assert result.config["learner"]["lr"] == 1e-5
    assert result.config["mixers"] == ["a", "b"]
    assert result.name == "qmix"
    assert (store.path / "checkpoints").is_dir()


def test_csv_and_jsonl_say_what_the_arrays_say(store):
    append_some(store)
    metrics = RunResult.load(store.path).metrics
    with open(store.path / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 * 3 * (1 + 2)
    for row in rows:
        seed, evaluation = int(row["seed"]) - 7, int(row["env_steps"]) // 100
        name, _, index = row["metric"].partition("[")
        held = metrics[name][seed, evaluation]
        expected = held[int(index[:-1])] if index else held
        assert float(row["value"]) == expected
    lines = [json.loads(line) for line in (store.path / "metrics.jsonl").read_text().splitlines()]
    assert [line["env_steps"] for line in lines] == [0, 100, 200, 300]
    assert lines[2]["return"] == [20.0, 21.0, 22.0]


def test_not_a_number_is_null_in_json(store):
    store.append(0, {"return": np.array([1.0, np.nan, np.inf])})
    line = json.loads((store.path / "metrics.jsonl").read_text())
    assert line["return"] == [1.0, None, None]
    assert np.isnan(RunResult.load(store.path).metrics["return"][1, 0])


@pytest.mark.parametrize(
    ("error", "reason"), [(KeyboardInterrupt(), "Ctrl-C"), (RuntimeError("boom"), "boom")]
)
def test_an_interrupted_run_keeps_what_it_had(tmp_path, error, reason):
    store = RunStore.create(tmp_path, None, CONFIG, seeds=(0, 1, 2))

    def stopped_job():
        with store:
            append_some(store, 0, 2)
            raise error

    with pytest.raises(type(error)):
        stopped_job()
    result = RunResult.load(store.path)
    assert result.info["status"] == "interrupted"
    assert reason in result.info["reason"]
    assert result.metrics["return"].shape == (3, 2)


def test_a_normal_end_is_complete(tmp_path):
    with RunStore.create(tmp_path, None, CONFIG, seeds=(0, 1, 2)) as store:
        append_some(store)
        store.update_info(compile_s=np.float32(2.5), shape=(3,))
    info = RunResult.load(store.path).info
    assert info["status"] == "complete"
    assert info["compile_s"] == 2.5
    assert info["shape"] == [3]
    assert info["finished"] >= info["started"]


def test_names_are_unique_and_checked(tmp_path):
    paths = set()
    for _ in range(3):  # within one second
        with RunStore.create(tmp_path, None, CONFIG) as store:
            paths.add(store.path)
    assert len(paths) == 3
    with RunStore.create(tmp_path, "mine", CONFIG), pytest.raises(UserError, match="exists"):
        RunStore.create(tmp_path, "mine", CONFIG)
    for bad in ("../up", "a/b", "", ".hidden"):
        with pytest.raises(UserError, match="name"):
            RunStore.create(tmp_path, bad, CONFIG)


def test_a_directory_in_use_is_refused(store):
    append_some(store)
    with pytest.raises(UserError, match="in use"):
        RunStore.reopen(store.path)
    store.finish()
    with RunStore.reopen(store.path) as again:
        assert again.num_evaluations == 4


def _die_while_writing(parent):
    store = RunStore.create(parent, "killed", CONFIG, seeds=(0, 1, 2))
    append_some(store, 0, 2)
    os._exit(9)


def test_a_killed_run_is_called_interrupted_and_can_be_reopened(tmp_path):
    process = multiprocessing.get_context("spawn").Process(
        target=_die_while_writing, args=(tmp_path,)
    )
    process.start()
    process.join(60)
    assert process.exitcode == 9
    result = RunResult.load(tmp_path / "killed")
    assert result.info["status"] == "interrupted"
    assert result.metrics["return"].shape == (3, 2)
    with RunStore.reopen(tmp_path / "killed") as store:
        append_some(store, 2, 3)
    assert RunResult.load(tmp_path / "killed").metrics["return"].shape == (3, 3)


def test_resumed_equals_uninterrupted(tmp_path):
    with RunStore.create(tmp_path, "whole", CONFIG, seeds=(0, 1, 2)) as store:
        append_some(store)
    with RunStore.create(tmp_path, "parts", CONFIG, seeds=(0, 1, 2)) as store:
        append_some(store, 0, 3)
    with RunStore.reopen(tmp_path / "parts") as store:
        store.truncate(100)  # the checkpoint was taken there
        assert store.num_evaluations == 2
        append_some(store, 2, 4)
    whole, parts = (RunResult.load(tmp_path / name) for name in ("whole", "parts"))
    assert whole.metrics.keys() == parts.metrics.keys()
    for key, value in whole.metrics.items():
        np.testing.assert_array_equal(parts.metrics[key], value)
    assert (tmp_path / "whole" / "metrics.csv").read_text() == (
        tmp_path / "parts" / "metrics.csv"
    ).read_text()


def test_a_full_disk_is_one_clear_error_and_leaves_the_old_file(store, monkeypatch):
    append_some(store, 0, 1)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UserError, match=r"metrics\.npz: the disk is full.*output_dir"):
            append_some(store, 1, 2)
    assert RunResult.load(store.path).metrics["return"].shape == (3, 1)
    assert not list(store.path.glob(".metrics*"))


def test_an_unwritable_place_is_one_clear_error(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(UserError, match=r"not writable.*output_dir"):
        RunStore.create(tmp_path / "x", None, CONFIG)


def test_a_file_in_the_way_is_one_clear_error(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(UserError, match="cannot create a run directory"):
        RunStore.create(tmp_path / "runs" / "task", None, CONFIG)


def test_what_is_no_run_directory_says_so(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        RunResult.load(tmp_path / "nothing")
    with pytest.raises(UserError, match=r"holds no run\.json"):
        RunResult.load(tmp_path)
    with pytest.raises(UserError, match="holds no run directory"):
        find_runs(tmp_path)
    with RunStore.create(tmp_path, "early", CONFIG) as store:
        pass
    with pytest.raises(UserError, match="before its first evaluation"):
        RunResult.load(store.path)
    (store.path / "metrics.npz").write_bytes(b"half")
    with pytest.raises(UserError, match=r"metrics\.npz cannot be read"):
        RunResult.load(store.path)
    (store.path / "run.json").write_text("{")
    with pytest.raises(UserError, match="damaged"):
        RunResult.load(store.path)


def test_runs_are_found_below_a_directory(tmp_path):
    for mixer in ("vdn", "qmix"):
        with RunStore.create(run_parent(tmp_path, "a/b", mixer), "x", CONFIG) as store:
            append_some(store, 0, 1)
    assert find_runs(tmp_path) == [
        tmp_path / "a" / "b" / "qmix" / "x",
        tmp_path / "a" / "b" / "vdn" / "x",
    ]
