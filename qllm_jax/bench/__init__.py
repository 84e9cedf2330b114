"""`qllm-jax bench`: how fast a configuration trains here, and how far that is from the floor.

    machine.py      the machine's measured rates
    work.py         arithmetic of a program, counted on its trace
    throughput.py   whole chunks, timed for growing numbers of seeds
    parts.py        environment, acting, replay, iteration, evaluation, timed alone
    measure.py      all of these, for one configuration
    shown.py        the table, the figure and the record

Called by `jobs.bench`; `benchmarks/throughput.py` puts JaxMARL's own scripts beside it.
"""

from qllm_jax.bench.machine import Machine, measure_machine, processor_name
from qllm_jax.bench.measure import BenchResult, measure
from qllm_jax.bench.parts import Part
from qllm_jax.bench.shown import bench_figure, bench_record, bench_tables
from qllm_jax.bench.throughput import Throughput

__all__ = [
    "BenchResult",
    "Machine",
    "Part",
    "Throughput",
    "bench_figure",
    "bench_record",
    "bench_tables",
    "measure",
    "measure_machine",
    "processor_name",
]
