"""Two processes over loopback train as one: the merged run is that of a single process."""

import functools
import json
import signal
import socket
import time
from pathlib import Path

import command_line
import numpy as np
import pytest

from qllm_jax.config import HostsConfig
from qllm_jax.errors import UserError
from qllm_jax.jobs.hosts import Hosts, join_hosts

ROOT = Path(__file__).parents[1]
TRAIN = [
    "train",
    "task=matrix/climbing",
    "mixer=qmix",
    "agent.hidden_dim=8",
    "learner.num_envs=2",
    "learner.replay_capacity=64",
    "learner.batch_size=8",
    "learner.learning_starts=200",
    "runner.num_seeds=5",
    "runner.num_env_steps=4000",
    "runner.num_evaluations=20",
    "runner.num_eval_episodes=2",
    "checkpoint.interval_s=0",
]


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Start the command line in a process of its own; programs come from one cache."""
    cache = tmp_path_factory.mktemp("cache")
    return functools.partial(command_line.start, cache, num_devices=1)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def as_hosts(start, *arguments):
    address = f"127.0.0.1:{free_port()}"
    return [
        start(*arguments, f"hosts.coordinator={address}", "hosts.count=2", f"hosts.index={index}")
        for index in (0, 1)
    ]


def outputs(processes):
    found = [process.communicate(timeout=240)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), found
    return found


def run_directory(output_dir):
    (info,) = [path for path in output_dir.rglob("run.json") if "hosts" not in path.parts]
    return info.parent


def read(run):
    with np.load(run / "metrics.npz") as file:
        return dict(file), json.loads((run / "run.json").read_text())


@pytest.fixture(scope="module")
def alone(start, tmp_path_factory):
    place = tmp_path_factory.mktemp("alone")
    outputs([start(*TRAIN, f"runner.output_dir={place}")])
    return read(run_directory(place))


def check_like(run, alone):
    metrics, info = read(run)
    for name, value in alone[0].items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-5, err_msg=name)
    assert info["status"] == "complete"
    assert info["seeds"] == [0, 1, 2, 3, 4]
    assert info["num_mixer_params"] == alone[1]["num_mixer_params"]
    assert "host 0: 2 runs" in info["device"]
    assert "host 1: 3 runs" in info["device"]
    assert not (run / "hosts").exists()
    assert len((run / "metrics.jsonl").read_text().splitlines()) == len(metrics["env_steps"])
    assert (run / "report.html").exists()
    assert (run / "checkpoints" / "params").is_dir()


def finish(processes):
    first, second = outputs(processes)
    assert "IQM" in first
    assert "IQM" not in second  # one of them speaks


@pytest.mark.nightly
def test_two_hosts_leave_one_run(start, alone, tmp_path):
    finish(as_hosts(start, *TRAIN, f"runner.output_dir={tmp_path}"))
    check_like(run_directory(tmp_path), alone)


def test_killed_hosts_continue_their_shares_and_leave_one_run(start, alone, tmp_path):
    processes = as_hosts(start, *TRAIN, f"runner.output_dir={tmp_path}")
    end = time.monotonic() + 200
    while time.monotonic() < end and len(list(tmp_path.rglob("hosts/*/checkpoints/state/*"))) < 2:
        time.sleep(0.05)
    for process in processes:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    run = run_directory(tmp_path)
    (message,) = (start("resume", run).communicate(timeout=100)[0],)
    assert "several hosts" in message
    finish(as_hosts(start, "resume", run))
    check_like(run, alone)


def test_seeds_are_shared_out_in_order_and_all():
    shares = [Hosts(index, 3).share(10, 8) for index in range(3)]
    seeds = [seed for first, count in shares for seed in range(first, first + count)]
    assert seeds == list(range(10, 18))
    assert {count for _, count in shares} == {2, 3}
    with pytest.raises(UserError, match="for 3 hosts"):
        Hosts(0, 3).share(0, 2)


def test_one_process_is_a_job_of_its_own():
    hosts = join_hosts(HostsConfig(), "now")
    assert hosts == Hosts(0, 1, "now")
    assert hosts.is_first


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"coordinator": "127.0.0.1:1"}, "hosts.count and hosts.index"),
        ({"coordinator": "127.0.0.1:1", "count": 2, "index": 2}, "from 0 to 1"),
    ],
)
def test_incomplete_settings_are_explained(settings, words):
    with pytest.raises(UserError, match=words):
        HostsConfig(**settings)
