"""How figures look: one palette, one set of axes, labels that do not collide. Nothing global."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.text import Text

from qllm_jax.results.files import write_atomically

INK = "#1f2328"
MUTED = "#6b7280"
RULE = "#d5d9de"
# Okabe and Ito's palette, which people with any common colour vision tell apart, in an order of
# contrast on white; its yellow is left out as too light for lines.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
LINE_STYLES = ("-", (0, (5, 1.6)), (0, (1.4, 1.3)), (0, (6, 1.5, 1.4, 1.5)))
FONT_SIZE = 9.5


def color_of(index: int) -> str:
    """Colour of the `index`-th series."""
    return PALETTE[index % len(PALETTE)]


def line_style_of(index: int) -> Any:
    """Line style of the `index`-th series, so that colour is never the only difference."""
    return LINE_STYLES[index % len(LINE_STYLES)]


def new_figure(width: float, height: float) -> Figure:
    """An empty white figure of `width` × `height` inches."""
    return Figure(figsize=(width, height), facecolor="white")


def plain_axes(axes: Axes, xlabel: str = "", ylabel: str = "") -> None:
    """Thin axes: left and bottom lines, light horizontal rules, muted ticks."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(RULE)
        axes.spines[side].set_linewidth(0.8)
    axes.grid(axis="y", color="#eceff2", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, labelsize=FONT_SIZE - 1, width=0.8, length=3)
    axes.set_xlabel(xlabel, color=INK, fontsize=FONT_SIZE)
    axes.set_ylabel(ylabel, color=INK, fontsize=FONT_SIZE)


def spread_labels(positions: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move label positions apart to at least `gap`, in order, as little as needed, inside
    `[low, high]` where they fit.

    Args:
        positions: Wanted positions, in any order.
        gap: Least distance of two neighbours.
        low: Lower limit.
        high: Upper limit.
    """
    order = np.argsort(np.asarray(positions, dtype=float), kind="stable")
    clusters: list[list[float]] = []  # [sum of wanted first positions, count]
    for rank, index in enumerate(order):
        clusters.append([positions[index] - rank * gap, 1.0])
        while len(clusters) > 1 and (
            clusters[-2][0] / clusters[-2][1] > clusters[-1][0] / clusters[-1][1]
        ):
            total, count = clusters.pop()
            clusters[-1][0] += total
            clusters[-1][1] += count
    starts = [total / count for total, count in clusters for _ in range(int(count))]
    top = max(high - (len(starts) - 1) * gap, low)
    placed = [0.0] * len(starts)
    for rank, index in enumerate(order):
        placed[index] = min(max(starts[rank], low), top) + rank * gap
    return placed


def short(name: object, limit: int = 20) -> str:
    """A name that fits beside a figure."""
    text = str(name)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _literal(figure: Figure) -> Figure:
    """Show every text as it is: no TeX from dollar signs, no control characters."""
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_parse_math(False)
        shown = text.get_text()
        clean = "".join(char for char in shown if char.isprintable() or char == "\n")
        if clean != shown:
            text.set_text(clean)
    return figure


def figure_png(figure: Figure, dpi: int = 200) -> bytes:
    """The figure as PNG."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    _literal(figure).savefig(buffer, format="png", dpi=dpi, facecolor="white")
    return buffer.getvalue()


def figure_svg(figure: Figure) -> bytes:
    """The figure as SVG, with text as outlines, so that it looks alike everywhere."""
    buffer = io.BytesIO()
    FigureCanvasSVG(figure)
    _literal(figure).savefig(buffer, format="svg", facecolor="white", metadata={"Date": None})
    return buffer.getvalue()


def save_figure_png(path: str | Path, figure: Figure, dpi: int = 200) -> Path:
    """Write the figure to `path` as PNG.

    Raises:
        UserError: The place cannot be written.
    """
    path = Path(path)
    data = figure_png(figure, dpi)
    write_atomically(path, lambda file: file.write(data))
    return path
