"""Measure what random legal play scores on tasks: the numbers in the catalog's tables.

    python benchmarks/landmarks.py mpe/simple_spread num_agents=6 --episodes 20000

Prints the mean return, its standard error, the task's second measure and how many episodes.
"""

import argparse
import json

import jax
import numpy as np

from qllm_jax.tasks import get_task
from qllm_jax.tasks.rollout import finished_episodes, rollout


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task")
    parser.add_argument("settings", nargs="*", help="such as num_agents=6")
    parser.add_argument("--episodes", type=int, default=20000)
    parser.add_argument("--envs", type=int, default=512)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    settings = {key: json.loads(value) for key, value in (s.split("=") for s in args.settings)}
    spec = get_task(args.task, **settings)
    key, returns, outcomes = jax.random.key(args.seed), [], []
    while len(returns) < args.episodes:
        key, key_play = jax.random.split(key)
        played = rollout(spec.env, key_play, args.envs, 4 * (spec.env.episode_length + 1))
        finished = finished_episodes(spec, played)
        returns += finished.returns.tolist()
        outcomes += finished.outcomes.tolist()
    error = np.std(returns) / len(returns) ** 0.5
    print(f"{args.task} {settings or ''}: return {np.mean(returns):.4g} ± {error:.2g}, ", end="")
    second = f"{spec.outcome.name} {np.mean(outcomes):.4g}, " if spec.outcome else ""
    print(f"{second}{len(returns)} episodes")


if __name__ == "__main__":
    main()
