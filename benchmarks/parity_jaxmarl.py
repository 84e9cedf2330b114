"""Do our VDN and QMIX reach what JaxMARL's own scripts reach? Same task, settings, data, evaluator.

    python benchmarks/parity_jaxmarl.py --jaxmarl CHECKOUT [--python INTERPRETER]

JaxMARL's script is imported from the checkout by `jaxmarl_driver.py`, under an interpreter that has
what it imports. Both train the same number of windows with JaxMARL's published configuration. Its
`max_steps=25` ends an episode on call 26, so its window of 26 slots holds 25 transitions to learn
from, as ours does. The final networks of both then play the same episodes under one evaluator:
JaxMARL's agents have the same architecture as ours, so their weights are read into ours, and their
own answers on random inputs are checked to be the same.
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

from qllm_jax.config import Config, LearnerConfig, MixerConfig, RunnerConfig, TaskConfig
from qllm_jax.learning import NetworkParams
from qllm_jax.networks import make_agent, make_mixer
from qllm_jax.results.statistics import bootstrap_interval, difference_interval
from qllm_jax.tasks import get_task
from qllm_jax.training import run_training
from qllm_jax.training.chunk import make_program
from qllm_jax.training.evaluation import play_greedy

TASK = "mpe/simple_spread"
NUM_EPISODES = 512
GATES = ("ir", "iz", "in"), ("hr", "hz", "hn")


def main() -> None:
    """Train both, evaluate both, write and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jaxmarl", type=Path, required=True, help="checkout of JaxMARL")
    parser.add_argument("--python", default=sys.executable, help="interpreter for its scripts")
    parser.add_argument("--algorithms", nargs="+", default=["vdn", "qmix"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=2000, help="windows per environment")
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).parent / "results" / "parity_jaxmarl.json"
    )
    args = parser.parse_args()
    result: dict = {
        "task": TASK,
        "command": f"parity_jaxmarl.py --jaxmarl CHECKOUT --seeds {args.seeds} "
        f"--iterations {args.iterations}",
        "windows_per_seed": args.iterations * 8,
        "transitions_per_seed": args.iterations * 200,
        "evaluation_episodes_per_seed": NUM_EPISODES,
        "jax": jax.__version__,
        "machine": f"{platform.machine()}, {jax.devices()[0].device_kind}",
        "results": {},
    }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    for name in args.algorithms:
        result["results"][name] = compare(name, args)
        args.output.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def compare(name: str, args: argparse.Namespace) -> dict:
    """Train `name` by both programs, evaluate both the same way."""
    config = config_for(name, args.seeds, args.iterations)
    begin = time.perf_counter()
    theirs = their_params(name, args, config)
    between = time.perf_counter()
    ours = our_params(name, config)
    end = time.perf_counter()
    returns = {
        "jaxmarl": evaluate(theirs, config),
        "qllm_jax": evaluate(ours, config),
        "untrained": evaluate(untrained_params(config), config),
    }
    row: dict = {who: summary(values) for who, values in returns.items()}
    difference = difference_interval(returns["qllm_jax"], returns["jaxmarl"])
    row["difference"] = {key: float(getattr(difference, key)) for key in ("point", "low", "high")}
    row["difference_includes_zero"] = bool(difference.low <= 0.0 <= difference.high)
    low = max(row[who]["mean_interval"][0] for who in ("jaxmarl", "qllm_jax"))
    high = min(row[who]["mean_interval"][1] for who in ("jaxmarl", "qllm_jax"))
    row["intervals_overlap"] = bool(low <= high)
    row["seconds"] = {"jaxmarl": between - begin, "qllm_jax": end - between}
    print(name, json.dumps(row), flush=True)
    return row


def config_for(name: str, num_seeds: int, iterations: int) -> Config:
    """Our defaults, which are JaxMARL's; learning starts in the same iteration, its 49th."""
    return Config(
        task=TaskConfig(name=TASK),
        mixer=MixerConfig(name=name),
        learner=LearnerConfig(learning_starts=49 * 200),
        runner=RunnerConfig(
            num_seeds=num_seeds,
            num_env_steps=iterations * 200,
            num_evaluations=10,
            num_eval_episodes=16,
        ),
    )


def untrained_params(config: Config) -> list:
    """Fresh agents, for scale."""
    env = get_task(TASK).env
    agent = make_agent(config.agent, env.num_agents, env.num_actions, env.obs_shape)
    return [agent.init(jax.random.key(seed)) for seed in range(config.runner.num_seeds)]


def our_params(name: str, config: Config) -> list:
    """Train here; the agents' parameters per seed."""
    spec = get_task(TASK)
    mixer = make_mixer(config.mixer, spec.env.num_agents, spec.env.state_dim)
    output = run_training(spec, mixer, config)
    assert output.num_diverged == 0
    return [output.run_params(run).agent for run in range(config.runner.num_seeds)]


def their_params(name: str, args: argparse.Namespace, config: Config) -> list:
    """Train by JaxMARL's script; the agents' parameters per seed, in our layout."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "params.npz"
        driver = Path(__file__).with_name("jaxmarl_driver.py")
        subprocess.run(
            [
                *(args.python, driver, args.jaxmarl, f"{name}_rnn", "--params", path),
                *("--seeds", str(args.seeds), "--iterations", str(args.iterations)),
            ],
            check=True,
            # Its vmapped program initialises by batched QR, which can wait for ever on a thread
            # pool of two: give it more threads than cores.
            env={**os.environ, "NPROC": "8"},
        )
        saved = dict(np.load(path))
    probe_obs, probe_q_values = saved.pop("probe_obs"), saved.pop("probe_q_values")
    params = [read_params(saved, seed) for seed in range(args.seeds)]
    check_reading(params[0], probe_obs, probe_q_values, config)
    return params


def read_params(saved: dict[str, np.ndarray], seed: int) -> dict:
    """JaxMARL's parameter names to ours: the same numbers, gates side by side."""
    by_end = {"/".join(name.split("/")[-3:]): leaf[seed] for name, leaf in saved.items()}

    def find(end: str) -> np.ndarray:
        (leaf,) = [value for name, value in by_end.items() if name.endswith(end)]
        return leaf

    inputs, recurrent = GATES
    return {
        "embed": find("Dense_0/kernel"),
        "embed_bias": find("Dense_0/bias"),
        "gru_input": np.concatenate([find(f"/{gate}/kernel") for gate in inputs], axis=1),
        "gru_input_bias": np.concatenate([find(f"/{gate}/bias") for gate in inputs]),
        "gru_hidden": np.concatenate([find(f"/{gate}/kernel") for gate in recurrent], axis=1),
        "gru_hidden_bias": find("/hn/bias"),
        "head": {"kernel": find("Dense_1/kernel"), "bias": find("Dense_1/bias")},
    }


def check_reading(params: dict, obs: np.ndarray, q_values: np.ndarray, config: Config) -> None:
    """Our network with their weights answers as theirs does."""
    agent_config = dataclasses.replace(config.agent, append_agent_id=False)
    agent = make_agent(agent_config, 1, q_values.shape[-1], obs.shape[-1:])
    ours = agent.apply(params, obs[:, :, None], np.zeros(obs.shape[:2], bool))
    np.testing.assert_allclose(ours[:, :, 0], q_values, atol=1e-4)


def evaluate(agents: list, config: Config) -> np.ndarray:
    """Mean team return `[S]` of 25-step greedy episodes; the same episodes for everyone."""
    spec = get_task(TASK)
    mixer = make_mixer(MixerConfig(name="vdn"), spec.env.num_agents, spec.env.state_dim)
    program = make_program(spec.env, mixer, config)

    @jax.jit
    def play(params: NetworkParams) -> jax.Array:
        slots, _, _ = play_greedy(program, params, jax.random.key(123), NUM_EPISODES)
        return slots.reward.sum(axis=0).mean()

    return np.array([float(play(params)) for params in agents])


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
