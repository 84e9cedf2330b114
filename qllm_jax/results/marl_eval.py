"""Runs in the JSON format of marl-eval, for its plots and tables.

{environment: {task: {algorithm: {seed_k: {step_i: {step_count, metric: [value]}, …,
absolute_metrics: {metric: [value]}}}}}}, https://github.com/instadeepai/marl-eval.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from qllm_jax.results.statistics import final_scores
from qllm_jax.results.store import RunResult

_OURS = frozenset(  # measured by the learner, not by the task
    (
        *("loss", "td_error", "q_tot", "grad_norm", "epsilon", "alive", "diverged"),
        *("credit_uniform", "credit_zero", "credit_mean", "credit_std", "env_steps"),
    )
)


def marl_eval_data(runs: Sequence[RunResult]) -> dict[str, Any]:
    """What marl-eval reads: greedy scores of every seed and evaluation.

    Args:
        runs: Of one task or several. A run's algorithm is its name; equal ones are numbered.

    Returns:
        Plain values. Metrics are `return` and the task's outcome where it has one; absolute metrics
        are each seed's final performance, the mean of its last evaluations.
    """
    data: dict[str, Any] = {}
    for run in runs:
        environment, _, task = str(run.info.get("task")).partition("/")
        algorithms = data.setdefault(environment, {}).setdefault(task or environment, {})
        name, number = run.name, 2
        while name in algorithms:
            name, number = f"{run.name}_{number}", number + 1
        algorithms[name] = _seeds(run)
    return data


def _seeds(run: RunResult) -> dict[str, Any]:
    scores = {
        key: np.asarray(values, np.float64)
        for key, values in run.metrics.items()
        if key not in _OURS and np.ndim(values) == 2
    }
    steps = run.metrics["env_steps"].tolist()
    ids = run.info.get("seeds") or range(len(scores["return"]))
    seeds: dict[str, Any] = {}
    for row, seed in enumerate(ids):
        entry: dict[str, Any] = {
            f"step_{index}": {
                "step_count": int(count),
                **{key: [float(values[row, index])] for key, values in scores.items()},
            }
            for index, count in enumerate(steps)
        }
        entry["absolute_metrics"] = {
            key: [float(final_scores(values)[row])] for key, values in scores.items()
        }
        seeds[f"seed_{seed}"] = entry
    return seeds
