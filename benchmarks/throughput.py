"""Environment steps per second and compile time, against seeds and devices; JaxMARL beside it.

    python benchmarks/throughput.py [--seeds 1 4 16] [--devices 1 2] [--algorithms qmix pqn_vdn]
    python benchmarks/throughput.py --jaxmarl CHECKOUT [--python INTERPRETER]

Every measurement is a process of its own: a whole training of `--iterations` iterations from its
first window, compiled ahead of time, run `--repeats` times. On the CPU `--devices` is the number of
forced XLA devices. JaxMARL's script is imported from the checkout by `jaxmarl_driver.py` and runs
under an interpreter that has what it imports. Both do the same work by `jaxmarl_cases.py`, such as
8 environments × 26 slots and one gradient step of 32 windows per iteration, and start to learn in
the same iteration; `tfcaf` is compared with their QMIX, what one would run instead. Speed is
compared with evaluation off there and one episode of it here; compile time with evaluation in both.
The unit that is the same for both is the window: the ratio compares windows per second. Own
processor seconds per window are shown too, as they depend less on what else runs.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from jaxmarl_cases import CASES, check_equal, their_settings

from qllm_jax.compose import compose_config
from qllm_jax.config import Config

TASK = "mpe/simple_spread"
EPISODE = 25
_ATTEMPTS = 3  # per process
_RIVALS = {**{name: name for name in CASES}, "tfcaf": "qmix"}  # ours, and theirs beside it
_POOL = 4  # threads in the pool of JaxMARL's process


def main() -> None:
    """Measure every combination, print a table, write the JSON."""
    args = parse()
    if args.worker:
        print(json.dumps(measure_here(args.algorithms[0], args.seeds[0], args)))
        return
    rows: list[dict[str, Any]] = []
    measured: dict[tuple[str, int], dict[str, Any]] = {}  # JaxMARL's
    for name in args.algorithms:
        for seeds in args.seeds:
            rival = _RIVALS[name]
            if args.jaxmarl and (rival, seeds) not in measured:
                measured[rival, seeds] = measure_jaxmarl(rival, seeds, args)
                rows.append(measured[rival, seeds])
            theirs = measured.get((rival, seeds))
            for devices in args.devices:
                row = measure_ours(name, seeds, devices, args)
                if theirs:
                    row["ratio"] = row["windows_per_s"] / theirs["windows_per_s"]
                if theirs and not args.speed_only:
                    # Both with the evaluation that they do in training.
                    row["compile_ratio"] = row["compile_s"] / theirs["compile_with_evaluation_s"]
                rows.append(row)
                print(line(row), flush=True)
    from qllm_jax.bench import processor_name  # late: nothing of ours while others are timed

    result = {
        "task": TASK,
        "command": " ".join(["throughput.py", *sys.argv[1:]]),
        "machine": {"cpu": processor_name(), "cores": os.cpu_count(), "load": os.getloadavg()},
        "python": platform.python_version(),
        "rows": rows,
    }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(result, indent=2) + "\n")
    print("\n".join([HEADER, *map(line, rows)]))


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--algorithms", nargs="+", default=["qmix"], choices=list(_RIVALS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 4, 16])
    parser.add_argument("--devices", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--iterations", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--replay-dtype", default="float32")
    parser.add_argument("--matmul-precision", default="tf32", help="of ours")
    parser.add_argument("--jaxmarl", type=Path, help="checkout of JaxMARL to measure beside ours")
    parser.add_argument("--python", default=sys.executable, help="interpreter for its scripts")
    parser.add_argument("--set", default="{}", help="JSON of JaxMARL's settings not as published")
    parser.add_argument("--speed-only", action="store_true", help="do not compare compile times")
    parser.add_argument("--timeout", type=float, default=1800, help="seconds per process")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).parent / "results" / "throughput.json"
    )
    return parser.parse_args()


def config_of(name: str, seeds: int, args: argparse.Namespace) -> Config:
    """Our configuration of an algorithm."""
    ours = CASES[_RIVALS[name]].ours
    if name == "tfcaf":
        ours = (*(setting for setting in ours if not setting.startswith("mixer=")), "mixer=tfcaf")
    overrides = [
        *(f"task={TASK}", *ours, f"learner.replay_dtype={args.replay_dtype}"),
        *(f"runner.num_seeds={seeds}", f"runner.matmul_precision={args.matmul_precision}"),
        *("runner.num_evaluations=1", "runner.num_eval_episodes=1"),
    ]
    num_envs = compose_config(overrides).learner.num_envs
    steps = args.iterations * num_envs * EPISODE
    return compose_config([*overrides, f"runner.num_env_steps={steps}"])


def measure_here(name: str, num_seeds: int, args: argparse.Namespace) -> dict[str, Any]:
    """Compile and run in this process."""
    import jax

    from qllm_jax.jobs.session import Training
    from qllm_jax.tasks import get_task
    from qllm_jax.training import runs_for_seeds
    from qllm_jax.training.chunk import compile_chunk, make_initialiser, make_program
    from qllm_jax.training.placement import place_runs
    from qllm_jax.training.replay import replay_bytes

    spec = get_task(TASK)
    env = spec.env
    config = config_of(name, num_seeds, args)
    mixer, scale = Training.named_by(config, spec).mixer()
    program = make_program(env, mixer, config)
    placement = place_runs(runs_for_seeds(config, scale), jax.local_devices())
    begin = time.perf_counter()
    call = compile_chunk(program, placement, config.runner.matmul_precision)
    compile_s = time.perf_counter() - begin
    initialise = make_initialiser(program, placement)
    seconds, cpu_s = [], 0.0
    for _ in range(args.repeats):
        state = jax.block_until_ready(initialise(placement))
        start, cpu_before = time.perf_counter(), time.process_time()
        jax.block_until_ready(call(state, 0, args.iterations))
        seconds.append(time.perf_counter() - start)
        cpu_s += time.process_time() - cpu_before
    return {
        "compile_s": compile_s,
        "run_s": seconds,
        "cpu_s": cpu_s / args.repeats,
        "device": str(jax.devices()[0].device_kind),
        "replay_mib_per_seed": replay_bytes(
            env,
            config.learner.replay_capacity,
            program.schedule.window_length,
            config.learner.replay_dtype,
        )
        / 2**20,
    }


def measure_ours(name: str, seeds: int, devices: int, args: argparse.Namespace) -> dict[str, Any]:
    """One process of ours on `devices` devices."""
    command = [sys.executable, __file__, "--worker", "--algorithms", name, "--seeds", str(seeds)]
    command += ["--iterations", str(args.iterations), "--repeats", str(args.repeats)]
    command += ["--replay-dtype", args.replay_dtype]
    command += ["--matmul-precision", args.matmul_precision]
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    measured = run_json(command, {"XLA_FLAGS": flags.strip()}, args.timeout)
    num_envs = config_of(name, seeds, args).learner.num_envs
    windows = args.iterations * num_envs * seeds
    return row_of("qllm_jax", name, seeds, devices, windows, EPISODE, measured)


def measure_jaxmarl(name: str, seeds: int, args: argparse.Namespace) -> dict[str, Any]:
    """One process of JaxMARL's script."""
    case, config = CASES[name], config_of(name, seeds, args)
    settings = their_settings(case, config, TASK, EPISODE + 1) | json.loads(args.set)
    driver = str(Path(__file__).with_name("jaxmarl_driver.py"))
    command = [args.python, driver, str(args.jaxmarl), case.script["mpe"], "--seeds", str(seeds)]
    command += ["--set", json.dumps(settings)]
    command += ["--iterations", str(args.iterations), "--repeats", str(args.repeats)]
    # Its batched QR waits on the thread pool that it occupies; more places in it end the wait. The
    # script still runs on one device.
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={_POOL}"
    environment = {"XLA_FLAGS": flags.strip()}
    measured = run_json(command, environment, args.timeout)
    measured["compile_s"] += measured.pop("trace_s")
    if not args.speed_only:
        whole = run_json([*command, "--evaluation", "--compile-only"], environment, args.timeout)
        measured["compile_with_evaluation_s"] = whole["compile_s"] + whole["trace_s"]
    if args.set == "{}":
        check_equal(case, config, measured["config"])
    windows = measured["windows_per_seed"] * seeds
    row = row_of("jaxmarl", name, seeds, 1, windows, measured["steps_per_window"], measured)
    print(line(row), flush=True)
    return row


def row_of(
    program: str,
    algorithm: str,
    seeds: int,
    devices: int,
    windows: int,
    steps_per_window: int,
    measured: dict[str, Any],
) -> dict[str, Any]:
    """A row of the table; rates are over all seeds, from the median repetition."""
    windows_per_s = windows / statistics.median(measured["run_s"])
    return {
        "program": program,
        "algorithm": algorithm,
        "seeds": seeds,
        "devices": devices,
        "windows_per_s": windows_per_s,
        "env_steps_per_s": windows_per_s * steps_per_window,
        "cpu_ms_per_window": 1e3 * measured["cpu_s"] / windows,
        **measured,
    }


def run_json(command: list[str], environment: dict[str, str], timeout: float) -> dict[str, Any]:
    """The JSON on a process's last line; again if it hangs, as a batched QR on the CPU can."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            done = subprocess.run(
                command,
                env={**os.environ, **environment},
                timeout=timeout,
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            )
        except subprocess.TimeoutExpired:
            if attempt == _ATTEMPTS:
                raise
            continue
        return json.loads(done.stdout.splitlines()[-1])
    raise AssertionError("the last attempt returns or raises")


HEADER = (
    "program   algorithm seeds devices  windows/s  env-steps/s  ms CPU/window  compile s  "
    "× JaxMARL  × its compile"
)


def line(row: dict[str, Any]) -> str:
    """A row as text."""
    ratios = "".join(
        f"{row[name]:{width}.2f}" if name in row else f"{'–':>{width}}"
        for name, width in (("ratio", 9), ("compile_ratio", 15))
    )
    return (
        f"{row['program']:9s} {row['algorithm']:9s} {row['seeds']:5d} {row['devices']:7d} "
        f"{row['windows_per_s']:10.0f} {row['env_steps_per_s']:12.0f} "
        f"{row['cpu_ms_per_window']:14.2f} {row['compile_s']:10.1f}  {ratios}"
    )


if __name__ == "__main__":
    main()
