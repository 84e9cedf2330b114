"""Do our learners reach what JaxMARL's own scripts reach? Same task, settings, data, evaluator.

    python benchmarks/parity_jaxmarl.py --jaxmarl CHECKOUT [--python INTERPRETER]
    python benchmarks/parity_jaxmarl.py --jaxmarl CHECKOUT --task smax/3m --algorithms pqn_vdn mappo

JaxMARL's script is imported from the checkout by `jaxmarl_driver.py`, under an interpreter that has
what it imports. Both train the same number of windows of the same length, with JaxMARL's published
configuration but for what the result lists as `changed`: how many environments make a window, and a
network that 2 CPU cores train in minutes. MPE's `max_steps=25` ends an episode on call 26, so a
window of 26 slots of theirs is one episode, as ours is. The final networks of both then play the
same greedy episodes under one evaluator; theirs are read by `jaxmarl_agents.py`, which checks that
the reading answers random inputs as the script's own network does.
"""

import argparse
import dataclasses
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
from jaxmarl_agents import read_agents
from jaxmarl_cases import CASES, Case, check_equal, their_settings

from qllm_jax.compose import compose_config
from qllm_jax.config import Config
from qllm_jax.networks import Agent, make_mixer
from qllm_jax.results.statistics import bootstrap_interval, difference_interval
from qllm_jax.schedule import make_schedule
from qllm_jax.tasks import TaskSpec, get_task
from qllm_jax.training import run_training
from qllm_jax.training.chunk import make_program
from qllm_jax.training.evaluation import play_greedy
from qllm_jax.training.learners import get_learner
from qllm_jax.types import Params

NUM_EPISODES = 512
_DEFAULT = ["vdn", "qmix", "pqn_vdn", "mappo"]


def main() -> None:
    """Train both, evaluate both, write and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jaxmarl", type=Path, required=True, help="checkout of JaxMARL")
    parser.add_argument("--python", default=sys.executable, help="interpreter for its scripts")
    parser.add_argument("--task", default="mpe/simple_spread", help="or smax/3m")
    parser.add_argument("--algorithms", nargs="+", choices=list(CASES), default=_DEFAULT)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--transitions", type=int, default=500_000, help="per seed, at least")
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).parent / "results" / "parity_jaxmarl.json"
    )
    args = parser.parse_args()
    result: dict = json.loads(args.output.read_text()) if args.output.exists() else {}
    for name in args.algorithms:
        result[f"{args.task} {name}"] = compare(name, args)
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(json.dumps(result, indent=2) + "\n")


def compare(name: str, args: argparse.Namespace) -> dict:
    """Train `name` by both programs, evaluate both the same way."""
    config, spec = config_for(name, args)
    window = make_schedule(config.learner, config.runner, spec.env.episode_length).window_length
    iterations = config.runner.num_env_steps // (config.learner.num_envs * (window - 1))
    begin = time.perf_counter()
    their_agent, theirs, changed = train_theirs(CASES[name], args, config, spec, iterations, window)
    between = time.perf_counter()
    agent, ours, untrained = train_ours(config, spec)
    end = time.perf_counter()
    returns = {
        "jaxmarl": evaluate(their_agent, theirs, config, spec),
        "qllm_jax": evaluate(agent, ours, config, spec),
        "untrained": evaluate(agent, untrained, config, spec),
    }
    row: dict = {
        "command": f"parity_jaxmarl.py --jaxmarl CHECKOUT --task {args.task} --algorithms {name} "
        f"--seeds {args.seeds} --transitions {args.transitions}",
        "windows_per_seed": iterations * config.learner.num_envs,
        "transitions_per_seed": config.runner.num_env_steps,
        "evaluation_episodes_per_seed": NUM_EPISODES,
        "changed": changed,
        "ours": list(CASES[name].ours),
        "jax": jax.__version__,
        "machine": f"{platform.machine()}, {jax.devices()[0].device_kind}",
        **{who: summary(values) for who, values in returns.items()},
    }
    difference = difference_interval(returns["qllm_jax"], returns["jaxmarl"])
    row["difference"] = {key: float(getattr(difference, key)) for key in ("point", "low", "high")}
    row["difference_includes_zero"] = bool(difference.low <= 0.0 <= difference.high)
    low = max(row[who]["mean_interval"][0] for who in ("jaxmarl", "qllm_jax"))
    high = min(row[who]["mean_interval"][1] for who in ("jaxmarl", "qllm_jax"))
    row["intervals_overlap"] = bool(low <= high)
    row["seconds"] = {"jaxmarl": between - begin, "qllm_jax": end - between}
    print(name, json.dumps(row), flush=True)
    return row


def config_for(name: str, args: argparse.Namespace) -> tuple[Config, TaskSpec]:
    """Our configuration of an algorithm, its budget rounded up to whole iterations."""
    overrides = [f"task={args.task}", *CASES[name].ours]
    overrides += [f"runner.num_seeds={args.seeds}", "runner.num_evaluations=1"]
    config = compose_config(overrides)
    spec = get_task(config.task.source, **config.task.env_kwargs)
    length = config.learner.window_length or spec.env.episode_length + 1
    per_iteration = config.learner.num_envs * (length - 1)
    steps = -(-args.transitions // per_iteration) * per_iteration
    return compose_config([*overrides, f"runner.num_env_steps={steps}"]), spec


def train_ours(config: Config, spec: TaskSpec) -> tuple[Agent, list[Params], list[Params]]:
    """Our agents' network, and its parameters per seed: trained, and fresh."""
    env = spec.env
    mixer = make_mixer(config.mixer, env.num_agents, env.state_dim, num_actions=env.num_actions)
    output = run_training(spec, mixer, config)
    assert output.num_diverged == 0
    agent = make_program(env, mixer, config).agent
    seeds = range(config.runner.num_seeds)
    fresh = [agent.init(jax.random.key(seed)) for seed in seeds]
    return agent, [output.run_params(seed).agent for seed in seeds], fresh


def train_theirs(
    case: Case,
    args: argparse.Namespace,
    config: Config,
    spec: TaskSpec,
    iterations: int,
    window: int,
) -> tuple[Agent, list[Params], dict]:
    """Their network, its parameters per seed, and what was not as published.

    Raises:
        ValueError: A setting that is said to be equal is not.
    """
    kind = args.task.split("/")[0]
    settings = their_settings(case, config, args.task, window)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "params.npz"
        driver = Path(__file__).with_name("jaxmarl_driver.py")
        done = subprocess.run(
            [
                *(args.python, driver, args.jaxmarl, case.script[kind], "--kind", kind),
                *("--params", path, "--seeds", str(args.seeds), "--iterations", str(iterations)),
                *("--set", json.dumps(settings)),
            ],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            # Its vmapped program initialises by batched QR, which can wait for ever on a thread
            # pool of two: give it more threads than cores.
            env={**os.environ, "NPROC": "8"},
        )
        check_equal(case, config, json.loads(done.stdout.splitlines()[-1])["config"])
        agent, params = read_agents(path, spec.env.num_agents, args.seeds)
    return agent, params, settings


def evaluate(agent: Agent, all_params: list[Params], config: Config, spec: TaskSpec) -> np.ndarray:
    """Mean team return `[S]` of greedy episodes; the same episodes for everyone."""
    env = spec.env
    mixer = make_mixer(config.mixer, env.num_agents, env.state_dim, num_actions=env.num_actions)
    # Whoever trained it, an output per action is all that greedy play reads.
    program = dataclasses.replace(
        make_program(env, mixer, config), agent=agent, algorithm=get_learner("dqn")
    )

    @jax.jit
    def play(params: Params) -> jax.Array:
        slots, _, _ = play_greedy(program, params, jax.random.key(123), NUM_EPISODES)
        return slots.reward.sum(axis=0).mean()

    return np.array([float(play(params)) for params in all_params])


def summary(returns: np.ndarray) -> dict:
    """Per seed, and mean and interquartile mean with 95 % bootstrap intervals."""
    row: dict = {"per_seed": [round(float(value), 3) for value in returns]}
    for statistic in ("mean", "iqm"):
        interval = bootstrap_interval(returns, statistic)
        row[statistic] = float(interval.point)
        row[f"{statistic}_interval"] = [float(interval.low), float(interval.high)]
    return row


if __name__ == "__main__":
    main()
