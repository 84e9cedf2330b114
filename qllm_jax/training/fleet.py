"""All runs of a training on this process's devices: at once, or in waves.

`loop` asks a fleet to do a chunk for every run. Whether that is one call of the compiled program,
or one call per wave with the states of the other waves on the host, is decided here before anything
is allocated. There are waves where memory is short, by the program's own memory analysis, and in
`run_rungs`: a program for as many runs as reach the last rung serves the many that begin, too.
"""

import dataclasses
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from qllm_jax.config import RunnerConfig
from qllm_jax.errors import UserError
from qllm_jax.training.chunk import (
    ChunkMetrics,
    CompiledChunk,
    compile_chunk,
    make_initialiser,
    state_struct,
)
from qllm_jax.training.placement import Placement, local_devices, place_runs
from qllm_jax.training.precision import precision_used
from qllm_jax.training.refill import make_refill
from qllm_jax.training.runs import Runs
from qllm_jax.training.state import Program, RunState

_USABLE = 0.9  # of a device's memory; the rest is for its runtime and fragmentation
_GIB = 2**30


def memory_limit(config: RunnerConfig, devices: Sequence[jax.Device]) -> float:
    """Bytes that a program may take on each device.

    `runner.memory_gib` where it is set; else nine tenths of what the device has, or of what the
    host has left, shared by its devices, where the host is the device.
    """
    if config.memory_gib is not None:
        return config.memory_gib * _GIB
    stats = devices[0].memory_stats()
    if stats and stats.get("bytes_limit"):
        return _USABLE * stats["bytes_limit"]
    return _USABLE * _available_host_bytes() / len(devices)


def _available_host_bytes() -> int:
    """Memory that programs can still get, file caches included; all of it where that is unknown."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        (line,) = (line for line in lines if line.startswith("MemAvailable:"))
        return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def state_bytes(program: Program) -> int:
    """Bytes of one run's state."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state_struct(program)))


def most_runs(program: Program, runs: Runs, config: RunnerConfig) -> int:
    """How many runs fit into memory at once: `runner.num_seeds=max`.

    Args:
        program: What is static.
        runs: One run, or more, of the kind that is to be counted.
        config: Devices, precision, and `memory_gib`.
    """
    devices = local_devices(config.num_devices)
    limit = memory_limit(config, devices)
    per_run, fixed = _bytes_per_run(program, runs, devices, config.matmul_precision)
    fitting = int((limit - fixed) // per_run)
    if fitting < 1:
        raise _too_small(limit, per_run + fixed)
    return fitting * len(devices)


def _bytes_per_run(
    program: Program, runs: Runs, devices: Sequence[jax.Device], precision: str
) -> tuple[float, float]:
    """Bytes per run and beside them, on each device, from two small programs."""
    small, large = 2, 6
    sizes = []
    for count in (small, large):
        several = runs.select(np.zeros(count * len(devices), int))
        sizes.append(compile_chunk(program, place_runs(several, devices), precision).num_bytes)
    per_run = max((sizes[1] - sizes[0]) / (large - small), state_bytes(program))
    return per_run, max(sizes[0] - small * per_run, 0.0)


def _too_small(limit: float, needed: float) -> UserError:
    return UserError(
        f"one run needs {needed / _GIB:.2f} GiB, but a program may take {limit / _GIB:.2f} GiB of "
        "this device. Lower learner.replay_capacity or learner.num_envs, narrow "
        "learner.replay_dtype, or raise runner.memory_gib."
    )


@dataclasses.dataclass(frozen=True)
class _Wave:
    """Runs that are on the devices together."""

    call: CompiledChunk
    rows: slice  # of the R runs

    @property
    def placement(self) -> Placement:
        return self.call.placement


class Fleet:
    """R runs and their states, on the devices or, between the chunks of waves, on the host.

    Args:
        program: What is static.
        runs: R runs.
        config: Devices, precision, and `memory_gib`.
        runs_at_once: How many runs a wave has at most; None is as many as fit.

    Raises:
        UserError: Not even one run per device fits.
    """

    def __init__(
        self,
        program: Program,
        runs: Runs,
        config: RunnerConfig,
        runs_at_once: int | None = None,
    ):
        self.num_runs = len(runs)
        self._program, self._config, self._runs = program, config, runs
        devices = local_devices(config.num_devices)
        calls = _compile(program, runs, devices, config, runs_at_once or len(runs))
        self.is_short_of_memory = calls[0].placement.num_runs < min(
            runs_at_once or len(runs), len(runs)
        )
        self._waves = _waves(calls)
        initialise = make_initialiser(program, calls[0].placement)
        self._states: list[Any] = []
        for wave in self._waves:
            self._states.append(self._parked(wave, initialise(wave.placement)))
        jax.block_until_ready(self._states)

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with the runs at `rows` only, in that order, by the program that there is."""
        states = jax.tree.map(lambda leaf: leaf[np.asarray(rows)], self.fetch())
        self.num_runs, self._runs = len(rows), self._runs.select(rows)
        call = self._waves[0].call
        parts = _parts(self._runs, call.placement.devices, len(call.placement.runs))
        self._waves = _waves([call.for_runs(part) for part in parts])
        self._states = [None] * self.num_waves
        self.load(states)

    @property
    def num_waves(self) -> int:
        """1 where everything fits."""
        return len(self._waves)

    @property
    def precision(self) -> str:
        """Of the matrix products that are computed."""
        platform = self._waves[0].placement.devices[0].platform
        return precision_used(self._config.matmul_precision, platform)

    def describe(self) -> str:
        """What the runs are on, with a word on waves."""
        first = self._waves[0].placement
        if self.num_waves == 1:
            return first.describe()
        if not self.is_short_of_memory:
            return f"{self.num_runs} runs in {self.num_waves} waves. A wave: {first.describe()}"
        return (
            f"{self.num_runs} runs in {self.num_waves} waves of {first.num_runs}, because "
            f"{self._waves[0].call.num_bytes / _GIB:.2f} GiB per device for a wave fit into "
            f"{memory_limit(self._config, first.devices) / _GIB:.2f}; the others wait on the "
            f"host. A wave: {first.describe()}"
        )

    def advance(self, start: int, count: int) -> ChunkMetrics:
        """Do iterations `start … start + count - 1` of every run; metrics `[R, ...]` on the host.

        `count` 0 evaluates only.
        """
        metrics = []
        for index, wave in enumerate(self._waves):
            state, found = wave.call(self._placed(index), start, count)
            self._states[index] = self._parked(wave, state)
            rows = wave.placement.num_runs
            metrics.append(jax.tree.map(lambda leaf, n=rows: leaf[:n], jax.device_get(found)))
        return jax.tree.map(lambda *leaves: np.concatenate(leaves), *metrics)

    def fetch(self, replay: bool = True) -> RunState:
        """A copy of all states on the host, `[R, ...]`; without the replay where asked."""

        def chosen(state: RunState) -> RunState:
            return state if replay else dataclasses.replace(state, replay=None)

        parts = [
            chosen(state) if self.num_waves > 1 else wave.placement.fetch_rows(chosen(state))
            for wave, state in zip(self._waves, self._states, strict=True)
        ]
        return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)

    def load(self, saved: RunState) -> None:
        """Continue from states of the host, `[R, ...]`."""
        for index, wave in enumerate(self._waves):
            part = jax.tree.map(lambda leaf, wave=wave: leaf[wave.rows], saved)
            self._states[index] = part if self.num_waves > 1 else wave.placement.place_rows(part)

    def load_and_refill(self, saved: RunState, num_iterations: int) -> None:
        """As `load`, of states without a replay: it is played anew."""
        first = self._waves[0].placement
        fill = make_refill(self._program, first, num_iterations, self._config.matmul_precision)
        for index, wave in enumerate(self._waves):
            empty = self._placed(index).replay
            part = jax.tree.map(lambda leaf, wave=wave: leaf[wave.rows], saved)
            placed = wave.placement.place_rows(dataclasses.replace(part, replay=None))
            filled = fill(wave.placement, dataclasses.replace(placed, replay=empty))
            self._states[index] = self._parked(wave, filled)

    def _placed(self, index: int) -> RunState:
        state = self._states[index]
        if self.num_waves == 1:
            return state
        self._states[index] = None
        return self._waves[index].placement.place_rows(state)

    def _parked(self, wave: _Wave, state: RunState) -> RunState:
        """Where the state waits for its next chunk."""
        return state if self.num_waves == 1 else wave.placement.fetch_rows(state)


def _waves(calls: Sequence[CompiledChunk]) -> list[_Wave]:
    """Calls with the rows of the runs that each does."""
    ends = np.cumsum([0, *(call.placement.num_runs for call in calls)]).tolist()
    return [
        _Wave(call, slice(first, last))
        for call, first, last in zip(calls, ends[:-1], ends[1:], strict=True)
    ]


def _parts(runs: Runs, devices: Sequence[jax.Device], places: int) -> list[Placement]:
    """Runs in waves of `places`, the last one filled up."""
    return [
        place_runs(runs.select(rows), devices, places)
        for rows in np.split(np.arange(len(runs)), range(places, len(runs), places))
    ]


def _compile(
    program: Program,
    runs: Runs,
    devices: list[jax.Device],
    config: RunnerConfig,
    runs_at_once: int,
) -> list[CompiledChunk]:
    """One program for all runs, or the largest that fits with the runs of each of its waves."""
    limit, precision = memory_limit(config, devices), config.matmul_precision
    used = devices[: min(len(runs), runs_at_once)]
    per_device = math.ceil(min(len(runs), runs_at_once) / len(used))
    if state_bytes(program) * per_device <= limit:
        parts = _parts(runs, used, per_device * len(used))
        call = compile_chunk(program, parts[0], precision)
        if call.num_bytes <= limit:
            return [call, *(call.for_runs(part) for part in parts[1:])]
    if used[0].platform == "cpu" and config.memory_gib is None:
        needed = state_bytes(program) * len(runs)  # waiting on the host would save nothing
        raise UserError(
            f"{len(runs):,} runs need at least {needed / _GIB:.1f} GiB, but this host has "
            f"{limit * len(used) / _GIB:.1f} left. Lower runner.num_seeds (`max` is as many as "
            "fit) or learner.replay_capacity, or narrow learner.replay_dtype."
        )
    per_run, fixed = _bytes_per_run(program, runs, used, precision)
    fitting = min(int((limit - fixed) // per_run), per_device)
    while fitting >= 1:
        num_waves = math.ceil(len(runs) / (fitting * len(used)))
        each = math.ceil(len(runs) / num_waves)  # waves of one size, the last maybe smaller
        places = math.ceil(each / len(used)) * len(used)
        parts = _parts(runs, used, places)
        call = compile_chunk(program, parts[0], precision)
        if call.num_bytes <= limit:
            return [call, *(call.for_runs(part) for part in parts[1:])]
        fitting = min(fitting - 1, int(0.9 * fitting))
    raise _too_small(limit, per_run + fixed)
