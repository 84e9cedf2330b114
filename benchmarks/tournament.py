"""What a tournament costs: K candidates × S seeds against VDN with as many seeds.

    python benchmarks/tournament.py [--task mpe/simple_spread] [--candidates 8] [--seeds 16]

Trains K recorded candidates in one compiled program, then VDN with K · S seeds at the same
configuration, and prints a JSON record: compilations, seconds without compilation, their ratio
(the aim is below 1.5), environment steps per second.
"""

import argparse
import dataclasses
import json
import platform
import time

from qllm_jax.runtime import configure_runtime


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="mpe/simple_spread")
    parser.add_argument("--candidates", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=16)
    parser.add_argument("--env-steps", type=int, default=20_000, help="per run")
    parser.add_argument("--repeats", type=int, default=1)
    args = parser.parse_args()
    configure_runtime()
    print(json.dumps(measure(args), indent=2))


def measure(args: argparse.Namespace) -> dict:
    """Train both and compare."""
    import jax

    from qllm_jax.config import MixerConfig
    from qllm_jax.networks import make_mixer
    from qllm_jax.synthesis.measurement import Seeds
    from qllm_jax.synthesis.tournament import measurement_config
    from qllm_jax.tasks import get_task
    from qllm_jax.training import run_training, runs_for_tournament

    spec = get_task(args.task)
    functions = recorded_functions(spec, args.candidates)
    config = measurement_config(_config(args), spec.env.episode_length, Seeds(0, args.seeds))
    agents, state_dim = spec.env.num_agents, spec.env.state_dim
    tfcaf = make_mixer(config.mixer, agents, state_dim, functions)
    vdn = make_mixer(MixerConfig(name="vdn"), agents, state_dim)
    chunk_compiles = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, seconds, **_: (
            chunk_compiles.append(seconds) if "backend_compile" in event else None
        )
    )

    def train(mixer, job, runs=None):
        del chunk_compiles[:]
        started = time.perf_counter()
        output = run_training(spec, mixer, job, runs=runs)
        return {
            "run_s": round(output.run_s, 2),
            "compile_s": round(output.compile_s, 2),
            "total_s": round(time.perf_counter() - started, 2),
            "long_compilations": sum(seconds > 1.0 for seconds in chunk_compiles),
            "env_steps_per_second": round(output.env_steps_per_second),
        }

    many = dataclasses.replace(
        config, runner=dataclasses.replace(config.runner, num_seeds=args.seeds * len(functions))
    )
    tournament = [
        train(tfcaf, config, runs_for_tournament(config, len(functions)))
        for _ in range(args.repeats)
    ]
    baseline = [train(vdn, many) for _ in range(args.repeats)]
    ratios = [a["run_s"] / b["run_s"] for a, b in zip(tournament, baseline, strict=True)]
    return {
        "task": args.task,
        "candidates": len(functions),
        "seeds": args.seeds,
        "env_steps_per_run": config.runner.num_env_steps,
        "tournament": tournament,
        "vdn": baseline,
        "ratio": [round(ratio, 3) for ratio in ratios],
        "device": str(jax.devices()[0]),
        "jax": jax.__version__,
        "python": platform.python_version(),
    }


def recorded_functions(spec, count: int) -> list:
    """The first distinct recorded candidates of a task that translate."""
    from qllm_jax.llm.prompts import prompt_dir
    from qllm_jax.llm.transcripts import read_transcript
    from qllm_jax.tfcaf import TranslationError, translate

    functions: dict[str, object] = {}
    for path in sorted((prompt_dir() / "recorded" / spec.name).glob("*.json")):
        transcript = read_transcript(path)
        if transcript.request.purpose != "coder":
            continue
        try:
            translation = translate(
                transcript.completion.text, spec.env.num_agents, spec.env.state_dim
            )
        except TranslationError:
            continue
        functions.setdefault(translation.source, translation.function)
    if len(functions) < count:
        raise SystemExit(f"{spec.name} has {len(functions)} recorded functions, not {count}.")
    return list(functions.values())[:count]


def _config(args: argparse.Namespace):
    from qllm_jax.compose import compose_config

    return compose_config([f"task={args.task}", f"synthesis.measured_env_steps={args.env_steps}"])


if __name__ == "__main__":
    main()
