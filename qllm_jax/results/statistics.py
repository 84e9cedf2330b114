"""Aggregates over seeds with intervals, in vectorised NumPy.

The choices follow Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical
Precipice", https://arxiv.org/abs/2108.13264: interquartile means, percentile intervals of a
bootstrap stratified by task, probability of improvement.

Mean, interquartile mean and median are one family: drop `cut` sorted values at each end and
average the rest. A bootstrap resample is a vector of counts over the seeds, so a resampled
aggregate is a product with clipped cumulative counts, and nothing is sorted twice.
"""

import dataclasses
import math
from typing import Any, Literal

import numpy as np

Statistic = Literal["iqm", "mean", "median"]

NUM_RESAMPLES = 2000
FINAL_EVALUATIONS = 3
_DRAWS = 1_000_000  # of seeds, for one interval
_BLOCK_ELEMENTS = 500_000  # of one temporary array, 4 MB: stays in the cache


@dataclasses.dataclass(frozen=True)
class Interval:
    """A point estimate with the ends of its interval; floats, or arrays of one shape.

    The ends are NaN where fewer than two seeds leave nothing to resample.
    """

    point: Any
    low: Any
    high: Any


def _cut(statistic: Statistic, count: int) -> int:
    """Values dropped at each end."""
    return {"mean": 0, "iqm": count // 4, "median": (count - 1) // 2}[statistic]


def aggregate(values: np.ndarray, statistic: Statistic = "iqm") -> np.ndarray:
    """Reduce axis 0 of `values` [n, ...] to [...]; NaN where n is 0."""
    values = np.asarray(values, dtype=np.float64)
    count = len(values)
    if count == 0:
        return np.full(values.shape[1:], np.nan)
    cut = _cut(statistic, count)
    return np.sort(values, axis=0)[cut : count - cut].mean(axis=0)


def iqm(values: np.ndarray) -> np.ndarray:
    """Average the middle half of axis 0: `floor(n / 4)` values are dropped at each end.

    Agarwal et al. 2021, section 4.3 (25 % trimmed mean). With fewer than 4 values it is the mean.
    """
    return aggregate(values, "iqm")


def finite_rows(values: np.ndarray) -> np.ndarray:
    """The rows of `values` [S, ...] without NaN or infinity: the seeds that did not diverge."""
    values = np.asarray(values, dtype=np.float64)
    return values[np.isfinite(values).reshape(len(values), -1).all(axis=1)]


def _resample_counts(rng: np.random.Generator, count: int, num_resamples: int) -> np.ndarray:
    """How often each of `count` seeds is in each resample, [num_resamples, count] float64."""
    draws = rng.integers(count, size=(num_resamples, count))
    flat = draws + count * np.arange(num_resamples)[:, None]
    counts = np.bincount(flat.ravel(), minlength=num_resamples * count)
    return counts.reshape(num_resamples, count).astype(np.float64)


def _resampled_aggregates(
    values: np.ndarray, counts: np.ndarray, statistic: Statistic
) -> np.ndarray:
    """Aggregate `values` [n] in every resample of `counts` [R, n], giving [R]."""
    total = len(values)
    cut = _cut(statistic, total)
    order = np.argsort(values, kind="stable")
    upper = np.cumsum(counts[:, order], axis=1)
    kept = np.diff(np.clip(upper, cut, total - cut), axis=1, prepend=cut)
    return kept @ values[order] / (total - 2 * cut)


def _percentile_ends(samples: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(samples, [tail, 100 - tail], axis=0)
    return low, high


def _blocks(num_resamples: int | None, width: int) -> list[int]:
    """Sizes of blocks of resamples of `width` seeds that keep temporaries small.

    None is 2000 resamples in all, and fewer (at least 400) of more than 500 seeds, whose intervals
    are narrow.
    """
    if num_resamples is None:
        num_resamples = min(max(_DRAWS // width, 400), NUM_RESAMPLES)
    size = max(1, min(num_resamples, _BLOCK_ELEMENTS // max(width, 1)))
    full, rest = divmod(num_resamples, size)
    return [size] * full + ([rest] if rest else [])


def bootstrap_interval(
    scores: np.ndarray,
    statistic: Statistic = "iqm",
    *,
    confidence: float = 0.95,
    num_resamples: int | None = None,
    seed: int = 0,
) -> Interval:
    """Aggregate over seeds (and tasks) with a stratified bootstrap percentile interval.

    Args:
        scores: [S], or [S, M] for M tasks; seeds are resampled within each task, and the
            aggregate is over all S · M scores. Finite.
        statistic: What to aggregate by.
        confidence: Mass between the ends.
        num_resamples: R resamples; None chooses (2000; fewer of more than 500 seeds).
        seed: Of the resampling; equal inputs give equal intervals.
    """
    scores = np.asarray(scores, dtype=np.float64)
    matrix = scores.reshape(len(scores), -1)
    num_seeds, num_tasks = matrix.shape
    flat = matrix.T.ravel()
    point = float(aggregate(flat, statistic))
    if num_seeds < 2:
        return Interval(point, math.nan, math.nan)
    rng = np.random.default_rng(seed)
    samples = []
    for size in _blocks(num_resamples, flat.size):
        strata = [_resample_counts(rng, num_seeds, size) for _ in range(num_tasks)]
        samples.append(_resampled_aggregates(flat, np.concatenate(strata, axis=1), statistic))
    low, high = _percentile_ends(np.concatenate(samples), confidence)
    return Interval(point, float(low), float(high))


def curve_interval(
    values: np.ndarray,
    statistic: Statistic = "iqm",
    *,
    confidence: float = 0.95,
    num_resamples: int | None = None,
    seed: int = 0,
) -> Interval:
    """Aggregate learning curves `values` [S, E] over seeds at every evaluation, giving [E].

    A resample takes whole curves, so the band is of curves and not of unrelated points. The
    interval holds pointwise.
    """
    values = np.asarray(values, dtype=np.float64)
    num_seeds, num_evaluations = values.shape
    point = aggregate(values, statistic)
    if num_seeds < 2:
        return Interval(point, np.full_like(point, np.nan), np.full_like(point, np.nan))
    rng = np.random.default_rng(seed)
    samples = []
    for size in _blocks(num_resamples, num_seeds):
        counts = _resample_counts(rng, num_seeds, size)
        columns = [
            _resampled_aggregates(values[:, e], counts, statistic) for e in range(num_evaluations)
        ]
        samples.append(np.stack(columns, axis=1))
    return Interval(point, *_percentile_ends(np.concatenate(samples), confidence))


def difference_interval(
    first: np.ndarray,
    second: np.ndarray,
    statistic: Statistic = "iqm",
    *,
    confidence: float = 0.95,
    num_resamples: int | None = None,
    seed: int = 0,
) -> Interval:
    """`statistic(first) - statistic(second)` of independent seeds `first` [S1], `second` [S2]."""
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    point = float(aggregate(first, statistic) - aggregate(second, statistic))
    if min(len(first), len(second)) < 2:
        return Interval(point, math.nan, math.nan)
    rng = np.random.default_rng(seed)
    samples = []
    for size in _blocks(num_resamples, max(len(first), len(second))):
        one = _resampled_aggregates(first, _resample_counts(rng, len(first), size), statistic)
        two = _resampled_aggregates(second, _resample_counts(rng, len(second), size), statistic)
        samples.append(one - two)
    low, high = _percentile_ends(np.concatenate(samples), confidence)
    return Interval(point, float(low), float(high))


def probability_of_improvement(
    first: np.ndarray,
    second: np.ndarray,
    *,
    confidence: float = 0.95,
    num_resamples: int | None = None,
    seed: int = 0,
) -> Interval:
    """Probability that a random seed of `first` [S1] beats one of `second` [S2], ties half.

    `P(X > Y) + P(X = Y) / 2`, the Mann-Whitney statistic over S1 · S2 (Agarwal et al. 2021,
    section 4.3); both sides are resampled for the interval.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if min(len(first), len(second)) == 0:
        return Interval(math.nan, math.nan, math.nan)
    ordered = np.sort(second)
    below, upto = (np.searchsorted(ordered, first, side) for side in ("left", "right"))

    def wins(first_counts: np.ndarray, second_counts: np.ndarray) -> np.ndarray:
        """Pairs won in every resample, ties half: [R, S1] and [R, S2] (sorted) to [R]."""
        cumulative = np.cumsum(second_counts, axis=1)
        cumulative = np.concatenate([np.zeros((len(cumulative), 1)), cumulative], axis=1)
        beaten = (cumulative[:, below] + cumulative[:, upto]) / 2
        return np.sum(first_counts * beaten, axis=1)

    num_pairs = len(first) * len(second)
    ones = np.ones((1, len(first))), np.ones((1, len(second)))
    point = float(wins(*ones)[0] / num_pairs)
    if min(len(first), len(second)) < 2:
        return Interval(point, math.nan, math.nan)
    rng = np.random.default_rng(seed)
    samples = []
    for size in _blocks(num_resamples, max(len(first), len(second))):
        rows = _resample_counts(rng, len(first), size)
        columns = _resample_counts(rng, len(second), size)
        samples.append(wins(rows, columns) / num_pairs)
    low, high = _percentile_ends(np.concatenate(samples), confidence)
    return Interval(point, float(low), float(high))


def final_scores(values: np.ndarray, num_last: int = FINAL_EVALUATIONS) -> np.ndarray:
    """Each seed's final performance [S]: its mean over the last evaluations of `values` [S, E].

    The first evaluation is of the untrained policy and never counts, so with few evaluations
    fewer than `num_last` are averaged; with E = 1 there is only the untrained policy, and it is
    returned.
    """
    values = np.asarray(values, dtype=np.float64)
    count = min(num_last, max(values.shape[1] - 1, 1))
    return values[:, values.shape[1] - count :].mean(axis=1)


def steps_to_threshold(values: np.ndarray, env_steps: np.ndarray, threshold: float) -> np.ndarray:
    """Environment steps [S] at the first evaluation with a score ≥ `threshold`; inf if none.

    Args:
        values: [S, E] scores.
        env_steps: [E] environment steps per seed at each evaluation.
        threshold: Score to reach.
    """
    reached = np.asarray(values) >= threshold
    steps = np.asarray(env_steps, dtype=np.float64)
    return np.where(reached.any(axis=1), steps[reached.argmax(axis=1)], np.inf)


def area_under_curve(values: np.ndarray, env_steps: np.ndarray) -> np.ndarray:
    """Mean score over training [S], by the trapezoidal rule over `env_steps` [E].

    In units of the score; with one evaluation it is that evaluation.
    """
    values, steps = np.asarray(values, np.float64), np.asarray(env_steps, np.float64)
    if values.shape[1] == 1:
        return values[:, 0]
    return np.trapezoid(values, steps, axis=1) / (steps[-1] - steps[0])
