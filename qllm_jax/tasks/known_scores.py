"""What is on record about a task: what random, untrained, trained and scripted play score there.

The catalog's `landmarks.json` is measured, and written by `benchmarks/landmarks.py` alone; what can
be proved, such as the best possible return of a matrix game, stands in the task's own module.
Called by the registry.
"""

import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qllm_jax.tasks.spec import TaskSpec

KNOWN_SCORES_FILE = Path(__file__).parent / "catalog" / "landmarks.json"
RANDOM, UNTRAINED, BEST_KNOWN = "random", "untrained", "best known"
_ORDER = (RANDOM, UNTRAINED)  # first in tables; then the task's own, then the rest


@dataclasses.dataclass(frozen=True)
class KnownScore:
    """One level of play on one task, measured.

    Attributes:
        task: Task id.
        env_kwargs: The settings that it was measured with.
        level: `RANDOM` (uniform legal actions), `UNTRAINED` (greedy play of fresh networks, which
            is where a learning curve starts), `BEST_KNOWN` (after training, or of a script that
            may read the whole state: `command` says which), or a policy's own name.
        score: Mean return of an episode.
        standard_error: Of that mean, over episodes; over networks or seeds where there are several.
        outcome: Mean of the task's second measure; None where it has none.
        episodes: How many were played.
        command: What measured it.
    """

    task: str
    env_kwargs: Mapping[str, Any]
    level: str
    score: float
    standard_error: float
    outcome: float | None
    episodes: int
    command: str


def read_known_scores(path: Path = KNOWN_SCORES_FILE) -> list[KnownScore]:
    """All rows of the record, in its order; none where there is no record."""
    if not path.is_file():
        return []
    return [KnownScore(**row) for row in json.loads(path.read_text(encoding="utf-8"))]


def with_known_scores(spec: TaskSpec) -> TaskSpec:
    """The task with what was measured on it, at its very settings, beside what is proved of it."""
    rows = _rows_of(spec.name, json.dumps(dict(spec.env_kwargs), sort_keys=True))
    outcome = spec.outcome
    if outcome is not None:
        measured = {row.level: row.outcome for row in rows if row.outcome is not None}
        outcome = dataclasses.replace(outcome, landmarks=_merged(measured, outcome.landmarks))
    landmarks = _merged({row.level: row.score for row in rows}, spec.landmarks)
    return dataclasses.replace(spec, landmarks=landmarks, outcome=outcome)


def _merged(measured: Mapping[str, float], proved: Mapping[str, float]) -> dict[str, float]:
    """Random and untrained play first, then what is proved (which wins), then the rest."""
    known = {**measured, **proved}
    order = [*_ORDER, *proved, *measured]
    return {level: known[level] for level in dict.fromkeys(order) if level in known}


def _rows_of(task: str, env_kwargs: str) -> list[KnownScore]:
    return _record().get((task, env_kwargs), [])


@functools.cache
def _record() -> dict[tuple[str, str], list[KnownScore]]:
    record: dict[tuple[str, str], list[KnownScore]] = {}
    for row in read_known_scores():
        key = (row.task, json.dumps(row.env_kwargs, sort_keys=True))
        record.setdefault(key, []).append(row)
    return record
