"""The sentences that open a report: what the statistics say, and no more. Called by `report`."""

import math
from collections.abc import Sequence

from qllm_jax.results.compare import ComparisonRow, untrained_row
from qllm_jax.results.report_data import Measure
from qllm_jax.results.statistics import Interval
from qllm_jax.results.table import format_interval


def separated(interval: Interval) -> int:
    """+1 or -1 where a difference's interval lies above or below 0, else 0."""
    return int(interval.low > 0) - int(interval.high < 0)


def headline(
    rows: Sequence[ComparisonRow], task: str, score: str = "return", outcome: Measure | None = None
) -> str:
    """What was found, in at most three sentences.

    "Above" and "below" are said only where the 95 % interval of the difference excludes 0; they are
    of the score. The first mixer's second measure is told beside it.
    """
    trained = [row for row in rows if row.trained and row.num_seeds > 0]
    if not trained:
        return f"Nothing has been evaluated after training on {task} yet."
    first, *others = trained
    seeds = f"{first.num_seeds} seed{'s' if first.num_seeds != 1 else ''}"
    each = " each" if first.num_seeds != 1 else ""
    second = ""
    if outcome is not None and first.outcome is not None:
        second = f" and an IQM {outcome.name} of {format_interval(first.outcome)}"
    text = (
        f"On {task}, {first.name} ends at an IQM {score} of {format_interval(first.final)}"
        f"{second} ({seeds}, {first.num_env_steps:,} environment steps{each})"
    )
    sentences = [text + _comparison_clause(first, others) + ".", _learning_sentence(trained)]
    return " ".join(sentence for sentence in sentences if sentence)


def _listed(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _comparison_clause(first: ComparisonRow, others: Sequence[ComparisonRow]) -> str:
    """Rows hold `other - first`; the clause says where the first is."""
    known: list[tuple[str, Interval]] = []
    unknown: list[str] = []
    for row in others:
        if row.difference is None or row.compared_at is None:
            continue
        early = row.compared_at < first.num_env_steps
        name = f"{row.name} (compared at {row.compared_at:,} steps)" if early else row.name
        if math.isnan(row.difference.low):
            unknown.append(name)
        else:
            known.append((name, row.difference))
    parts = []
    same = [name for name, difference in known if difference.low == difference.high == 0]
    if same:
        parts.append(f"the same as {_listed(same)}")
    known = [item for item in known if item[0] not in same]
    for side, words in ((-1, "above"), (1, "below"), (0, "not separable from")):
        names = [name for name, difference in known if separated(difference) == side]
        if names:
            parts.append(f"{words} {_listed(names)}")
    if unknown:
        parts.append(f"with too few seeds to compare it with {_listed(unknown)}")
    return f": {_listed(parts)}" if parts else ""


def _learning_sentence(trained: Sequence[ComparisonRow]) -> str:
    """Which mixers end above the untrained policy, intervals apart."""
    start = untrained_row(trained)
    if start is None or start.untrained is None:
        return ""
    level = format_interval(start.untrained)
    measurable = [row for row in trained if row.untrained is not None]
    if any(row.num_seeds < 2 for row in measurable):
        return f"The untrained policy scores {level}."
    above = [
        row.name
        for row in measurable
        if row.untrained is not None and row.final.low > row.untrained.high
    ]
    if len(above) == len(measurable):
        which = "It ends" if len(above) == 1 else "All end"
        return f"{which} above the untrained policy ({level}), intervals apart."
    if not above:
        return f"None ends above the untrained policy ({level}) with intervals apart."
    missing = [row.name for row in measurable if row.name not in above]
    return (
        f"Above the untrained policy ({level}) with intervals apart: {_listed(above)}; "
        f"not {_listed(missing)}."
    )
