"""One benchmark: every number of seeds in turn, then the parts of the largest."""

import dataclasses
from collections.abc import Callable

import jax

from qllm_jax.bench.machine import Machine, measure_machine
from qllm_jax.bench.parts import Part, measure_parts
from qllm_jax.bench.throughput import Throughput, measure_throughput
from qllm_jax.config import Config
from qllm_jax.networks import Mixer
from qllm_jax.tasks.spec import TaskSpec
from qllm_jax.training.chunk import make_program
from qllm_jax.training.placement import local_devices, place_runs
from qllm_jax.training.runs import Runs


@dataclasses.dataclass(frozen=True)
class BenchResult:
    """What was measured.

    Attributes:
        task: Task id.
        mixer: Mixer name.
        learner: Learner name.
        machine: What it ran on.
        rows: One per number of seeds that fitted, ascending.
        parts: Of a chunk at the last row's seeds; empty where not asked for.
        skipped: Numbers of seeds that did not fit, with the device's own words.
    """

    task: str
    mixer: str
    learner: str
    machine: Machine
    rows: tuple[Throughput, ...]
    parts: tuple[Part, ...]
    skipped: dict[int, str]


def measure(
    config: Config,
    spec: TaskSpec,
    mixer: Mixer,
    runs_of: Callable[[int], Runs],
    on_row: Callable[[Throughput], None] = lambda row: None,
) -> BenchResult:
    """Measure `config.bench.seeds`, ascending; larger numbers than one that does not fit are not
    tried.

    Args:
        config: Budget, learner, agents, and what to measure.
        spec: The task.
        mixer: How agents' values are combined.
        runs_of: The runs of a number of seeds.
        on_row: Told of every number of seeds when it is done.
    """
    devices = local_devices(config.runner.num_devices)
    precision = config.runner.matmul_precision
    machine = measure_machine(devices, precision)
    program = make_program(spec.env, mixer, config, spec.outcome)
    rows: list[Throughput] = []
    skipped: dict[int, str] = {}
    for count in sorted(set(config.bench.seeds)):
        placement = place_runs(runs_of(count), devices)
        try:
            rows.append(measure_throughput(program, placement, config))
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            skipped[count] = str(error).splitlines()[0]
            break
        on_row(rows[-1])
    parts: list[Part] = []
    if config.bench.parts and rows:
        placement = place_runs(runs_of(rows[-1].num_seeds), devices)
        parts = measure_parts(program, placement, precision, config.bench.repeats)
    return BenchResult(
        task=spec.name,
        mixer=mixer.name,
        learner=config.learner.name,
        machine=machine,
        rows=tuple(rows),
        parts=tuple(parts),
        skipped=skipped,
    )
