"""The candidates of the design loop as a `Table`, live and at the end."""

from collections.abc import Sequence

from qllm_jax.results.report_data import CandidateRow
from qllm_jax.results.statistics import Interval
from qllm_jax.results.table import Table, format_count, format_interval


def score_interval(row: CandidateRow) -> Interval | None:
    """The measured score of a candidate; None where it was not measured."""
    if row.score is None:
        return None
    low = float("nan") if row.low is None else row.low
    high = float("nan") if row.high is None else row.high
    return Interval(row.score, low, high)


def format_dollars(value: float | None) -> str:
    """`$0.0123`; "unknown" where no price is known."""
    return "unknown" if value is None else f"${value:.4f}" if value < 1 else f"${value:.2f}"


def synthesis_table(rows: Sequence[CandidateRow], title: str = "Candidates") -> Table:
    """Round, candidate, state, score with interval, tokens and money."""
    cells = []
    for row in rows:
        interval = score_interval(row)
        state = f"{row.verdict} ({row.rule})" if row.rule else row.verdict
        fixed = row.verdict == "arm"
        cells.append(
            (
                "–" if fixed else str(row.round),
                row.name,
                state,
                "–" if interval is None else format_interval(interval),
                "–" if fixed or row.tokens is None else format_count(row.tokens),
                "–" if fixed or row.tokens is None else format_dollars(row.dollars),
            )
        )
    return Table(
        title=title,
        columns=("round", "candidate", "state", "score [95 % interval]", "tokens", "money"),
        rows=tuple(cells),
        numeric=(True, False, False, True, True, True),
        strong=tuple(index for index, row in enumerate(rows) if row.verdict == "chosen"),
    )
