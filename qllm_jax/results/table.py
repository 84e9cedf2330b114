"""`Table`: cells as text, shown alike in a terminal, in Markdown and in a report."""

import dataclasses
import math
from collections.abc import Sequence

from qllm_jax.results.statistics import Interval


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of text under headings.

    Attributes:
        title: Shown above.
        columns: Headings.
        rows: Cells, one per column.
        numeric: Per column, whether it is set flush right.
        notes: Sentences below.
        strong: Indices of rows to stress.
        weak: Indices of rows for reference only.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...]
    notes: tuple[str, ...] = ()
    strong: tuple[int, ...] = ()
    weak: tuple[int, ...] = ()


def markdown(table: Table) -> str:
    """A GitHub table with its notes as one paragraph; pipes in cells are escaped."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    rule = ["---:" if right else "---" for right in table.numeric]
    lines = [line(table.columns), line(rule), *(line(row) for row in table.rows)]
    if table.notes:
        lines += ["", " ".join(table.notes)]
    return "\n".join(lines) + "\n"


def plain_text(table: Table) -> str:
    """Aligned plain text without control characters, for logs and pipes."""
    widths = [
        max(len(cell) for cell in cells) for cells in zip(table.columns, *table.rows, strict=True)
    ]

    def line(cells: Sequence[str]) -> str:
        parts = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, widths, table.numeric, strict=True)
        ]
        return "  ".join(parts).rstrip()

    rule = "  ".join("-" * width for width in widths)
    head = [table.title] if table.title else []
    return "\n".join(
        [*head, line(table.columns), rule, *(line(row) for row in table.rows), *table.notes]
    )


def decimals_for(interval: Interval) -> int:
    """Decimals that show two significant digits of the interval's width."""
    width = interval.high - interval.low
    if not math.isfinite(width) or width <= 0:
        width = abs(interval.point) / 50 or 1.0
    if not math.isfinite(width):
        return 2
    return min(max(1 - math.floor(math.log10(width)), 0), 4)


def format_number(value: float, decimals: int, sign: bool = False) -> str:
    """Fixed decimals, thousands separated, a true minus sign; "–" where there is no value."""
    if value is None or not math.isfinite(value):
        return "–"
    text = f"{value:{'+' if sign else ''},.{decimals}f}"
    if float(text.replace(",", "")) == 0:
        text = text.lstrip("+-")
    return text.replace("-", "−")


def format_significant(value: float) -> str:
    """Four significant digits, a true minus sign; "–" where there is no value."""
    return f"{value:.4g}".replace("-", "−") if math.isfinite(value) else "–"


def format_ends(interval: Interval, sign: bool = False, decimals: int | None = None) -> str:
    """`[low, high]`, or "–" where there is no interval."""
    if not (math.isfinite(interval.low) and math.isfinite(interval.high)):
        return "–"
    places = decimals_for(interval) if decimals is None else decimals
    low, high = (format_number(end, places, sign) for end in (interval.low, interval.high))
    return f"[{low}, {high}]"


def format_interval(interval: Interval, sign: bool = False, decimals: int | None = None) -> str:
    """`point [low, high]`, with decimals that fit the interval's width."""
    places = decimals_for(interval) if decimals is None else decimals
    point = format_number(interval.point, places, sign)
    ends = format_ends(interval, sign, places)
    return point if ends == "–" else f"{point} {ends}"


def format_count(value: float | None) -> str:
    """A whole number with thousands separated; "–" where there is none."""
    return "–" if value is None or not math.isfinite(value) else f"{round(value):,}"


def format_seconds(value: float | None) -> str:
    """`8.2 s`, `75 s`, `12 min 30 s`, `3 h 05 min`."""
    if value is None or not math.isfinite(value):
        return "–"
    if value < 9.95:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def format_rate(value: float | None) -> str:
    """Environment steps per second: `870`, `10.3k`, `3.05M`."""
    if value is None or not math.isfinite(value):
        return "–"
    for factor, letter, places in ((1e6, "M", 2), (1e3, "k", 1)):
        if value >= factor:
            return f"{value / factor:.{places}f}{letter}"
    return f"{value:.0f}"


def format_steps(value: float | None) -> str:
    """Environment steps to three digits: `800`, `110k`, `1.2M`."""
    if value is None or not math.isfinite(value):
        return "–"
    for factor, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.3g}{letter}" if value < 999.5 * factor else "1000" + letter
    return f"{value:.0f}"
