"""One training on several hosts: each trains its share of the seeds, the first merges them.

    <run>/                    the run directory, as a single host leaves it, once all are done
        hosts/host-0, …       each host's own run directory until then
        hosts/host-0.alive    touched every few seconds while that host works
        hosts/host-0.ended    written when its share is complete or stopped

The last two hold the time stamp of the job's start, so that those of an earlier start do not count.

A share is an ordinary run directory, so a killed job continues share by share. Called by
`train`, `compare` and `resume`, beside `training_run`, on which it builds.
"""

import dataclasses
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np

from qllm_jax.config import HostsConfig
from qllm_jax.errors import UserError
from qllm_jax.jobs.hosts import Hosts
from qllm_jax.jobs.session import Session, Training
from qllm_jax.jobs.training_run import (
    BEST_PARAMS,
    PARAMS,
    SHARES,
    is_complete,
    saved_params,
    train_or_resume,
)
from qllm_jax.results import EpisodeFigure, RunResult, RunStore, is_run
from qllm_jax.results.files import write_text
from qllm_jax.training import save_params

_POLL_S = 0.2
_BEAT_S = 5.0
_GONE_S = 120.0  # without a sign of life a host counts as gone


def train_on_hosts(
    training: Training, parent: Path, name: str | None, session: Session
) -> tuple[RunResult, EpisodeFigure]:
    """As `train_one` or, where `parent / name` exists, `train_or_resume`, on every host.

    All hosts call it alike and need one file system. Seeds are shared out in order, so the merged
    directory is that of a single host with all of them.

    Returns:
        On the first host the merged run; on the others their share. And a greedy episode of the
        share's first seed.

    Raises:
        UserError: Fewer seeds than hosts, or another host has gone; what was trained is kept.
    """
    hosts = session.hosts
    share = _share(training, hosts)
    path = parent / (name or hosts.stamp)
    if hosts.is_first and not path.exists():
        _make_directory(training, path)
    _wait_until_there(path, training.config.hosts.timeout_s)
    place = path / SHARES / _share_name(hosts.index)
    with _beating(place, hosts.stamp):
        _, figure = train_or_resume(share, place.parent, place.name, session)
    write_text(place.with_suffix(".ended"), hosts.stamp)
    if not hosts.is_first:
        return RunResult.load(place), figure
    _wait_for_all(path, hosts)
    _merge(training, path, hosts)
    return RunResult.load(path), figure


def _share(training: Training, hosts: Hosts) -> Training:
    config = training.config
    first, count = hosts.share(config.runner.first_seed, config.runner.num_seeds)
    runner = dataclasses.replace(config.runner, first_seed=first, num_seeds=count)
    return _alone(dataclasses.replace(training, config=dataclasses.replace(config, runner=runner)))


def _alone(training: Training) -> Training:
    """Without who is who, which differs at every start."""
    config = dataclasses.replace(training.config, hosts=HostsConfig())
    return dataclasses.replace(training, config=config)


def _share_name(index: int) -> str:
    return f"host-{index}"


def _places(path: Path, hosts: Hosts) -> list[Path]:
    return [path / SHARES / _share_name(index) for index in range(hosts.count)]


def _make_directory(training: Training, path: Path) -> None:
    """The run directory, marked as stopped until the shares are merged."""
    _alone(training).make_store(path.parent, path.name).finish("interrupted")
    (path / SHARES).mkdir()


def _wait_until_there(path: Path, timeout_s: float) -> None:
    end = time.monotonic() + timeout_s
    while not (path / SHARES).is_dir():
        if time.monotonic() > end:
            raise UserError(
                f"{path} did not appear within {timeout_s:.0f} s. The hosts need one file system "
                "for runner.output_dir, and a complete run is not trained again."
            )
        time.sleep(_POLL_S)


@contextmanager
def _beating(place: Path, stamp: str) -> Iterator[None]:
    """Give a sign of life every few seconds, from a thread that ends with the process."""
    done = threading.Event()
    file = place.with_suffix(".alive")

    def beat() -> None:
        while not done.wait(_BEAT_S):
            file.touch()

    write_text(file, stamp)
    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _wait_for_all(path: Path, hosts: Hosts) -> None:
    """Return once every share of this start has ended.

    Raises:
        UserError: One gives no sign of life.
    """
    seen = time.time()
    for place in _places(path, hosts):
        while _read(place.with_suffix(".ended")) != hosts.stamp:
            alive = place.with_suffix(".alive")
            last = alive.stat().st_mtime if _read(alive) == hosts.stamp else seen
            if time.time() - last > _GONE_S:
                raise UserError(
                    f"{place.name} has given no sign of life for {_GONE_S:.0f} s. The shares are "
                    f"kept: start `qllm-jax resume {path}` on as many hosts."
                )
            time.sleep(_POLL_S)


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except FileNotFoundError:
        return ""


def _merge(training: Training, path: Path, hosts: Hosts) -> None:
    """Put the shares together, evaluation by evaluation, in the order of the seeds."""
    places = _places(path, hosts)
    shares = [RunResult.load(place) for place in places if is_run(place)]
    shortest = min(shares, key=lambda share: len(share.metrics["env_steps"]))
    with RunStore.reopen(path) as store:
        if store.num_evaluations:
            store.truncate(-1)
        for column, env_steps in enumerate(shortest.metrics["env_steps"].tolist()):
            rows = {
                key: np.concatenate([share.metrics[key][:, column] for share in shares])
                for key in shortest.metrics
                if key != "env_steps"
            }
            store.append(env_steps, rows)
        store.update_info(**_joined_info([dict(share.info) for share in shares]))
        complete = all(map(is_complete, places))
        if complete:
            for kind in (BEST_PARAMS, PARAMS):
                parts = [
                    saved_params(_share(training, Hosts(index, hosts.count)), place, kind)
                    for index, place in enumerate(places)
                ]
                merged = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
                save_params(store.checkpoints / kind, merged)
        store.finish("complete" if complete else "interrupted")
    if complete:
        shutil.rmtree(path / SHARES)


def _joined_info(infos: list[dict[str, Any]]) -> dict[str, Any]:
    """What the first host noted, with the times and counts of all."""
    shared = (
        *("versions", "precision", "num_env_steps", "best_env_steps"),
        *("num_mixer_params", "num_agent_params", "replay_bytes_per_seed"),
    )
    joined: dict[str, Any] = {key: infos[0][key] for key in shared if key in infos[0]}
    known = [info for info in infos if "run_s" in info]
    if known:
        joined["compile_s"] = max(info["compile_s"] for info in known)
        joined["run_s"] = max(info["run_s"] for info in known)
        joined["env_steps_per_s"] = sum(info["env_steps_per_s"] for info in known)
        joined["num_diverged"] = sum(info["num_diverged"] for info in known)
        joined["device"] = "; ".join(
            f"host {index}: {info['device']}" for index, info in enumerate(known)
        )
    return joined
