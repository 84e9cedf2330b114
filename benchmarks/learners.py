"""Does every learner, as it is configured, end above its untrained self? Writes and prints a table.

python benchmarks/learners.py [--tasks matrix/climbing] [--seeds 4]

On matrix/climbing greedy play of untrained agents is no measure of knowing nothing: they share a
network and often choose the same action, which pays 11, 7 or 5, where the mean payoff is −3.4. A
row therefore also holds what uniformly random play earns (`landmarks`).
"""

import argparse
import json
import platform
from pathlib import Path

import jax

from qllm_jax.compose import compose_config
from qllm_jax.pipeline import train
from qllm_jax.results.statistics import bootstrap_interval
from qllm_jax.tasks import get_task

COMBINATIONS = (
    *(("dqn", mixer) for mixer in ("vdn", "tfcaf")),
    *(("pqn", mixer) for mixer in ("vdn", "tfcaf")),
    *(("mixed_critic", mixer) for mixer in ("vdn", "tfcaf")),
    *((learner, "vdn") for learner in ("ippo", "mappo", "coma", "maddpg")),  # these mix nothing
)
BUDGETS = {"matrix/climbing": 40_000, "mpe/simple_spread": 200_000}


def main() -> None:
    """Train every combination on every task; the evaluation before and the last one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", choices=list(BUDGETS), default=list(BUDGETS))
    parser.add_argument("--learners", nargs="+", default=sorted({name for name, _ in COMBINATIONS}))
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--env-steps", type=int, help="per seed, at least; else the task's budget")
    parser.add_argument("--runs", default="runs/learners", help="where run directories go")
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).parent / "results" / "learners.json"
    )
    args = parser.parse_args()
    result = json.loads(args.output.read_text()) if args.output.exists() else {}
    for task in args.tasks:
        for learner, mixer in COMBINATIONS:
            if learner in args.learners:
                result[f"{task} {learner} {mixer}"] = measure(task, learner, mixer, args)
                args.output.write_text(json.dumps(result, indent=2) + "\n")


def measure(task: str, learner: str, mixer: str, args: argparse.Namespace) -> dict:
    """One row: mean greedy return before training and after it, with 95 % intervals over seeds."""
    overrides = [f"task={task}", f"learner={learner}", f"mixer={mixer}"]
    env_steps = whole_budget(overrides, args.env_steps or BUDGETS[task])
    overrides += [
        f"runner.num_env_steps={env_steps}",
        f"runner.num_seeds={args.seeds}",
        "runner.num_evaluations=1",
        "runner.num_eval_episodes=256",
    ]
    config = compose_config([*overrides, f"runner.output_dir={args.runs}"])
    returns = train(config).metrics["return"]
    before, after = (bootstrap_interval(returns[:, at], "mean") for at in (0, -1))
    row = {
        "command": "qllm-jax train " + " ".join(overrides),
        "untrained": [float(before.point), float(before.low), float(before.high)],
        "trained": [float(after.point), float(after.low), float(after.high)],
        "landmarks": get_task(config.task.source, **config.task.env_kwargs).landmarks,
        "seeds_above_untrained": int((returns[:, -1] > returns[:, 0]).sum()),
        "seeds": args.seeds,
        "jax": jax.__version__,
        "machine": f"{platform.machine()}, {jax.devices()[0].device_kind}",
    }
    print(task, learner, mixer, json.dumps(row), flush=True)
    return row


def whole_budget(overrides: list[str], num_env_steps: int) -> int:
    """`num_env_steps` rounded up to whole iterations of a learner."""
    config = compose_config(overrides)
    env = get_task(config.task.source, **config.task.env_kwargs).env
    window = config.learner.window_length or env.episode_length + 1
    per_iteration = config.learner.num_envs * (window - 1)
    return -(-num_env_steps // per_iteration) * per_iteration


if __name__ == "__main__":
    main()
