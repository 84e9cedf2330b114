"""Figures: aligned in time, legible, and drawn for whatever there is."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as hyp
from matplotlib.backends.backend_agg import FigureCanvasAgg

from qllm_jax.errors import UserError
from qllm_jax.results import (
    CandidateRow,
    EpisodeFigure,
    credit_figure,
    curves_figure,
    overview_figure,
    save_figure_png,
)
from qllm_jax.results.lineage import lineage_figure
from qllm_jax.results.style import PALETTE, figure_png, figure_svg, spread_labels


@settings(max_examples=60, deadline=None)
@given(hyp.lists(hyp.floats(-10, 10), min_size=1, max_size=9), hyp.floats(0.1, 1.0))
def test_labels_keep_their_order_and_distance(positions, gap):
    placed = np.array(spread_labels(positions, gap, -20, 20))
    order = np.argsort(positions, kind="stable")
    assert (np.diff(placed[order]) >= gap - 1e-9).all()
    assert placed.min() >= -20 - 1e-9
    assert placed.max() <= 20 + 1e-9


def test_labels_that_do_not_collide_stay():
    assert spread_labels([3.0, 1.0, 2.0], 0.5, 0, 10) == [3.0, 1.0, 2.0]
    assert spread_labels([1.0, 1.0], 1.0, -10, 10) == [0.5, 1.5]


def _axes_by_label(figure, text):
    return next(axes for axes in figure.axes if text in axes.get_ylabel())


def test_frames_stand_above_their_steps(report_data):
    episode = report_data.episodes[0]
    figure = credit_figure(episode)
    FigureCanvasAgg(figure).draw()
    credit = _axes_by_label(figure, "credit")
    team = _axes_by_label(figure, "reward")
    frames = [axes for axes in figure.axes if axes.images]
    assert len(frames) >= 5
    for axes in frames:
        step = int(axes.get_title().removeprefix("step "))
        center = axes.get_window_extent().x0 + axes.get_window_extent().width / 2
        for below in (credit, team):
            assert below.transData.transform((step, 0))[0] == pytest.approx(center, abs=0.51)
        np.testing.assert_array_equal(axes.images[0].get_array(), episode.frames[step])
    ends = sorted((axes.get_window_extent().x0, axes.get_window_extent().x1) for axes in frames)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(ends))


def test_credit_lines_are_the_credits(report_data):
    episode = report_data.episodes[0]
    lines = _axes_by_label(credit_figure(episode), "credit").lines
    for agent in range(3):
        np.testing.assert_array_equal(lines[agent].get_ydata(), episode.credits[:, agent])
    assert len({(line.get_color(), line.get_linestyle()) for line in lines[:3]}) == 3


def test_many_agents_become_a_heat_map_with_a_sign():
    credits = np.random.default_rng(0).normal(size=(12, 9))
    figure = credit_figure(EpisodeFigure((), credits, [f"ally_{i}" for i in range(9)]))
    (image,) = [image for axes in figure.axes for image in axes.images]
    np.testing.assert_array_equal(image.get_array(), credits.T)
    low, high = image.get_clim()
    assert low == -high == -np.abs(credits).max()


@pytest.mark.parametrize("steps", [1, 2, 40])
@pytest.mark.parametrize("agents", [1, 2, 7])
def test_odd_episodes_are_drawn(steps, agents):
    credits = np.ones((steps, agents))
    names = [f"a{i}" for i in range(agents)]
    frames = [np.zeros((20, 30, 3), np.uint8)] * (steps + 1)
    for episode in (
        EpisodeFigure((), credits, names),
        EpisodeFigure(frames, credits, names, np.zeros(steps), np.zeros(steps)),
        EpisodeFigure((), -credits, names, None, np.ones(steps)),
    ):
        width = 8.6 if episode.rewards is None else 4.4
        assert figure_png(credit_figure(episode, width=width), 40).startswith(b"\x89PNG")


def test_curves_show_the_iqm_and_its_band(report_data):
    figure = curves_figure(report_data.runs, landmarks=report_data.landmarks)
    axes = figure.axes[0]
    scores = report_data.runs[0].metrics["return"]
    middle = np.sort(scores, axis=0)[2:6].mean(axis=0)  # 8 seeds: two dropped at each end
    np.testing.assert_allclose(axes.lines[0].get_ydata(), middle)
    assert len(axes.collections) == len(report_data.runs)
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["tfcaf", "qmix", "vdn", "iql", "random", "untrained"]
    places = sorted(text.xyann[1] for text in axes.texts)
    assert min(np.diff(places)) > 0.5
    assert curves_figure(()) is None


def test_the_untrained_level_is_drawn_once(report_data):
    figure = curves_figure(report_data.runs, landmarks={"random": -77.3, "untrained": -90.0})
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts.count("untrained") == 1


def test_a_curve_that_ends_early_says_so_where_it_ends(report_data):
    run = report_data.runs[1]
    metrics = {"return": run.metrics["return"][:, :5], "env_steps": run.metrics["env_steps"][:5]}
    short = dataclasses.replace(run, metrics=metrics, info={"status": "interrupted"})
    axes = curves_figure([report_data.runs[0], short]).axes[0]
    (text,) = [text for text in axes.texts if "interrupted" in text.get_text()]
    assert text.xy[0] == 40_000


def test_lineage_places_scores_and_skips_what_was_not_measured(report_data):
    figure = lineage_figure(report_data.candidates)
    tree, scores = figure.axes
    shown = {text.get_text() for text in tree.texts if text.get_text()}
    assert "r2c1  chosen" in shown
    assert "r1c2  refused" in shown
    points = {line.get_xdata()[0] for line in scores.lines if line.get_marker() in ("o", "D")}
    assert points == {-47.2, -53.1, -48.0, -51.3, -44.1}
    assert lineage_figure(()) is None
    alone = lineage_figure([CandidateRow("r1c1", 1, verdict="asking")])
    assert len(alone.axes) == 1


def test_overview_is_one_picture_and_is_saved(report_data, tmp_path):
    figure = overview_figure(report_data.runs, report_data.episodes[0])
    path = save_figure_png(tmp_path / "overview.png", figure, dpi=60)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert overview_figure((), None) is None
    assert overview_figure((), report_data.episodes[0]) is not None
    with pytest.raises(UserError, match="cannot write"):
        save_figure_png(tmp_path / "no" / "such.png", figure)


def test_svg_is_deterministic_text_free_and_self_contained(report_data):
    one, two = (figure_svg(curves_figure(report_data.runs)) for _ in range(2))
    assert b"<text" not in one
    assert b"http" not in one.replace(b"http://www.w3.org", b"").replace(
        b"http://purl.org", b""
    ).replace(b"http://creativecommons.org", b"").replace(b"https://matplotlib.org", b"")
    assert len(one) == len(two)


def _luminance(color):
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_the_first_colours_are_seen_on_white():
    for color in PALETTE[:3]:
        assert 1.05 / (_luminance(color) + 0.05) >= 3  # WCAG 2.1, 1.4.11: graphics
