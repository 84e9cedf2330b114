"""Learning curves, and the picture of a whole job for a README."""

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import EngFormatter, MaxNLocator

from qllm_jax.results.compare import UNTRAINED, curve, has_scores, untrained_interval
from qllm_jax.results.credit_figure import credit_heights, draw_credit
from qllm_jax.results.report_data import EpisodeFigure, RunSummary
from qllm_jax.results.statistics import Interval, curve_interval
from qllm_jax.results.style import (
    FONT_SIZE,
    MUTED,
    color_of,
    line_style_of,
    new_figure,
    plain_axes,
    short,
    spread_labels,
)

_POINTS_PER_INCH = 72


def curves_figure(
    runs: Sequence[RunSummary],
    *,
    score: str = "return",
    landmarks: Mapping[str, float] | None = None,
    bands: Sequence[Interval | None] | None = None,
    width: float = 8.6,
    height: float = 4.2,
) -> Figure | None:
    """Learning curves: IQM over seeds with its 95 % band, labelled at their ends.

    Args:
        runs: Colours follow their order; those without evaluations are left out.
        score: What the numbers are.
        landmarks: Known scores, drawn as levels.
        bands: From `curve_bands`, where the figure is drawn more than once.
        width: Inches.
        height: Inches.

    Returns:
        The figure; None where no run has an evaluation.
    """
    figure = new_figure(width, height)
    bands = curve_bands(runs) if bands is None else bands
    return figure if _draw_curves(figure, runs, score, landmarks or {}, bands) else None


def curve_bands(runs: Sequence[RunSummary]) -> list[Interval | None]:
    """The IQM curve and band [E] of every run; None for a run without evaluations."""
    return [curve_interval(curve(run)[0]) if _is_drawn(run) else None for run in runs]


def _is_drawn(run: RunSummary) -> bool:
    return has_scores(run) and len(curve(run)[0]) > 0


def _draw_curves(
    figure: Figure | SubFigure,
    runs: Sequence[RunSummary],
    score: str,
    landmarks: Mapping[str, float],
    bands: Sequence[Interval | None],
) -> bool:
    pairs = [(run, band) for run, band in zip(runs, bands, strict=True) if band is not None]
    drawn = [run for run, _ in pairs]
    if not drawn:
        return False
    width, height = figure.bbox.width / figure.dpi, figure.bbox.height / figure.dpi
    left, right, bottom, top = 0.72 / width, 1 - 1.5 / width, 0.52 / height, 1 - 0.15 / height
    axes = figure.add_axes((left, bottom, right - left, top - bottom))
    plain_axes(axes, "environment steps per seed", f"greedy {score}, IQM over seeds")
    labels: list[tuple[float, str, str, bool]] = []
    last_step = max(int(curve(run)[1][-1]) for run in drawn)
    for index, (run, band) in enumerate(pairs):
        end = _draw_curve(axes, run, band, index, last_step)
        if end is not None:
            labels.append((end, short(run.name), color_of(index), True))
    levels = {**landmarks}
    untrained = untrained_interval(drawn[0])
    if untrained is not None:
        levels[UNTRAINED] = untrained.point  # these runs' own says more than the record
    for name, value in levels.items():
        if not math.isfinite(value):
            continue
        axes.axhline(value, color=MUTED, linewidth=0.9, linestyle=(0, (1, 2.2)), zorder=1)
        labels.append((float(value), short(name), MUTED, False))
    axes.set_xlim(0, max(last_step, 1))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_major_locator(MaxNLocator(5 if width > 6 else 4))
    _label_right(axes, labels)
    return True


def _draw_curve(
    axes: Axes, run: RunSummary, interval: Interval, index: int, last_step: int
) -> float | None:
    """Draw one curve; returns where it ends, or None where it stops early and is labelled there."""
    scores, steps = curve(run)
    color, style = color_of(index), line_style_of(index)
    if len(scores) > 1:
        axes.fill_between(steps, interval.low, interval.high, color=color, alpha=0.18, linewidth=0)
    axes.plot(steps, interval.point, color=color, linestyle=style, linewidth=1.8)
    end = float(interval.point[-1])
    if steps[-1] >= 0.97 * last_step and len(steps) > 1:
        return end
    axes.plot(steps[-1:], [end], color=color, marker="x", markersize=6, clip_on=False)
    axes.annotate(
        f"{short(run.name)} ({run.info.get('status') or 'ended'})",
        xy=(float(steps[-1]), end),
        xytext=(8, 0),
        textcoords="offset points",
        va="center",
        color=color,
        fontsize=FONT_SIZE,
        fontweight="bold",
    )
    return None


def _label_right(axes: Axes, labels: Sequence[tuple[float, str, str, bool]]) -> None:
    """Names beside the right end, moved apart, tied to their values by thin lines."""
    if not labels:
        return
    figure = axes.get_figure()
    assert figure is not None
    low, high = axes.get_ylim()
    inches = axes.get_position().height * figure.bbox.height / figure.dpi
    gap = (high - low) * (FONT_SIZE * 1.25 / _POINTS_PER_INCH) / inches
    places = spread_labels([value for value, *_ in labels], gap, low, high)
    for (value, name, color, strong), place in zip(labels, places, strict=True):
        axes.annotate(
            name,
            xy=(1.0, value),
            xytext=(1.045, place),
            xycoords=axes.get_yaxis_transform(),
            textcoords=axes.get_yaxis_transform(),
            va="center",
            color=color,
            fontsize=FONT_SIZE if strong else FONT_SIZE - 1,
            fontweight="bold" if strong else "normal",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": color, "linewidth": 0.7, "shrinkB": 1},
        )
    axes.set_ylim(low, high)


def overview_figure(
    runs: Sequence[RunSummary],
    episode: EpisodeFigure | None,
    *,
    score: str = "return",
    landmarks: Mapping[str, float] | None = None,
    width: float = 8.6,
) -> Figure | None:
    """Curves above credit in one picture, for a README; None where there is nothing to draw."""
    curves_height = 3.8 if any(has_scores(run) for run in runs) else 0.0
    heights = None if episode is None else credit_heights(episode, width, None)
    total = curves_height + (sum(heights) + 0.2 if heights else 0.0)
    if total == 0:
        return None
    figure = new_figure(width, total)
    parts = [part for part in (curves_height, total - curves_height) if part > 0]
    panels = figure.subfigures(len(parts), 1, height_ratios=parts, squeeze=False)[:, 0]
    if curves_height:
        _draw_curves(panels[0], runs, score, landmarks or {}, curve_bands(runs))
    if episode is not None and heights is not None:
        padded = (heights[0] + 0.2, *heights[1:])
        draw_credit(panels[-1], episode, padded, None)
    return figure
