"""The jobs: task → TFCAF → training → report. No logic here; `qllm_jax.jobs` holds a module each.

    generate   task ──► synthesis ──► artifact
    train      artifact ──► one mixer over S seeds ──► run directory
    compare    several mixers at equal configuration ──► run directories ──► report
    run        generate, then compare
    sweep      one mixer at many settings ──► table, figure, the best as a config
    bench      one configuration, timed for growing numbers of seeds
    resume     any of these but bench, from where it stopped
    report     finished jobs ──► their report again

A job stops cleanly at the first Ctrl-C, between two compiled chunks, and reports what there is.
The command line calls these, and so may any program.
"""

from qllm_jax.jobs.bench import bench
from qllm_jax.jobs.compare import compare
from qllm_jax.jobs.generate import generate
from qllm_jax.jobs.outcome import JobOutcome
from qllm_jax.jobs.report import export_marl_eval, report
from qllm_jax.jobs.resume import resume
from qllm_jax.jobs.run import run
from qllm_jax.jobs.sweep import sweep
from qllm_jax.jobs.train import train, train_job

__all__ = [
    "JobOutcome",
    "bench",
    "compare",
    "export_marl_eval",
    "generate",
    "report",
    "resume",
    "run",
    "sweep",
    "train",
    "train_job",
]
