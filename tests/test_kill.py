"""Killed with SIGKILL, again and again, at whatever moment: the end is that of an undisturbed run.

The command line runs in processes of its own, as a person would run it.
"""

import functools
import json
import os
import signal
import time
from pathlib import Path

import command_line
import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
TRAIN = [
    "train",
    "task=matrix/climbing",
    "mixer=vdn",
    "agent.hidden_dim=8",
    "learner.num_envs=2",
    "learner.replay_capacity=64",
    "learner.batch_size=8",
    "learner.learning_starts=200",
    "runner.num_seeds=2",
    "runner.num_env_steps=4000",
    "runner.num_evaluations=20",
    "runner.num_eval_episodes=2",
    "checkpoint.interval_s=0",
]


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """Start the command line; programs come from one cache, so that starting again is quick."""
    return functools.partial(command_line.start, tmp_path_factory.mktemp("cache"))


def finish(process):
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    return output


def run_directory(parent):
    (info,) = parent.rglob("run.json")
    return info.parent


def evaluations(path):
    """How many evaluations are on disk."""
    file = path / "metrics.jsonl"
    return len(file.read_text().splitlines()) if file.exists() else 0


def is_saving(path):
    """Whether a checkpoint is being written."""
    return any("tmp" in name for name in os.listdir(path / "checkpoints" / "state"))


def signal_when(process, ready, number):
    """Send a signal once `ready()`; False where the process ended before."""
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if ready():
            os.kill(process.pid, number)
            return True
        time.sleep(0.002)
    return False


def kill_when(process, ready):
    """SIGKILL once `ready()`; False where the process ended before."""
    killed = signal_when(process, ready, signal.SIGKILL)
    process.communicate()
    return killed


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.nightly)]
)
def test_a_polite_signal_ends_a_training_after_a_chunk_with_its_report(command, tmp_path, number):
    long = [*TRAIN, "runner.num_env_steps=40000", "runner.num_evaluations=200"]
    process = command(*long, "checkpoint.interval_s=600", f"runner.output_dir={tmp_path}")
    runs = tmp_path / "matrix" / "climbing" / "vdn"
    assert signal_when(process, lambda: any(map(evaluations, runs.glob("*"))), number)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    path = run_directory(tmp_path)
    assert json.loads((path / "run.json").read_text())["status"] == "interrupted"
    assert 0 < evaluations(path) < 201
    assert "interrupted" in (path / "report.html").read_text()
    finish(command("resume", path))
    assert json.loads((path / "run.json").read_text())["status"] == "complete"
    assert evaluations(path) == 201


def test_a_run_killed_many_times_ends_as_an_undisturbed_one(command, tmp_path):
    finish(command(*TRAIN, f"runner.output_dir={tmp_path / 'whole'}"))
    parts = tmp_path / "parts"
    process = command(*TRAIN, f"runner.output_dir={parts}")
    # Before the first evaluation, in the middle of a chunk, while a checkpoint is written.
    runs = parts / "matrix" / "climbing" / "vdn"
    assert kill_when(process, lambda: any(runs.glob("*/run.json")))
    path = run_directory(parts)
    kills = 1
    for moment in (
        lambda: evaluations(path) >= 3,
        lambda: evaluations(path) >= 8 and is_saving(path),
        lambda: evaluations(path) >= 15,
    ):
        kills += kill_when(command("resume", path), moment)
    assert kills >= 3
    if json.loads((path / "run.json").read_text())["status"] != "complete":
        finish(command("resume", path))
    whole = np.load(run_directory(tmp_path / "whole") / "metrics.npz")
    resumed = np.load(path / "metrics.npz")
    assert set(whole) == set(resumed)
    for name in whole:
        np.testing.assert_array_equal(resumed[name], whole[name], err_msg=name)
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    assert [line["env_steps"] for line in lines] == list(range(0, 4001, 200))
    assert len((path / "metrics.csv").read_text().splitlines()) > 20
    assert json.loads((path / "run.json").read_text())["status"] == "complete"
