"""`bench`: one configuration, timed for growing numbers of seeds; leaves a record and a figure."""

import dataclasses
import json

from qllm_jax.bench import Throughput, bench_figure, bench_record, bench_tables
from qllm_jax.bench import measure as measure_bench
from qllm_jax.config import Config
from qllm_jax.jobs.checks import checked_task
from qllm_jax.jobs.directory import job_directory
from qllm_jax.jobs.outcome import JobOutcome
from qllm_jax.jobs.reporting import command_line
from qllm_jax.jobs.session import Training
from qllm_jax.results import Console, format_rate, save_figure_png, write_text
from qllm_jax.training import Runs, runs_for_seeds


def bench(config: Config) -> JobOutcome:
    """`qllm-jax bench`: time the training that `config` describes; leaves a record and a figure."""
    spec = checked_task(config)
    mixer, scale = Training.named_by(config, spec).mixer()

    def runs_of(count: int) -> Runs:
        runner = dataclasses.replace(config.runner, num_seeds=count)
        return runs_for_seeds(dataclasses.replace(config, runner=runner), scale)

    directory = job_directory(config, "bench")
    with Console() as console:
        console.phase(f"bench {mixer.name}", len(config.bench.seeds), unit="programs")
        done = 0

        def on_row(row: Throughput) -> None:
            nonlocal done
            done += 1
            rate = format_rate(row.env_steps_per_s)
            console.update(done, note=f"{rate} env-steps/s with {row.num_seeds:,}")

        result = measure_bench(config, spec, mixer, runs_of, on_row)
        console.finish()
        record = json.dumps(bench_record(result, command_line()), indent=1)
        write_text(directory / "bench.json", record + "\n")
        save_figure_png(directory / "bench.png", bench_figure(result))
        for table in bench_tables(result):
            console.print_table(table)
        console.print(f"record and figure: {directory}")
    return JobOutcome(directory)
