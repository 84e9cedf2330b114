"""What chunks and checkpoints cost beside one uninterrupted program.

    python benchmarks/overhead.py [--seeds 4] [--iterations 200] [--chunks 10] [--repeats 3]

Chunking: the same iterations in one call of the compiled program, and in `--chunks` calls with the
host between them; the evaluations that the calls do beside are timed alone and taken off both.
Checkpoints: the same chunks again with a whole state saved, replay included, in the background,
once; its share of a minute is what `checkpoint.interval_s=60` costs.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

from qllm_jax.runtime import configure_runtime

configure_runtime()

import jax  # noqa: E402
import numpy as np  # noqa: E402

from qllm_jax.compose import compose_config  # noqa: E402
from qllm_jax.networks import make_mixer  # noqa: E402
from qllm_jax.tasks import get_task  # noqa: E402
from qllm_jax.training import make_program, runs_for_seeds  # noqa: E402
from qllm_jax.training.checkpoint import Checkpoints  # noqa: E402
from qllm_jax.training.fleet import Fleet  # noqa: E402


def main() -> int:
    """Measure, print, and write the record where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", default="mpe/simple_spread")
    parser.add_argument("--mixer", default="qmix")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--chunks", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    if args.iterations % args.chunks:
        parser.error("--iterations must be a multiple of --chunks")
    config = compose_config(
        [f"task={args.task}", f"mixer={args.mixer}", f"runner.num_seeds={args.seeds}"]
    )
    spec = get_task(args.task)
    env = spec.env
    mixer = make_mixer(config.mixer, env.num_agents, env.state_dim, num_actions=env.num_actions)
    program = make_program(env, mixer, config, spec.outcome)
    fleet = Fleet(program, runs_for_seeds(config), config.runner)
    start = program.schedule.first_update
    fleet.advance(0, start)  # gradient steps have begun

    def seconds(calls: list[int]) -> float:
        nonlocal start
        begin = time.perf_counter()
        for count in calls:
            fleet.advance(start, count)
            start += count
        return time.perf_counter() - begin

    per_chunk = args.iterations // args.chunks
    whole, chunked, evaluation = [], [], []
    for _ in range(args.repeats):
        evaluation.append(seconds([0] * args.chunks) / args.chunks)
        whole.append(seconds([args.iterations]))
        chunked.append(seconds([per_chunk] * args.chunks))
    one_eval = statistics.median(evaluation)
    ratios = [
        (c - args.chunks * one_eval) / (w - one_eval) for w, c in zip(whole, chunked, strict=True)
    ]
    blocking, with_save = _saves(fleet, seconds, [per_chunk] * args.chunks, args.repeats)
    extra = [w - statistics.median(chunked) for w in with_save]
    record = {
        "command": " ".join(["python", *sys.argv]),
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "load": os.getloadavg()[0],
            "devices": fleet.describe(),
            "jax": jax.__version__,
        },
        "whole_s": whole,
        "chunked_s": chunked,
        "evaluation_s": evaluation,
        "chunking_overhead": statistics.median(ratios) - 1,
        "save_blocking_s": blocking,
        "save_extra_s": extra,
        "checkpoint_share_of_a_minute": statistics.median(extra) / 60,
    }
    print(f"{fleet.describe()}: {args.task}, {args.mixer}")
    print(
        f"{args.iterations} iterations: {statistics.median(whole):.2f} s in one call, "
        f"{statistics.median(chunked):.2f} s in {args.chunks}; an evaluation {one_eval:.2f} s"
    )
    print(f"overhead of chunking: {100 * record['chunking_overhead']:+.1f} %")
    print(
        f"a checkpoint: {statistics.median(blocking):.2f} s until training goes on, "
        f"{statistics.median(extra):.2f} s in all; once a minute "
        f"{100 * record['checkpoint_share_of_a_minute']:.1f} %"
    )
    if args.output is not None:
        args.output.write_text(json.dumps(record, indent=1) + "\n")
    return 0


def _saves(fleet: Fleet, seconds, calls: list[int], repeats: int) -> tuple[list, list]:
    """Seconds that a save blocks, and seconds of chunks beside which one is written."""
    blocking, whole = [], []
    for repeat in range(repeats):
        with tempfile.TemporaryDirectory() as directory:
            checkpoints = Checkpoints(directory, {"benchmark": True})
            begin = time.perf_counter()
            checkpoints.save(repeat + 1, fleet.fetch(), {"return": np.zeros((1, 1))}, 0.0)
            blocking.append(time.perf_counter() - begin)
            seconds(calls)
            checkpoints.wait()
            whole.append(time.perf_counter() - begin)
            checkpoints.close()
    return blocking, whole


if __name__ == "__main__":
    sys.exit(main())
