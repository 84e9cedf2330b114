"""The report's figures as matplotlib objects: learning curves, and credit along an episode."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import EngFormatter, FixedLocator, MaxNLocator

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
        end = _draw_curve(axes, run, index, last_step)
        if end is not None:
            labels.append((end, run.name, color_of(index), True))
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


def _draw_curve(axes: Axes, run: RunSummary, index: int, last_step: int) -> float | None:
    """Draw one curve; returns where it ends, or None where it stops early and is labelled there."""
    scores, steps = curve(run)
    interval = curve_interval(scores)
    color, style = color_of(index), line_style_of(index)
    if len(scores) > 1:
        axes.fill_between(steps, interval.low, interval.high, color=color, alpha=0.18, linewidth=0)
    axes.plot(steps, interval.point, color=color, linestyle=style, linewidth=1.8)
    end = float(interval.point[-1])
    if steps[-1] >= 0.97 * last_step and len(steps) > 1:
        return end
    axes.plot(steps[-1:], [end], color=color, marker="x", markersize=6, clip_on=False)
    axes.annotate(
        f"{run.name} ({run.info.get('status') or 'ended'})",
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
        strip = _frame_size(episode, width, num_frames)[0] + 0.34
    num_agents = np.asarray(episode.credits).shape[1]
    credit = 2.2 if num_agents <= MAX_CREDIT_LINES else min(0.8 + 0.17 * num_agents, 4.5)
    has_team = episode.rewards is not None or episode.q_tot is not None
    return strip, credit, 1.5 if has_team else 0.55


_LEFT, _RIGHT = 0.72, 1.5  # inches beside the time axis


def _frame_steps(episode: EpisodeFigure, width: float, num_frames: int | None) -> range:
    """Evenly spaced steps whose frames fit beside each other, in the middle of the episode."""
    steps = min(len(episode.credits), len(episode.frames))
    fit = num_frames or max(int((width - _LEFT - _RIGHT) / 0.75), 2)
    stride = -(-steps // fit)
    count = steps // stride
    first = (steps - 1 - (count - 1) * stride) // 2
    return range(first, first + count * stride, stride)


def _frame_size(
    episode: EpisodeFigure, width: float, num_frames: int | None
) -> tuple[float, float]:
    """Height and width of a frame in inches; it keeps the proportions of the image."""
    rows, columns = np.asarray(episode.frames[0]).shape[:2]
    steps = _frame_steps(episode, width, num_frames)
    share = steps.step / len(episode.credits) if len(steps) > 1 else 1.0
    tall = min(0.94 * share * (width - _LEFT - _RIGHT) * rows / columns, 1.8)
    return tall, tall * columns / rows


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
    bottom = heights[2] / height
    tall = top - bottom - 0.06 / height
    axes = figure.add_axes((left, bottom, span, tall))
    beside = figure.add_axes((1 - 1.4 / width, bottom, 1.35 / width, tall))
    if credits.shape[1] <= MAX_CREDIT_LINES:
        _draw_credit_lines(axes, beside, credits, episode.agent_names)
    else:
        _draw_credit_heat(axes, beside, credits, episode.agent_names)
    axes.set_xlim(*limits)
    if len(episode.frames):
        steps = _draw_frames(figure, episode, (left, top, span), num_frames)
        for step in steps if credits.shape[1] <= MAX_CREDIT_LINES else ():
            axes.axvline(step, color="#e3e7eb", linewidth=0.8, zorder=0)
    if episode.rewards is not None or episode.q_tot is not None:
        axes.tick_params(labelbottom=False, bottom=False)
        team = figure.add_axes((left, 0.48 / height, span, (heights[2] - 0.48 - 0.2) / height))
        _draw_team(team, episode)
        team.set_xlim(*limits)
        axes.yaxis.set_label_coords(-0.48 / (span * width), 0.5)
        team.yaxis.set_label_coords(-0.48 / (span * width), 0.5)
    else:
        _whole_steps(axes, len(credits))
        axes.set_xlabel("step of the episode", color=INK, fontsize=FONT_SIZE)


def _draw_frames(
    figure: Figure | SubFigure,
    episode: EpisodeFigure,
    box: tuple[float, float, float],
    num_frames: int | None,
) -> range:
    """Draw frames centred on their steps, with the step's number above; returns the steps.

    `box` is left end, bottom and width of the time axis, as parts of the figure.
    """
    width, height = figure.bbox.width / figure.dpi, figure.bbox.height / figure.dpi
    left, bottom, span = box
    steps = _frame_steps(episode, width, num_frames)
    tall, wide = _frame_size(episode, width, num_frames)
    for step in steps:
        image = np.asarray(episode.frames[step])
        center = left + span * (step + 0.5) / len(episode.credits)
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
            f"step {step}" if step == steps[0] else str(step),
            color=MUTED,
            fontsize=FONT_SIZE - 1.5,
            pad=2.5,
        )
    return steps


def _draw_credit_lines(axes: Axes, beside: Axes, credits: np.ndarray, names: Sequence[str]) -> None:
    plain_axes(axes, "", "credit  ∂q_tot/∂qᵢ")
    for agent, values in enumerate(credits.T):
        axes.plot(
            np.arange(len(values)),
            values,
            color=color_of(agent),
            linewidth=1.8,
            linestyle=line_style_of(agent),
            marker="o" if len(values) == 1 else "",
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
    flat = high - low < 1e-6 * max(abs(high), abs(low), 1e-12)
    if low > 0 and (flat or low < 0.6 * high):
        low = 0.0
    if high < 0 and (flat or high > 0.6 * low):
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
    beside.xaxis.set_major_locator(MaxNLocator(2))
    beside.grid(visible=False)
    beside.set_xlabel("mean credit", color=MUTED, fontsize=FONT_SIZE - 1.5)
    beside.tick_params(labelsize=FONT_SIZE - 2.5)
    figure = axes.get_figure()
    assert figure is not None
    place = axes.get_position()
    bar = figure.add_axes((place.x0 + place.width + 0.004, place.y0, 0.006, place.height))
    figure.colorbar(image, cax=bar).outline.set_visible(False)
    bar.tick_params(labelsize=FONT_SIZE - 3, colors=MUTED, length=2)
    beside.set_position((place.x1 + 0.058, place.y0, 1 - place.x1 - 0.08, place.height))


def _whole_steps(axes: Axes, num_steps: int) -> None:
    """Ticks at whole steps only."""
    axes.xaxis.set_major_locator(FixedLocator([0]) if num_steps == 1 else MaxNLocator(integer=True))


def _draw_team(axes: Axes, episode: EpisodeFigure) -> None:
    """Reward as bars and q_tot as a line, in the units of the environment and of the learner."""
    plain_axes(axes, "step of the episode", "reward" if episode.rewards is not None else "q_tot")
    _whole_steps(axes, len(episode.credits))
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
        mark = "o" if len(values) == 1 else ""
        target.plot(np.arange(len(values)), values, color=INK, linewidth=1.3, marker=mark)
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
