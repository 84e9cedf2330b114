"""What does the adapter cost? Its step against the bare vmapped environment's, in one run.

    python benchmarks/env_step.py [task ...] [--envs 1 128 4096] [--output FILE]

Both play random actions in a scan. "bare" is JaxMARL's `step` with its auto-reset, which its
training loops need; ours resets as our collector does, between the episodes where all have one
length. "step alone" compares with `step_env`, without resets on either side. Rates are medians of
interleaved repetitions; a ratio above 0.9 means that the adapter costs less than a tenth. Tasks
with a fixed opponent are not here: the opponent's network is the task, not the adapter.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from operator import itemgetter
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qllm_jax.tasks import get_task
from qllm_jax.tasks.lazy import jaxmarl


def _matrix() -> Any:
    from qllm_jax.envs.matrix import MatrixGame

    return MatrixGame([[11, -30, 0], [-30, 7, 0], [0, 6, 5]])


def _foraging() -> Any:
    from qllm_jax.envs.lbf import LevelBasedForaging

    return LevelBasedForaging(8, 2, 2, 2, force_coop=True)


def _battle() -> Any:
    from jaxmarl.environments.smax import map_name_to_scenario

    return jaxmarl().make("HeuristicEnemySMAX", scenario=map_name_to_scenario("3m"))


# The environments without the adapter, one task or more of every family.
BARE: dict[str, Callable[[], Any]] = {
    "hanabi": lambda: jaxmarl().make("hanabi"),
    "lbf/8x8-2p-2f-coop": _foraging,
    "matrix/climbing": _matrix,
    "mpe/simple_reference": lambda: jaxmarl().make("MPE_simple_reference_v3"),
    "mpe/simple_speaker_listener": lambda: jaxmarl().make("MPE_simple_speaker_listener_v4"),
    "mpe/simple_spread": lambda: jaxmarl().make("MPE_simple_spread_v3"),
    "overcooked/cramped_room": lambda: jaxmarl().make("overcooked"),
    "overcooked_v2/cramped_room": lambda: jaxmarl().make("overcooked_v2"),
    "smax/3m": _battle,
    "switch_riddle": lambda: jaxmarl().make("switch_riddle", num_agents=3),
}


def bare_run(env, num_envs: int, num_steps: int, with_reset: bool):
    """`key -> checksum`, with observations, state and rewards kept alive."""
    step_fn = env.step if with_reset else env.step_env
    counts = [env.action_space(agent).n for agent in env.agents]

    def one(key, state):
        key_action, key_step = jax.random.split(key)
        draws = jax.random.randint(key_action, (len(counts),), 0, jnp.asarray(counts))
        actions = dict(zip(env.agents, draws, strict=True))
        obs, state, rewards, dones, _ = step_fn(key_step, state, actions)
        seen = sum(obs[agent].astype(jnp.float32).sum() for agent in env.agents)
        total = seen + sum(rewards[agent] for agent in env.agents)
        return state, total + dones["__all__"]

    def run(key):
        key_reset, key_steps = jax.random.split(key)
        _, states = jax.vmap(env.reset)(jax.random.split(key_reset, num_envs))

        def body(states, key):
            states, total = jax.vmap(one)(jax.random.split(key, num_envs), states)
            return states, total.sum()

        return jax.lax.scan(body, states, jax.random.split(key_steps, num_steps))[1].sum()

    return jax.jit(run)


def adapted_run(spec, raw, num_envs: int, num_steps: int, with_reset: bool):
    """The same through the adapter; resets as the collector does (`training.rollout`).

    Where no episode ends early and a window holds one, it resets between windows and asks nothing
    in a step; elsewhere it chooses between the step and a reset in every step.
    """
    env = spec.env
    between = with_reset and env.fixed_length
    block = min(num_steps, env.episode_length) if between else num_steps
    counts = jnp.asarray([raw.action_space(agent).n for agent in spec.agent_names])

    def one(key, state):
        key_action, key_step = jax.random.split(key)
        actions = jax.random.randint(key_action, (env.num_agents,), 0, counts)
        new_state, new_step = env.step(key_step, state, actions)
        if with_reset and not between:
            over = new_step.terminated | new_step.truncated
            fresh = env.reset(key_step)
            new_state, new_step = jax.tree.map(
                lambda a, b: jnp.where(over, a, b), fresh, (new_state, new_step)
            )
        total = new_step.obs.sum() + new_step.reward + new_step.terminated + new_step.truncated
        return new_state, total

    def run_block(total, key):
        key_reset, key_steps = jax.random.split(key)
        states, _ = jax.vmap(env.reset)(jax.random.split(key_reset, num_envs))

        def body(states, key):
            states, total = jax.vmap(one)(jax.random.split(key, num_envs), states)
            return states, total.sum()

        totals = jax.lax.scan(body, states, jax.random.split(key_steps, block))[1]
        return total + totals.sum(), None

    def run(key):
        keys = jax.random.split(key, num_steps // block)
        return jax.lax.scan(run_block, jnp.zeros(()), keys)[0]

    return jax.jit(run)


def rates(runs, num_env_steps: int, repetitions: int) -> list[float]:
    """Median steps per second of each, interleaved so that a drifting machine is fair."""
    key = jax.random.key(0)
    for run in runs:
        run(key).block_until_ready()
    seconds = np.zeros((repetitions, len(runs)))
    for repetition in range(repetitions):
        for i, run in enumerate(runs):
            begin = time.perf_counter()
            run(key).block_until_ready()
            seconds[repetition, i] = time.perf_counter() - begin
    return (num_env_steps / np.median(seconds, axis=0)).tolist()


def measure(task: str, num_envs: int, num_env_steps: int, repetitions: int) -> dict[str, Any]:
    """Steps per second of both, with resets and without, and their ratios."""
    spec, raw = get_task(task), BARE[task]()
    num_steps = max(32, min(2000, num_env_steps // num_envs))
    if spec.env.fixed_length and num_steps > spec.env.episode_length:
        num_steps -= num_steps % spec.env.episode_length
    sizes = (num_envs, num_steps)
    bare, adapted, bare_alone, alone = rates(
        [
            bare_run(raw, *sizes, with_reset=True),
            adapted_run(spec, raw, *sizes, with_reset=True),
            bare_run(raw, *sizes, with_reset=False),
            adapted_run(spec, raw, *sizes, with_reset=False),
        ],
        num_envs * num_steps,
        repetitions,
    )
    return {
        "task": task,
        "num_envs": num_envs,
        "num_steps": num_steps,
        "bare_per_s": round(bare),
        "adapter_per_s": round(adapted),
        "ratio": round(adapted / bare, 3),
        "step_alone_ratio": round(alone / bare_alone, 3),
    }


def record_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write the rows into a file, in place of those that it has for the same tasks and widths."""
    key = itemgetter("task", "num_envs")
    kept = json.loads(path.read_text())["rows"] if path.exists() else []
    by_key = {key(row): row for row in [*kept, *rows]}
    record = {
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
        "cpus": os.cpu_count(),
        "rows": [by_key[at] for at in sorted(by_key)],
    }
    path.write_text(json.dumps(record, indent=1) + "\n")


def main() -> None:
    """Measure every task at every width."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", nargs="*", default=sorted(BARE), metavar="task")
    parser.add_argument("--envs", type=int, nargs="*", default=[1, 128, 4096])
    parser.add_argument("--env-steps", type=int, default=100_000, help="a repetition's, about")
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--output", type=Path, help="where to write the figures as JSON")
    args = parser.parse_args()
    print(f"{'task':28}{'envs':>6}{'bare/s':>12}{'adapter/s':>12}{'ratio':>7}{'step alone':>12}")
    rows = []
    for task in args.tasks:
        for num_envs in args.envs:
            row = measure(task, num_envs, args.env_steps, args.repetitions)
            row["command"] = (
                f"env_step.py {task} --envs {num_envs} --env-steps {args.env_steps} "
                f"--repetitions {args.repetitions}"
            )
            rows.append(row)
            print(
                f"{task:28}{num_envs:6}{row['bare_per_s']:12,}{row['adapter_per_s']:12,}"
                f"{row['ratio']:7.2f}{row['step_alone_ratio']:12.2f}",
                flush=True,
            )
    if args.output is not None:
        record_rows(args.output, rows)


if __name__ == "__main__":
    main()
