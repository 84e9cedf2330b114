"""Measure what random and untrained play score: the catalog's `landmarks.json`.

    python benchmarks/landmarks.py                        every task that has no row yet
    python benchmarks/landmarks.py smax/3m hanabi         these, again
    python benchmarks/landmarks.py mpe/simple_spread num_agents=6
    python benchmarks/landmarks.py --best-known RUN...    from run directories: the scores after
                                                          training, where they beat the record
    python benchmarks/landmarks.py --scripted [TASK…]     Overcooked: what two scripted cooks that
                                                          read the whole state score, not a
                                                          learner's score; as above

Random: uniform legal actions. Untrained: greedy play of freshly initialised networks, built as
`qllm-jax train` builds them. Prints each row and writes the record after each task.
"""

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qllm_jax.runtime import configure_runtime

configure_runtime()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from measure_opponents import chase  # noqa: E402
from scripted_cooks import best_way, kitchen_names, scripted_policy  # noqa: E402

from qllm_jax.compose import compose_config  # noqa: E402
from qllm_jax.networks import MixerHyper, make_mixer  # noqa: E402
from qllm_jax.results import RunResult, final_scores  # noqa: E402
from qllm_jax.results.statistics import FINAL_EVALUATIONS  # noqa: E402
from qllm_jax.tasks import get_task, task_names  # noqa: E402
from qllm_jax.tasks.known_scores import (  # noqa: E402
    BEST_KNOWN,
    KNOWN_SCORES_FILE,
    RANDOM,
    UNTRAINED,
    KnownScore,
    read_known_scores,
)
from qllm_jax.tasks.rollout import finished_episodes, rollout  # noqa: E402
from qllm_jax.tasks.spec import TaskSpec  # noqa: E402
from qllm_jax.training import make_program  # noqa: E402
from qllm_jax.training.evaluation import evaluate  # noqa: E402
from qllm_jax.training.state import init_networks  # noqa: E402

_POLICIES = {"mpe/simple_tag": {"greedy chasers": chase}}  # beside uniform play
_SCRIPTED_EPISODES = 64  # the script is deterministic: starts and recipes are all that vary
_ROLLOUT_BYTES = 1 << 30  # what a rollout's states and observations may take


def main() -> None:
    """Parse the command line, measure, and write the record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tasks", nargs="*", help="task names; settings such as num_agents=6")
    parser.add_argument("--episodes", type=int, default=4096, help="of random play")
    parser.add_argument("--networks", type=int, default=256, help="fresh ones, untrained")
    parser.add_argument("--network-episodes", type=int, default=16, help="with each of them")
    parser.add_argument("--best-known", nargs="+", type=Path, metavar="RUN", default=[])
    parser.add_argument("--scripted", action="store_true", help="kitchens; all by default")
    args = parser.parse_args()
    if args.scripted:
        for name in args.tasks or kitchen_names():
            _record(scripted(get_task(name)), keep_better=True)
        return
    if args.best_known:
        for path in args.best_known:
            _record([_best_of(RunResult.load(path))], keep_better=True)
        return
    names = [word for word in args.tasks if "=" not in word]
    settings = {
        key: json.loads(value) for key, value in (s.split("=") for s in args.tasks if "=" in s)
    }
    known = {row.task for row in read_known_scores() if row.level == UNTRAINED}
    for name in names or [name for name in task_names() if name not in known]:
        spec = get_task(name, **settings)
        words = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
        words += [
            f"--{option.replace('_', '-')} {getattr(args, option)}"
            for option in ("episodes", "networks", "network_episodes")
            if getattr(args, option) != parser.get_default(option)
        ]
        command = " ".join(["python benchmarks/landmarks.py", name, *words])
        rows = [played(spec, RANDOM, args.episodes, command)]
        for level, policy in _POLICIES.get(name, {}).items():
            rows.append(played(spec, level, args.episodes, command, policy=policy))
        rows.append(untrained(spec, args.networks, args.network_episodes, command))
        _record(rows)


def played(spec: TaskSpec, level: str, episodes: int, command: str, **policy: Any) -> KnownScore:
    """At least `episodes` whole episodes of a policy without networks."""
    env = spec.env
    slots = env.episode_length + 1
    numbers = env.state_dim + env.num_agents * int(np.prod(env.obs_shape))
    envs = int(np.clip(_ROLLOUT_BYTES // (4 * slots * numbers), 8, min(512, episodes)))
    key, returns, outcomes = jax.random.key(0), [], []
    while len(returns) < episodes:
        key, key_play = jax.random.split(key)
        finished = finished_episodes(spec, rollout(env, key_play, envs, slots, **policy))
        returns += finished.returns[finished.first].tolist()
        outcomes += finished.outcomes[finished.first].tolist()
    return _row(spec, level, returns, outcomes, len(returns), command)


def untrained(spec: TaskSpec, networks: int, episodes: int, command: str) -> KnownScore:
    """Greedy play of `networks` fresh networks, `episodes` each; the error is over networks."""
    env = spec.env
    config = compose_config([f"task={spec.name}", f"runner.num_eval_episodes={episodes}"])
    mixer = make_mixer(
        dataclasses.replace(config.mixer, name="vdn"),
        env.num_agents,
        env.state_dim,
        num_actions=env.num_actions,
    )
    program = make_program(env, mixer, config, spec.outcome)
    hyper = MixerHyper(scale=jnp.ones(()), candidate=jnp.zeros((), jnp.int32))
    measure = jax.jit(lambda params, key: evaluate(program, params, hyper, key))
    returns, outcomes = [], []
    for number in range(networks):
        init_key, play_key = jax.random.split(jax.random.key(number))
        found = measure(init_networks(program, init_key), play_key)
        returns.append(float(found.episode_return))
        outcomes.append(float(found.outcome) if found.outcome is not None else 0.0)
    return _row(spec, UNTRAINED, returns, outcomes, networks * episodes, command)


def scripted(spec: TaskSpec) -> list[KnownScore]:
    """Scripted play with the whole state; no row where it is no better than random play."""
    command = f"python benchmarks/landmarks.py --scripted {spec.name}"
    policy = scripted_policy(spec, best_way(spec))
    row = played(spec, BEST_KNOWN, _SCRIPTED_EPISODES, command, policy=policy)
    return [row] if row.score > spec.landmarks.get(RANDOM, 0.0) else []


def _best_of(run: RunResult) -> KnownScore:
    """What a run's seeds score at its end, on average; the error is over seeds."""
    task = run.config["task"]
    spec = get_task(task["name"], **task["env_kwargs"])
    returns = final_scores(run.metrics["return"])
    outcomes = np.zeros_like(returns)
    if spec.outcome is not None:
        outcomes = final_scores(run.metrics[spec.outcome.metric])
    evaluations = min(FINAL_EVALUATIONS, max(run.metrics["return"].shape[1] - 1, 1))
    episodes = returns.size * evaluations * run.config["runner"]["num_eval_episodes"]
    words = [w for w in run.info["command"].split() if not w.startswith("runner.output_dir=")]
    return _row(spec, BEST_KNOWN, returns, outcomes, episodes, " ".join(words))


def _row(spec, level, returns, outcomes, episodes, command) -> KnownScore:
    return KnownScore(
        task=spec.name,
        env_kwargs=dict(spec.env_kwargs),
        level=level,
        score=_digits(np.mean(returns)),
        standard_error=_digits(np.std(returns) / len(returns) ** 0.5),
        outcome=None if spec.outcome is None else _digits(np.mean(outcomes)),
        episodes=episodes,
        command=command,
    )


def _digits(value: Any) -> float:
    return float(f"{float(value):.4g}")


def _record(rows: Sequence[KnownScore], *, keep_better: bool = False) -> None:
    """Put rows in the place of those of the same task, settings and level, and print them."""

    def key(row: KnownScore) -> tuple[str, str, str]:
        return row.task, json.dumps(row.env_kwargs, sort_keys=True), row.level

    record = {key(row): row for row in read_known_scores()}
    for row in rows:
        before = record.get(key(row))
        kept = keep_better and before is not None and before.score >= row.score
        record[key(row)] = before if kept and before is not None else row
        print(f"{row}{' (the record is better)' if kept else ''}", flush=True)
    listed = [json.dumps(dataclasses.asdict(record[name])) for name in sorted(record)]
    KNOWN_SCORES_FILE.write_text("[\n " + ",\n ".join(listed) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
