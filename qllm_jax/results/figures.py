"""The report's figures as matplotlib objects: learning curves, and credit along an episode."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import EngFormatter, MaxNLocator

from qllm_jax.results.compare import curve, has_scores, untrained_interval
from qllm_jax.results.report_data import EpisodeFigure, RunSummary
from qllm_jax.results.statistics import curve_interval
from qllm_jax.results.style import (
    FONT_SIZE,
    INK,
    MUTED,
    color_of,
    line_style_of,
    new_figure,
    plain_axes,
    spread_labels,
)

MAX_CREDIT_LINES = 6
_POINTS_PER_INCH = 72


def curves_figure(
    runs: Sequence[RunSummary],
    *,
    score: str = "return",
    landmarks: Mapping[str, float] | None = None,
    width: float = 8.6,
    height: float = 4.2,
) -> Figure | None:
    """Learning curves: IQM over seeds with its 95 % band, labelled at their ends.

    Args:
        runs: Colours follow their order; those without evaluations are left out.
        score: What the numbers are.
        landmarks: Known scores, drawn as levels.
        width: Inches.
        height: Inches.

    Returns:
        The figure; None where no run has an evaluation.
    """
    figure = new_figure(width, height)
    return figure if _draw_curves(figure, runs, score, landmarks or {}) else None


def _draw_curves(
    figure: Figure | SubFigure,
    runs: Sequence[RunSummary],
    score: str,
    landmarks: Mapping[str, float],
) -> bool:
    drawn = [run for run in runs if has_scores(run) and len(curve(run)[0])]
    if not drawn:
        return False
    width, height = figure.bbox.width / figure.dpi, figure.bbox.height / figure.dpi
    left, right, bottom, top = 0.72 / width, 1 - 1.5 / width, 0.52 / height, 1 - 0.15 / height
    axes = figure.add_axes((left, bottom, right - left, top - bottom))
    plain_axes(axes, "environment steps per seed", f"greedy {score}, IQM over seeds")
    labels: list[tuple[float, str, str, bool]] = []
    last_step = max(int(curve(run)[1][-1]) for run in drawn)
    for index, run in enumerate(drawn):
        scores, steps = curve(run)
        interval = curve_interval(scores)
        color = color_of(index)
        if len(scores) > 1:
            axes.fill_between(
                steps, interval.low, interval.high, color=color, alpha=0.18, linewidth=0
            )
        mark = "o" if len(steps) == 1 else ""
        axes.plot(
            steps,
            interval.point,
            color=color,
            linestyle=line_style_of(index),
            linewidth=1.8,
            marker=mark,
        )
        if steps[-1] < last_step:
            axes.plot(steps[-1:], interval.point[-1:], color=color, marker="x", markersize=6)
        labels.append((float(interval.point[-1]), run.name, color, True))
    levels = {**landmarks}
    untrained = untrained_interval(drawn[0])
    if untrained is not None:
        levels["untrained"] = untrained.point
    for name, value in levels.items():
        axes.axhline(value, color=MUTED, linewidth=0.9, linestyle=(0, (1, 2.2)), zorder=1)
        labels.append((float(value), name, MUTED, False))
    axes.set_xlim(0, max(last_step, 1))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_major_locator(MaxNLocator(5 if width > 6 else 4))
    _label_right(axes, labels)
    return True


def _label_right(axes: Axes, labels: Sequence[tuple[float, str, str, bool]]) -> None:
    """Names beside the right end, moved apart, tied to their values by thin lines."""
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


def credit_figure(
    episode: EpisodeFigure, *, width: float = 8.6, num_frames: int | None = None
) -> Figure:
    """Credit of each agent along a greedy episode, under frames of that episode.

    Rows share the time axis: frames (each centred on its step), credit per agent (lines, or a
    heat map for many agents), and what the team got. Beside the credit is each agent's mean and
    range over the episode.
    """
    heights = _credit_heights(episode, width, num_frames)
    figure = new_figure(width, sum(heights))
    _draw_credit(figure, episode, heights, num_frames)
    return figure


def _credit_heights(
    episode: EpisodeFigure, width: float, num_frames: int | None
) -> tuple[float, float, float]:
    """Inches of frames, credit and team value, each with its own margins."""
    strip = 0.12
    if len(episode.frames):
        span = (width - _LEFT - _RIGHT) / _frame_count(episode, width, num_frames)
        shape = np.asarray(episode.frames[0]).shape
        strip = min(span * 0.96 * shape[0] / shape[1], 2.2) + 0.34
    num_agents = np.asarray(episode.credits).shape[1]
    credit = 2.2 if num_agents <= MAX_CREDIT_LINES else min(0.8 + 0.17 * num_agents, 4.5)
    has_team = episode.rewards is not None or episode.q_tot is not None
    return strip, credit, 1.45 if has_team else 0.55


_LEFT, _RIGHT = 0.72, 1.5  # inches beside the time axis


def _frame_count(episode: EpisodeFigure, width: float, num_frames: int | None) -> int:
    fit = max(int((width - _LEFT - _RIGHT) / 0.92), 2)
    return min(num_frames or fit, len(episode.frames), len(episode.credits))


def _draw_credit(
    figure: Figure | SubFigure,
    episode: EpisodeFigure,
    heights: tuple[float, float, float],
    num_frames: int | None,
) -> None:
    width, height = figure.bbox.width / figure.dpi, figure.bbox.height / figure.dpi
    credits = np.asarray(episode.credits, dtype=float)
    limits = (-0.5, len(credits) - 0.5)
    left, span = _LEFT / width, 1 - (_LEFT + _RIGHT) / width
    top = 1 - heights[0] / height
    if len(episode.frames):
        _draw_frames(figure, episode, (left, top, span, heights[0] / height), num_frames)
    bottom = heights[2] / height
    axes = figure.add_axes((left, bottom, span, top - bottom - 0.02))
    beside = figure.add_axes((1 - 1.4 / width, bottom, 1.35 / width, top - bottom - 0.02))
    if credits.shape[1] <= MAX_CREDIT_LINES:
        _draw_credit_lines(axes, beside, credits, episode.agent_names)
    else:
        _draw_credit_heat(axes, beside, credits, episode.agent_names)
    axes.set_xlim(*limits)
    if episode.rewards is not None or episode.q_tot is not None:
        axes.tick_params(labelbottom=False)
        team = figure.add_axes((left, 0.48 / height, span, (heights[2] - 0.48 - 0.1) / height))
        _draw_team(team, episode)
        team.set_xlim(*limits)
    else:
        axes.set_xlabel("step of the episode", color=INK, fontsize=FONT_SIZE)


def _draw_frames(
    figure: Figure | SubFigure,
    episode: EpisodeFigure,
    box: tuple[float, float, float, float],
    num_frames: int | None,
) -> None:
    """Frames centred on their steps, with the step's number above."""
    width, height = figure.bbox.width / figure.dpi, figure.bbox.height / figure.dpi
    left, bottom, span, _ = box
    steps = len(episode.credits)
    count = _frame_count(episode, width, num_frames)
    cell = span / count
    for index in range(count):
        # The step nearest to the middle of the cell, and the frame centred on exactly it.
        step = min(int((index + 0.5) * steps / count), steps - 1)
        center = left + span * (step + 0.5) / steps
        image = np.asarray(episode.frames[step])
        tall = min(0.96 * cell * width * image.shape[0] / image.shape[1], 2.2)
        wide = tall * image.shape[1] / image.shape[0]
        axes = figure.add_axes(
            (center - wide / width / 2, bottom + 0.07 / height, wide / width, tall / height)
        )
        axes.imshow(image, interpolation="antialiased")
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_color("#c4c9d0")
            spine.set_linewidth(0.7)
        axes.set_title(
            f"step {step}" if index == 0 else str(step),
            color=MUTED,
            fontsize=FONT_SIZE - 1.5,
            pad=2.5,
        )


def _draw_credit_lines(axes: Axes, beside: Axes, credits: np.ndarray, names: Sequence[str]) -> None:
    plain_axes(axes, "", "credit  ∂q_tot/∂qᵢ")
    for agent, values in enumerate(credits.T):
        axes.plot(
            np.arange(len(values)),
            values,
            color=color_of(agent),
            linewidth=1.8,
            linestyle=line_style_of(agent),
        )
    low, high = _padded_limits(credits)
    axes.set_ylim(low, high)
    if low < 0 < high:
        axes.axhline(0, color=MUTED, linewidth=0.9)
    beside.set_ylim(low, high)
    beside.set_xlim(0, 1)
    beside.axis("off")
    means = credits.mean(axis=0)
    figure = axes.get_figure()
    assert figure is not None
    inches = axes.get_position().height * figure.bbox.height / figure.dpi
    gap = (high - low) * (FONT_SIZE * 2.35 / _POINTS_PER_INCH) / inches
    places = spread_labels(list(means), gap, low + gap / 2, high - gap / 2)
    for agent, values in enumerate(credits.T):
        color, x = color_of(agent), 0.03 + 0.035 * agent
        beside.plot([x, x], [values.min(), values.max()], color=color, linewidth=1.2)
        beside.plot([x], [means[agent]], color=color, marker="o", markersize=4)
        text_at = 0.1 + 0.035 * len(means)
        beside.plot([x, text_at - 0.03], [means[agent], places[agent]], color=color, linewidth=0.5)
        beside.text(
            text_at,
            places[agent] + gap * 0.2,
            names[agent],
            color=color,
            fontsize=FONT_SIZE - 0.5,
            fontweight="bold",
            va="center",
        )
        beside.text(
            text_at,
            places[agent] - gap * 0.22,
            f"mean {means[agent]:.2f}",
            color=MUTED,
            fontsize=FONT_SIZE - 2,
            va="center",
        )


def _padded_limits(values: np.ndarray) -> tuple[float, float]:
    """Limits with room; credit is compared with 0, so 0 is shown where it is near."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if 0 < low < 0.6 * high:
        low = 0.0
    if 0.6 * low < high < 0:
        high = 0.0
    pad = 0.07 * (high - low) or max(abs(high) * 0.2, 0.1)
    return (low - pad if low != 0 else low - pad / 3), high + pad


def _draw_credit_heat(axes: Axes, beside: Axes, credits: np.ndarray, names: Sequence[str]) -> None:
    """[N, T] as colour; blue is credit, red is negative credit, and beside it each agent's mean."""
    plain_axes(axes)
    axes.grid(visible=False)
    limit = float(np.nanmax(np.abs(credits))) or 1.0
    negative = bool((credits < 0).any())
    image = axes.imshow(
        credits.T,
        aspect="auto",
        interpolation="nearest",
        cmap="RdBu" if negative else "Blues",
        vmin=-limit if negative else 0.0,
        vmax=limit,
    )
    step = max(1, -(-len(names) // 24))
    axes.set_yticks(range(0, len(names), step), [names[i] for i in range(0, len(names), step)])
    axes.tick_params(axis="y", labelsize=min(FONT_SIZE - 2, 7.5))
    means = credits.mean(axis=0)
    plain_axes(beside)
    beside.barh(np.arange(len(means)), means, color="#4a7fb5", height=0.7)
    beside.set_ylim(axes.get_ylim())
    beside.set_yticks([])
    beside.grid(visible=False)
    beside.set_xlabel("mean credit", color=MUTED, fontsize=FONT_SIZE - 1.5)
    beside.tick_params(labelsize=FONT_SIZE - 2.5)
    figure = axes.get_figure()
    assert figure is not None
    place = axes.get_position()
    bar = figure.add_axes((place.x0 + place.width + 0.004, place.y0, 0.006, place.height))
    figure.colorbar(image, cax=bar)
    bar.tick_params(labelsize=FONT_SIZE - 3, colors=MUTED, length=2)
    beside.set_position((place.x1 + 0.058, place.y0, 1 - place.x1 - 0.068, place.height))


def _draw_team(axes: Axes, episode: EpisodeFigure) -> None:
    """Reward as bars and q_tot as a line, in the units of the environment and of the learner."""
    plain_axes(axes, "step of the episode", "reward" if episode.rewards is not None else "q_tot")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    target = axes
    if episode.rewards is not None:
        rewards = np.asarray(episode.rewards, dtype=float)
        axes.bar(np.arange(len(rewards)), rewards, color="#b9c0c9", width=0.72)
        axes.axhline(0, color=MUTED, linewidth=0.6)
        axes.yaxis.set_major_locator(MaxNLocator(3))
        if episode.q_tot is not None:
            target = axes.twinx()
            for side in ("top", "left", "bottom", "right"):
                target.spines[side].set_visible(False)
    if episode.q_tot is not None:
        values = np.asarray(episode.q_tot, dtype=float)
        target.plot(np.arange(len(values)), values, color=INK, linewidth=1.3)
        target.tick_params(colors=MUTED, labelsize=FONT_SIZE - 1.5, length=2)
        target.yaxis.set_major_locator(MaxNLocator(3))
        if target is not axes:
            target.set_ylabel("q_tot (line)", color=INK, fontsize=FONT_SIZE - 1)


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
    heights = None if episode is None else _credit_heights(episode, width, None)
    total = curves_height + (sum(heights) + 0.2 if heights else 0.0)
    if total == 0:
        return None
    figure = new_figure(width, total)
    parts = [part for part in (curves_height, total - curves_height) if part > 0]
    panels = figure.subfigures(len(parts), 1, height_ratios=parts, squeeze=False)[:, 0]
    if curves_height:
        _draw_curves(panels[0], runs, score, landmarks or {})
    if episode is not None and heights is not None:
        padded = (heights[0] + 0.2, *heights[1:])
        _draw_credit(panels[-1], episode, padded, None)
    return figure
