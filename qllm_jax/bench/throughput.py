"""Timing whole chunks of training, for growing numbers of seeds."""

import dataclasses
import statistics
import time

import jax

from qllm_jax.bench.machine import Machine
from qllm_jax.bench.work import flops_per_evaluation, flops_per_iteration
from qllm_jax.config import Config
from qllm_jax.training.chunk import CompiledChunk, compile_chunk, initial_states
from qllm_jax.training.placement import Placement
from qllm_jax.training.replay import replay_bytes
from qllm_jax.training.state import Program


@dataclasses.dataclass(frozen=True)
class Throughput:
    """What one number of seeds gave.

    Attributes:
        num_seeds: Seeds side by side.
        env_steps_per_chunk: Over all seeds.
        compile_s: Tracing, lowering and compiling; a hit of the persistent cache is shorter.
        from_cache: The compiled program came from the persistent cache.
        chunk_s: Seconds of every timed chunk, gradient steps and an evaluation included.
        bytes_per_seed: Device memory per seed, from the compiled program's own analysis: its state
            and a share of its intermediates.
        replay_bytes_per_seed: The replay's part of it.
        flops_per_chunk: Of matrix products, over all seeds.
    """

    num_seeds: int
    env_steps_per_chunk: int
    compile_s: float
    from_cache: bool
    chunk_s: tuple[float, ...]
    bytes_per_seed: float
    replay_bytes_per_seed: int
    flops_per_chunk: float

    @property
    def env_steps_per_s(self) -> float:
        """Over all seeds, from the median chunk."""
        return self.env_steps_per_chunk / statistics.median(self.chunk_s)

    @property
    def env_steps_per_s_range(self) -> tuple[float, float]:
        """Of the slowest and the fastest chunk."""
        return (
            self.env_steps_per_chunk / max(self.chunk_s),
            self.env_steps_per_chunk / min(self.chunk_s),
        )

    def share_of_matmul_rate(self, machine: Machine) -> float:
        """Time that the chunk's matrix products take at the machine's rate, over its own time."""
        floor_s = self.flops_per_chunk / machine.matmul_flops_per_s
        return floor_s / statistics.median(self.chunk_s)


def measure_throughput(program: Program, placement: Placement, config: Config) -> Throughput:
    """Compile a chunk and time it once gradient steps have begun.

    Args:
        program: What is static.
        placement: The runs, on their devices.
        config: `bench.repeats` and the precision.
    """
    hits: list[str] = []

    def listen(event: str, **_: object) -> None:
        if event == "/jax/compilation_cache/cache_hits":
            hits.append(event)

    jax.monitoring.register_event_listener(listen)
    begin = time.perf_counter()
    call = compile_chunk(program, placement, config.runner.matmul_precision)
    compile_s = time.perf_counter() - begin
    from_cache = bool(hits)
    seconds = time_calls(call, program, config.bench.repeats)
    schedule = program.schedule
    steps = schedule.iterations_per_chunk * schedule.steps_per_iteration
    hyper = jax.tree.map(lambda leaf: leaf[0], placement.runs.hyper)
    flops = schedule.iterations_per_chunk * flops_per_iteration(program, hyper)
    flops += flops_per_evaluation(program, hyper)
    learner = program.learner
    return Throughput(
        num_seeds=placement.num_runs,
        env_steps_per_chunk=steps * placement.num_runs,
        compile_s=compile_s,
        from_cache=from_cache,
        chunk_s=seconds,
        bytes_per_seed=call.num_bytes / (len(placement.runs) // len(placement.devices)),
        replay_bytes_per_seed=replay_bytes(
            program.env, learner.replay_capacity, schedule.window_length, learner.replay_dtype
        )
        if program.algorithm.uses_replay
        else 0,
        flops_per_chunk=flops * placement.num_runs,
    )


def time_calls(call: CompiledChunk, program: Program, repeats: int) -> tuple[float, ...]:
    """Seconds of each of `repeats` chunks, after the iterations before the first gradient step."""
    start, count = program.schedule.first_update, program.schedule.iterations_per_chunk
    state = initial_states(program, call.placement)
    state, outputs = call(state, 0, start)
    jax.block_until_ready((state, outputs))
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        state, outputs = call(state, start, count)
        jax.block_until_ready((state, outputs))
        seconds.append(time.perf_counter() - begin)
        start += count
    return tuple(seconds)
