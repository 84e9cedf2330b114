"""Aggregates and intervals against hand-computed values and slow references."""

import math
import random
import time

import numpy as np
import pytest

from qllm_jax.results import statistics as st


def slow_iqm(values):
    """Sort, drop a quarter (rounded down) at each end, average."""
    ordered = sorted(values)
    cut = len(ordered) // 4
    kept = ordered[cut : len(ordered) - cut]
    return sum(kept) / len(kept)


def test_iqm_by_hand():
    # 8 values: 2 dropped at each end, (3 + 4 + 5 + 6) / 4
    assert st.iqm(np.array([8, 1, 7, 2, 6, 3, 5, 4.0])) == 4.5
    # 5 values: floor(5 / 4) = 1 dropped at each end, (2 + 3 + 4) / 3; the outlier is gone
    assert st.iqm(np.array([1, 2, 3, 4, 1000.0])) == 3.0
    # fewer than 4: the mean
    assert st.iqm(np.array([1.0, 2.0, 6.0])) == 3.0
    np.testing.assert_array_equal(st.iqm(np.array([[1.0, 5.0], [3.0, 7.0]])), [2.0, 6.0])


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 12, 33])
def test_aggregates_equal_slow_references(count):
    values = np.random.default_rng(count).normal(size=count)
    assert st.aggregate(values, "iqm") == pytest.approx(slow_iqm(values), rel=1e-12)
    assert st.aggregate(values, "mean") == pytest.approx(values.mean(), rel=1e-12)
    assert st.aggregate(values, "median") == pytest.approx(np.median(values), rel=1e-12)


@pytest.mark.parametrize("statistic", ["iqm", "mean", "median"])
@pytest.mark.parametrize("count", [2, 3, 4, 5, 9, 16])
def test_a_resample_by_counts_is_the_aggregate_of_repeated_values(statistic, count):
    rng = np.random.default_rng(count)
    values = np.round(rng.normal(size=count), 1)  # rounded: with ties
    counts = st._resample_counts(rng, count, 50)
    assert (counts.sum(axis=1) == count).all()
    fast = st._resampled_aggregates(values, counts, statistic)
    slow = [st.aggregate(np.repeat(values, row.astype(int)), statistic) for row in counts]
    np.testing.assert_allclose(fast, slow, rtol=1e-12, atol=1e-12)


def test_interval_agrees_with_a_slow_bootstrap():
    values = np.random.default_rng(3).normal(10, 2, size=12)
    interval = st.bootstrap_interval(values, num_resamples=20_000)
    drawer = random.Random(1)
    slow = sorted(slow_iqm(drawer.choices(list(values), k=12)) for _ in range(20_000))
    width = interval.high - interval.low
    assert interval.low == pytest.approx(slow[500], abs=0.04 * width)
    assert interval.high == pytest.approx(slow[19_500], abs=0.04 * width)


def test_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for seed in range(300):
        interval = st.bootstrap_interval(rng.normal(size=40), num_resamples=400, seed=seed)
        hits += interval.low <= 0 <= interval.high
    # Binomial(300, 0.95) has a standard deviation of 1.3 %; the percentile interval is a little
    # narrow, so 0.95 - 5 · 1.3 % is the lower limit.
    assert 0.885 <= hits / 300 <= 0.985


def test_strata_are_resampled_apart():
    # Two tasks without any spread over seeds: whatever is drawn within them, nothing changes.
    scores = np.stack([np.zeros(6), np.full(6, 100.0)], axis=1)
    interval = st.bootstrap_interval(scores, "mean")
    assert (interval.low, interval.point, interval.high) == (50.0, 50.0, 50.0)
    pooled = st.bootstrap_interval(scores.ravel(), "mean")
    assert pooled.high - pooled.low > 20


def test_equal_seeds_give_equal_intervals_and_blocks_do_not_matter(monkeypatch):
    values = np.random.default_rng(0).normal(size=30)
    one = st.bootstrap_interval(values, seed=4)
    assert one == st.bootstrap_interval(values, seed=4)
    assert one != st.bootstrap_interval(values, seed=5)
    monkeypatch.setattr(st, "_BLOCK_ELEMENTS", 900)
    split = st.bootstrap_interval(values, seed=4)
    assert split.low == pytest.approx(one.low, abs=0.05)


def test_one_seed_has_no_interval():
    interval = st.bootstrap_interval(np.array([3.0]))
    assert interval.point == 3.0
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)
    band = st.curve_interval(np.array([[1.0, 2.0]]))
    np.testing.assert_array_equal(band.point, [1.0, 2.0])
    assert np.isnan(band.low).all()


def test_a_curve_is_aggregated_point_by_point_with_whole_curves_resampled():
    rng = np.random.default_rng(2)
    values = rng.normal(size=(9, 4))
    values[:, 3] = values[:, 1]  # equal columns of whole curves have equal bands
    band = st.curve_interval(values)
    np.testing.assert_allclose(band.point, [slow_iqm(column) for column in values.T])
    assert band.low[3] == band.low[1]
    assert band.high[3] == band.high[1]
    alone = st.bootstrap_interval(values[:, 0])
    assert band.low[0] == pytest.approx(alone.low)
    assert band.high[0] == pytest.approx(alone.high)


def test_probability_of_improvement_by_hand():
    # 1 beats 0 only; 2 ties twice and beats 0; 3 beats all: (1 + (0.5 + 0.5 + 1) + 3) / 9
    first, second = np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 0.0])
    assert st.probability_of_improvement(first, second).point == pytest.approx(6 / 9)
    assert st.probability_of_improvement(second, first).point == pytest.approx(3 / 9)
    same = st.probability_of_improvement(first, first)
    assert same.point == 0.5
    assert same.low < 0.5 < same.high


def test_probability_of_improvement_interval_agrees_with_a_slow_bootstrap():
    rng = np.random.default_rng(7)
    first, second = rng.normal(0.6, 1, 7), np.round(rng.normal(0, 1, 5), 0)
    interval = st.probability_of_improvement(first, second, num_resamples=20_000)
    draw = np.random.default_rng(8)
    samples = []
    for _ in range(4000):
        x, y = draw.choice(first, 7), draw.choice(second, 5)
        samples.append(np.mean([(a > b) + 0.5 * (a == b) for a in x for b in y]))
    low, high = np.percentile(samples, [2.5, 97.5])
    assert interval.low == pytest.approx(low, abs=0.04)
    assert interval.high == pytest.approx(high, abs=0.04)


def test_a_difference_takes_seeds_as_independent():
    base = np.array([0.0, 10.0, 20.0, 30.0, 40.0, 50.0])
    apart = st.difference_interval(base + 1, base)
    assert apart.point == pytest.approx(1.0)
    assert apart.low < 0 < apart.high


def test_final_scores_never_count_the_untrained_policy():
    values = np.array([[0.0, 1.0, 2.0, 3.0, 10.0]])
    assert st.final_scores(values)[0] == 5.0  # (2 + 3 + 10) / 3
    assert st.final_scores(values[:, :3])[0] == 1.5  # (1 + 2) / 2, not 0
    assert st.final_scores(values[:, :1])[0] == 0.0
    assert st.final_scores(values, num_last=1)[0] == 10.0


def test_sample_efficiency_by_hand():
    values = np.array([[0.0, 5.0, 4.0, 9.0], [0.0, 1.0, 2.0, 3.0]])
    steps = np.array([0, 100, 200, 400])
    np.testing.assert_array_equal(st.steps_to_threshold(values, steps, 5.0), [100, np.inf])
    # (0 + 5) / 2 · 100 + (5 + 4) / 2 · 100 + (4 + 9) / 2 · 200 = 2000; / 400
    assert st.area_under_curve(values, steps)[0] == pytest.approx(5.0)
    assert st.area_under_curve(values[:, :1], steps[:1])[1] == 0.0


def test_rows_with_nan_are_found():
    values = np.array([[1.0, 2.0], [np.nan, 1.0], [3.0, np.inf]])
    np.testing.assert_array_equal(st.finite_rows(values), [[1.0, 2.0]])


def test_a_thousand_seeds_take_seconds():
    values = np.random.default_rng(0).normal(size=(1000, 21))
    start = time.perf_counter()
    st.curve_interval(values)
    assert time.perf_counter() - start < 10
