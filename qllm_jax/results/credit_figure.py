"""Credit along an episode, drawn under frames of it."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import FixedLocator, MaxNLocator

from qllm_jax.results.report_data import EpisodeFigure
from qllm_jax.results.style import (
    FONT_SIZE,
    INK,
    MUTED,
    color_of,
    line_style_of,
    new_figure,
    plain_axes,
    short,
    spread_labels,
)

MAX_CREDIT_LINES = 6
_POINTS_PER_INCH = 72
_LEFT, _RIGHT = 0.72, 1.5  # inches beside the time axis


def credit_figure(
    episode: EpisodeFigure, *, width: float = 8.6, num_frames: int | None = None
) -> Figure:
    """Credit of each agent along a greedy episode, under frames of that episode.

    Rows share the time axis: frames (each centred on its step), credit per agent (lines, or a
    heat map for many agents), and what the team got. Beside the credit is each agent's mean and
    range over the episode.
    """
    heights = credit_heights(episode, width, num_frames)
    figure = new_figure(width, sum(heights))
    draw_credit(figure, episode, heights, num_frames)
    return figure


def credit_heights(
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


def _frame_steps(episode: EpisodeFigure, width: float, num_frames: int | None) -> range:
    """Evenly spaced steps whose frames fit beside each other, in the middle of the episode."""
    steps = min(len(episode.credits), len(episode.frames))
    fit = num_frames or max(int((width - _LEFT - _RIGHT) / 0.72), 2)
    count = min(fit, steps)
    stride = steps // count
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


def draw_credit(
    figure: Figure | SubFigure,
    episode: EpisodeFigure,
    heights: tuple[float, float, float],
    num_frames: int | None,
) -> None:
    """Draw an episode's frames above the credit of each agent, onto a figure or a part of one.

    Args:
        figure: Where to.
        episode: Frames and credits.
        heights: From `credit_heights`, in inches.
        num_frames: Frames at most; None is as many as fit.
    """
    width, height = figure.bbox.width / figure.dpi, figure.bbox.height / figure.dpi
    episode = _drawable(episode)
    credits = episode.credits
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


def _drawable(episode: EpisodeFigure) -> EpisodeFigure:
    """The episode as floats, with gaps where a value is not finite."""

    def gaps(values: np.ndarray | None) -> np.ndarray | None:
        held = None if values is None else np.asarray(values, dtype=float)
        return None if held is None else np.where(np.isfinite(held), held, np.nan)

    credits = gaps(episode.credits)
    assert credits is not None
    return dataclasses.replace(
        episode, credits=credits, rewards=gaps(episode.rewards), q_tot=gaps(episode.q_tot)
    )


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
            short(names[agent], 14),
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
    limit = float(np.abs(credits[np.isfinite(credits)]).max(initial=0.0)) or 1.0
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
    axes.set_yticks(
        range(0, len(names), step), [short(names[i], 10) for i in range(0, len(names), step)]
    )
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
