"""How long translating a function takes, and verifying it with a warm child.

    python benchmarks/translate_verify.py [--task mpe/simple_spread] [--output times.json]

The functions are those of the test corpus, as language models write them. With `--task` only those
written for the task's sizes are taken, and they are verified on the task's states; without, on
random ones.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from qllm_jax.tasks import get_task
from qllm_jax.tfcaf import TranslationError, translate
from qllm_jax.verify import verify
from qllm_jax.verify.pool import POOL

CORPUS = Path(__file__).resolve().parents[1] / "tests" / "tfcaf" / "corpus" / "honest"
TRANSLATE_LIMIT_S, VERIFY_LIMIT_S = 0.05, 5.0


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a table, write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", help="verify on this task's states")
    parser.add_argument("--functions", type=int, default=1000, help="at most so many")
    parser.add_argument("--repeats", type=int, default=3, help="translations of each; the median")
    parser.add_argument("--output", type=Path, help="write the numbers here, as JSON")
    args = parser.parse_args(argv)
    entries = _entries(args.task)[: args.functions]
    POOL.warm_up()
    if args.task is not None:  # compiles the rollouts, once per process
        first = entries[0]
        verify(translate(_text(first), first["num_agents"], first["state_dim"]), task=args.task)
    rows = [_measure(entry, args.task, args.repeats) for entry in entries]
    print(_table(rows))
    if args.output is not None:
        args.output.write_text(json.dumps(_record(args.task, rows), indent=2) + "\n")
        print(f"written to {args.output}")
    return 0


def _entries(task: str | None) -> list[dict[str, Any]]:
    entries = json.loads((CORPUS / "index.json").read_text())
    if task is None:
        return entries
    env = get_task(task).env
    sizes = (env.num_agents, env.state_dim)
    return [entry for entry in entries if (entry["num_agents"], entry["state_dim"]) == sizes]


def _text(entry: dict[str, Any]) -> str:
    return (CORPUS / f"{entry['name']}.md").read_text()


def _measure(entry: dict[str, Any], task: str | None, repeats: int) -> dict[str, Any]:
    """Seconds of one function's translation (median of `repeats`) and verification (once)."""
    seconds = []
    row = {"name": entry["name"], "dialect": entry["dialect"]}
    for _ in range(repeats):
        started = time.perf_counter()
        try:
            translation = translate(_text(entry), entry["num_agents"], entry["state_dim"])
        except TranslationError as error:
            return row | {"refused": error.rule}
        seconds.append(time.perf_counter() - started)
    report = verify(translation, task=task)
    return row | {
        "translate_s": statistics.median(seconds),
        "verify_s": report.seconds,
        "passed": report.passed,
        "failed": [c.name for c in report.checks if c.required and not c.passed],
        "igm": report.igm.split(" on ")[0],
    }


def _table(rows: list[dict[str, Any]]) -> str:
    measured = [row for row in rows if "verify_s" in row]
    lines = [f"{'dialect':<10}{'n':>4}{'translate ms':>24}{'verify s':>24}",
             f"{'':<14}{'median   90 %    max':>24}{'median   90 %    max':>24}"]  # fmt: skip
    groups = [*sorted({row["dialect"] for row in measured}), "all"]
    for group in groups:
        chosen = [row for row in measured if group in (row["dialect"], "all")]
        translate_ms = _spread([1000 * row["translate_s"] for row in chosen], 1)
        verify_s = _spread([row["verify_s"] for row in chosen], 2)
        lines.append(f"{group:<10}{len(chosen):>4}{translate_ms:>24}{verify_s:>24}")
    for what, limit, key in (
        ("translated within 50 ms", TRANSLATE_LIMIT_S, "translate_s"),
        ("verified within 5 s", VERIFY_LIMIT_S, "verify_s"),
    ):
        good = sum(row[key] < limit for row in measured)
        lines.append(f"{what}: {good} of {len(measured)}")
    refused = [f"{row['name']} ({row['refused']})" for row in rows if "refused" in row]
    failed = [f"{row['name']} ({', '.join(row['failed'])})" for row in measured if row["failed"]]
    lines.append(f"not translated: {', '.join(refused) or 'none'}")
    lines.append(f"failed verification: {', '.join(failed) or 'none'}")
    return "\n".join(lines)


def _spread(numbers: list[float], digits: int) -> str:
    ordered = sorted(numbers)
    picked = (statistics.median(ordered), ordered[int(0.9 * (len(ordered) - 1))], ordered[-1])
    return "".join(f"{number:>8.{digits}f}" for number in picked)


def _record(task: str | None, rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "task": task,
        "python": platform.python_version(),
        "jax": jax.__version__,
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "functions": rows,
    }


if __name__ == "__main__":
    sys.exit(main())
