"""The lineage of candidates as a figure: who came from whom, what became of it, how it scored."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from qllm_jax.results.report_data import CandidateRow
from qllm_jax.results.statistics import Interval
from qllm_jax.results.style import FONT_SIZE, INK, MUTED, RULE, new_figure, plain_axes, short
from qllm_jax.results.synthesis_table import score_interval
from qllm_jax.results.table import format_interval

_ROW_INCHES = 0.3
_STYLES = {  # verdict: (face, edge, marker)
    "chosen": ("#009E73", "#009E73", "o"),
    "kept": ("#0072B2", "#0072B2", "o"),
    "measured": ("#0072B2", "#0072B2", "o"),
    "repaired": ("#0072B2", "#0072B2", "o"),
    "duplicate": ("white", MUTED, "o"),
    "refused": ("#D55E00", "#D55E00", "x"),
    "failed": ("#D55E00", "#D55E00", "x"),
    "arm": ("white", INK, "D"),
}


def lineage_figure(
    rows: Sequence[CandidateRow], *, score: str = "return", width: float = 8.6
) -> Figure | None:
    """Draw candidates one a row: the tree over rounds at the left, measured scores at the right.

    Returns:
        The figure; None without candidates.
    """
    if not rows:
        return None
    height = _ROW_INCHES * len(rows) + 0.75
    figure = new_figure(width, height)
    bottom, tall = 0.5 / height, (height - 0.72) / height
    measured = [row for row in rows if row.score is not None]
    names = 0.9 if width > 6 else 0.62
    tree_width = (0.34 if measured else 0.6) * width
    tree = figure.add_axes((0.12 / width, bottom, (tree_width - 0.12) / width, tall))
    limits = (len(rows) - 0.5, -0.5)
    tree.set_ylim(*limits)
    _draw_tree(tree, rows)
    if measured:
        left = (tree_width + names + 0.25) / width
        scores = figure.add_axes((left, bottom, 1 - left - 0.25 / width, tall))
        scores.set_ylim(*limits)
        _draw_scores(scores, rows, score, labelled=width > 6)
    return figure


def _draw_tree(axes: Axes, rows: Sequence[CandidateRow]) -> None:
    columns = sorted({row.round for row in rows})
    place = {row.name: (columns.index(row.round), index) for index, row in enumerate(rows)}
    for row in rows:
        x, y = place[row.name]
        if row.parent in place:
            above, before = place[row.parent]
            axes.annotate(
                "",
                xy=(x, y),
                xytext=(above, before),
                arrowprops={
                    "arrowstyle": "-",
                    "color": "#a8b0ba",
                    "linewidth": 1.0,
                    "connectionstyle": "arc3,rad=0.12",
                },
                zorder=1,
            )
        axes.axhline(y, color="#f1f3f5", linewidth=0.8, zorder=0)
        face, edge, marker = _STYLES.get(row.verdict, ("white", MUTED, "o"))
        axes.plot(
            [x],
            [y],
            marker=marker,
            markersize=7,
            markerfacecolor=face,
            markeredgecolor=edge,
            markeredgewidth=1.8 if marker == "x" else 1.2,
        )
        axes.annotate(
            f"{short(row.name)}  {row.verdict}",
            xy=(len(columns) - 0.62, y),
            va="center",
            color=edge if row.verdict in ("chosen", "refused", "failed") else INK,
            fontsize=FONT_SIZE - 1,
            fontweight="bold" if row.verdict == "chosen" else "normal",
            annotation_clip=False,
        )
    axes.set_xlim(-0.35, len(columns) - 0.35)
    axes.set_xticks(range(len(columns)), ["fixed" if c == 0 else f"round {c}" for c in columns])
    axes.xaxis.tick_top()
    axes.tick_params(colors=MUTED, labelsize=FONT_SIZE - 1.5, length=0, pad=1)
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _draw_scores(axes: Axes, rows: Sequence[CandidateRow], score: str, labelled: bool) -> None:
    plain_axes(axes, f"measured {score}, 95 % interval")
    axes.grid(visible=False)
    axes.grid(axis="x", color="#eceff2", linewidth=0.8)
    axes.spines["left"].set_visible(False)
    axes.set_yticks([])
    axes.xaxis.set_major_locator(MaxNLocator(5))
    for y, row in enumerate(rows):
        axes.axhline(y, color="#f1f3f5", linewidth=0.8, zorder=0)
        interval = score_interval(row)
        if interval is None:
            continue
        face, edge, marker = _STYLES.get(row.verdict, ("white", MUTED, "o"))
        if math.isfinite(interval.low):
            axes.plot([interval.low, interval.high], [y, y], color=edge, linewidth=1.6)
        axes.plot(
            [interval.point],
            [y],
            marker=marker,
            markersize=6,
            markerfacecolor=face,
            markeredgecolor=edge,
        )
        if row.verdict == "chosen":
            axes.axvline(interval.point, color=RULE, linewidth=0.9, zorder=0)
    for y, row in enumerate(rows):
        interval = score_interval(row)
        if labelled and row.verdict == "chosen" and interval and math.isfinite(interval.low):
            _label_chosen(axes, interval, y)


def _label_chosen(axes: Axes, interval: Interval, y: int) -> None:
    """The chosen score in numbers, on the side where there is room."""
    low, high = axes.get_xlim()
    right = interval.point > (low + high) / 2
    axes.annotate(
        format_interval(interval),
        xy=(interval.low if right else interval.high, y),
        xytext=(-6 if right else 6, 0),
        textcoords="offset points",
        ha="right" if right else "left",
        va="center",
        fontsize=FONT_SIZE - 1.5,
        fontweight="bold",
        color=_STYLES["chosen"][1],
    )
