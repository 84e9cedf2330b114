"""Curves of the measured candidates: return and TD error along their short trainings.

Called by `report_design`; the numbers behind a curve stand in the candidates' table as well.
"""

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from qllm_jax.results.report_data import CandidateRow
from qllm_jax.results.style import (
    FONT_SIZE,
    INK,
    MUTED,
    color_of,
    line_style_of,
    new_figure,
    plain_axes,
    short,
)
from qllm_jax.results.table import format_number, format_steps

_CHOSEN = "#009E73"
_POINTS = 10


def candidate_curves_figure(
    rows: Sequence[CandidateRow], *, score: str = "return", width: float = 8.6
) -> Figure | None:
    """Draw return and TD error of every measured arm; the chosen one thick, fixed arms in grey.

    Returns:
        The figure; None where nothing was measured.
    """
    drawn = [row for row in rows if len(row.curve) > 1]
    if not drawn:
        return None
    columns = 4 if width > 6 else 3
    legend_inches = 0.24 * -(-len(drawn) // columns) + 0.1
    height = 2.6 + legend_inches
    figure = new_figure(width, height)
    bottom, tall = (0.5 + legend_inches) / height, (2.6 - 0.65) / height
    wide = (width - 1.75) / 2 / width
    left = figure.add_axes((0.7 / width, bottom, wide, tall))
    right = figure.add_axes((1 - 0.15 / width - wide, bottom, wide, tall))
    _draw(left, drawn, f"mean {score}", lambda row: row.curve)
    _draw(right, drawn, "mean |TD error|", lambda row: row.td_error)
    legend = figure.legend(
        *left.get_legend_handles_labels(),
        loc="lower center",
        ncols=columns,
        frameon=False,
        fontsize=FONT_SIZE - 1,
        handlelength=2.6,
    )
    for text, row in zip(legend.get_texts(), drawn, strict=True):
        text.set_color(_CHOSEN if row.verdict == "chosen" else INK)
    return figure


def _draw(
    axes: Axes,
    rows: Sequence[CandidateRow],
    label: str,
    values_of: Callable[[CandidateRow], Sequence[float | None]],
) -> None:
    plain_axes(axes, "environment steps per seed", label)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_major_locator(MaxNLocator(4))
    for index, row in enumerate(rows):
        pairs = zip(row.env_steps, values_of(row), strict=False)
        known = [(step, value) for step, value in pairs if value is not None]
        chosen, fixed = row.verdict == "chosen", row.verdict == "arm"
        axes.plot(
            [step for step, _ in known],
            [value for _, value in known],
            color=_CHOSEN if chosen else MUTED if fixed else _color(index),
            linestyle="-" if chosen else line_style_of(index),
            linewidth=2.4 if chosen else 1.4,
            zorder=3 if chosen else 2,
            label=short(row.name),
        )


def _color(index: int) -> str:
    """A colour that the chosen candidate's is not."""
    others = [color_of(i) for i in range(7) if color_of(i) != _CHOSEN]
    return others[index % len(others)]


def curve_text(row: CandidateRow) -> str:
    """At most ten points of an arm's curves in lines; "" where it was not measured."""
    count = min(len(row.env_steps), len(row.curve))
    if not count:
        return ""
    # The untrained policy is left out where there are more points than are shown.
    first = 1 if count == _POINTS + 1 else 0
    shown = list(range(first, count))
    if len(shown) > _POINTS:
        shown = [round(i * (count - 1) / (_POINTS - 1)) for i in range(_POINTS)]
    lines = {
        "steps": [format_steps(row.env_steps[i]) for i in shown],
        "return": [format_number(row.curve[i], 2) for i in shown],
    }
    if row.td_error:
        errors = [row.td_error[i] if i < len(row.td_error) else None for i in shown]
        lines["TD error"] = ["–" if error is None else f"{error:.3g}" for error in errors]
    widths = [max(len(cells[i]) for cells in lines.values()) for i in range(len(shown))]
    return "\n".join(
        f"{name:<9}" + "  ".join(cell.rjust(w) for cell, w in zip(cells, widths, strict=True))
        for name, cells in lines.items()
    )
