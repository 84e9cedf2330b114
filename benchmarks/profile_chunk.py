"""Where the device's time goes inside the compiled program, kernel by kernel.

    python benchmarks/profile_chunk.py --seeds 1024 [--iterations 50] [--output FILE] [OVERRIDES]

A chunk of training is compiled ahead of time and run twice: once to settle, once under JAX's
profiler. Every kernel of the trace is looked up in the compiled program's text and counted for the
part of our code that it came from (the `jax.named_scope`s of the trainer). `idle` is the time
between kernels. OVERRIDES are those of `qllm-jax train`; the default is QMIX on simple_spread in
JaxMARL's configuration. `qllm-jax bench` times the same parts one by one instead.
"""

import argparse
import collections
import dataclasses
import json
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from qllm_jax.bench import measure_machine
from qllm_jax.compose import compose_config
from qllm_jax.jobs.session import Training
from qllm_jax.tasks import get_task
from qllm_jax.training import runs_for_seeds
from qllm_jax.training.chunk import compile_chunk, initial_states, make_program
from qllm_jax.training.placement import local_devices, place_runs

# The trainer's scopes, innermost first: a kernel belongs to the first that its path names.
SCOPES = (
    "environment", "acting", "agent_backward", "agent_forward", "mixing", "optimiser",
    "replay_add", "replay_sample", "collect", "learn", "evaluation",
)  # fmt: skip

# Our own kernels' launches do not bear their path.
_KERNEL_SCOPES = {"gru_forward": "agent_forward", "gru_backward": "agent_backward"}
_WRAPPER = re.compile(r"while\b|cond\b|call\b|ThunkExecutor")  # on the CPU these hold others


@dataclasses.dataclass(frozen=True)
class Kernel:
    """One kernel's launches in the trace.

    Attributes:
        name: As the device calls it.
        scope: The part of the trainer that it came from, or `other`.
        count: Launches.
        seconds: In all.
    """

    name: str
    scope: str
    count: int
    seconds: float


def main() -> None:
    """Compile, run, trace, print, write."""
    args = parse()
    config = compose_config(["task=mpe/simple_spread", "mixer=qmix", *args.overrides])
    spec = get_task(config.task.source, **config.task.env_kwargs)
    steps = args.iterations * config.learner.num_envs * spec.env.episode_length
    runner = dataclasses.replace(
        config.runner, num_seeds=args.seeds, num_env_steps=steps, num_evaluations=1
    )
    learner = dataclasses.replace(config.learner, learning_starts=1)
    config = dataclasses.replace(config, runner=runner, learner=learner)
    env = spec.env
    mixer, scale = Training.named_by(config, spec).mixer()
    program = make_program(env, mixer, config)
    devices = local_devices(config.runner.num_devices)
    placement = place_runs(runs_for_seeds(config, scale), devices)
    begin = time.perf_counter()
    call = compile_chunk(program, placement, config.runner.matmul_precision)
    compile_s = time.perf_counter() - begin
    state, _ = jax.block_until_ready(call(initial_states(program, placement), 0, args.iterations))
    begin = time.perf_counter()
    state, _ = jax.block_until_ready(call(state, 0, args.iterations))
    plain_s = time.perf_counter() - begin
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            begin = time.perf_counter()
            jax.block_until_ready(call(state, 0, args.iterations))
            traced_s = time.perf_counter() - begin
        trace = next(Path(folder).rglob("*.xplane.pb"))
        kernels = read_kernels(trace, paths_of_instructions(call.executable.as_text()))
    record = {
        "command": " ".join(["profile_chunk.py", *sys.argv[1:]]),
        "machine": dataclasses.asdict(measure_machine(devices, config.runner.matmul_precision)),
        "task": spec.name,
        "label": config.label,
        "seeds": args.seeds,
        "iterations": args.iterations,
        "env_steps": args.seeds * steps,
        "compile_s": compile_s,
        "seconds": plain_s,
        "seconds_traced": traced_s,
        "env_steps_per_s": args.seeds * steps / plain_s,
        "program_mib_per_device": call.num_bytes / 2**20,
        "scopes": shares(kernels, traced_s),
        "kernels": [dataclasses.asdict(kernel) for kernel in kernels[: args.top]],
    }
    print(table(record))
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(json.dumps(record, indent=1) + "\n")


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=16)
    parser.add_argument("--iterations", type=int, default=50)
    parser.add_argument("--top", type=int, default=40, help="kernels that are listed")
    parser.add_argument("--output", type=Path)
    parser.add_argument("overrides", nargs="*")
    return parser.parse_args()


def paths_of_instructions(text: str) -> dict[str, str]:
    """The path in our code of every instruction of a compiled program, by the instruction's name.

    Kernels that XLA wrote bear the name of their instruction with `_` for `.`; both are keys.
    """
    pattern = re.compile(r"%?([\w.\-]+) = .*?metadata=\{[^}]*?op_name=\"([^\"]*)\"")
    found = [match for line in text.splitlines() if (match := pattern.search(line))]
    paths = {re.sub(r"[.\-]", "_", match.group(1)): match.group(2) for match in found}
    return paths | {match.group(1): match.group(2) for match in found}


def read_kernels(trace: Path, paths: dict[str, str]) -> list[Kernel]:
    """Kernels of all devices by total time, largest first."""
    totals: dict[tuple[str, str], list[float]] = collections.defaultdict(lambda: [0, 0.0])
    for event in device_events(trace):
        stats = dict(event.stats)
        operation = str(stats.get("hlo_op", event.name))
        path = paths.get(operation) or paths.get(event.name) or str(stats.get("tf_op", ""))
        own = _KERNEL_SCOPES.get(event.name.split("__")[0])
        total = totals[event.name, own or scope_of(path)]
        total[0] += 1
        total[1] += event.duration_ns / 1e9
    kernels = [
        Kernel(name, scope, int(count), seconds)
        for (name, scope), (count, seconds) in totals.items()
    ]
    return sorted(kernels, key=lambda kernel: -kernel.seconds)


def device_events(trace: Path) -> Iterator[Any]:
    """What ran on the devices: kernels on an accelerator's streams, thunks on the CPU's threads."""
    profile = jax.profiler.ProfileData.from_file(str(trace))
    planes = list(profile.planes)
    on_device = [plane for plane in planes if plane.name.startswith("/device:")]
    for plane in on_device or planes:
        for line in plane.lines:
            is_stream = line.name.startswith("Stream") if on_device else "XLA" in line.name
            if is_stream:
                yield from (event for event in line.events if not _WRAPPER.match(event.name))


def scope_of(path: str) -> str:
    """The innermost of the trainer's scopes in a path."""
    parts = set(re.split(r"[/()]", path))
    return next((scope for scope in SCOPES if scope in parts), "other")


def shares(kernels: list[Kernel], seconds: float) -> dict[str, dict[str, float]]:
    """Seconds, share of the wall clock and launches of every scope, and what was idle."""
    scopes: dict[str, dict[str, float]] = {}
    for kernel in kernels:
        scope = scopes.setdefault(kernel.scope, {"seconds": 0.0, "launches": 0})
        scope["seconds"] += kernel.seconds
        scope["launches"] += kernel.count
    busy = sum(scope["seconds"] for scope in scopes.values())
    scopes["idle"] = {"seconds": max(seconds - busy, 0.0), "launches": 0}
    for scope in scopes.values():
        scope["share"] = scope["seconds"] / seconds
    return dict(sorted(scopes.items(), key=lambda item: -item[1]["seconds"]))


def table(record: dict[str, Any]) -> str:
    """What a person reads."""
    iterations = record["iterations"]
    lines = [
        f"{record['machine']['device']}: {record['task']}, {record['label']}, "
        f"{record['seeds']} seeds, {iterations} iterations: "
        f"{record['env_steps_per_s'] / 1e6:.3f} M env-steps/s, "
        f"{record['seconds'] / iterations * 1e3:.2f} ms/iteration "
        f"({record['seconds_traced'] / iterations * 1e3:.2f} traced), compile "
        f"{record['compile_s']:.1f} s, {record['program_mib_per_device']:,.0f} MiB",
        f"{'scope':18}{'ms/iter':>10}{'share':>8}{'launches/iter':>15}",
    ]
    for name, scope in record["scopes"].items():
        milliseconds = scope["seconds"] / iterations * 1e3
        launches = scope["launches"] / iterations
        lines.append(f"{name:18}{milliseconds:10.3f}{scope['share']:8.1%}{launches:15.1f}")
    lines.append(f"{'kernel':60}{'scope':16}{'ms/iter':>9}{'n/iter':>8}")
    for kernel in record["kernels"]:
        lines.append(
            f"{kernel['name'][:58]:60}{kernel['scope']:16}"
            f"{kernel['seconds'] / iterations * 1e3:9.3f}{kernel['count'] / iterations:8.1f}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
