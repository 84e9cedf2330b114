"""Measured evaluation: train every arm with the same seeds and compare what they reach.

The loop (`rounds`, `finish`) knows of training only that a `MeasureFn` turns arms into numbers.
`tournament.make_measure` makes the one that trains; tests pass their own. Here are the statistics
of a measurement, and which candidates go on in successive halving.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from qllm_jax.halving import num_survivors

VDN = "vdn"
ArmFn = Callable[..., Any]  # a `TfcafFunction`, or an equal function with other argument names
_RESAMPLES = 4000


@dataclasses.dataclass(frozen=True)
class ArmMeasurement:
    """What training one arm gave; plain values, so that the journal can hold it.

    Attributes:
        scores: S per-seed scores: mean return of the last quarter of the evaluations.
        curve: E mean returns over seeds, the untrained policy first.
        env_steps: E environment steps per seed, at which the curve was read.
        td_error: E mean absolute TD errors over seeds since the evaluation before; None where
            there was no gradient step, as before the first evaluation.
        diverged: Seeds in which a loss or a parameter was not finite.
    """

    scores: tuple[float, ...]
    curve: tuple[float, ...]
    env_steps: tuple[int, ...]
    td_error: tuple[float | None, ...] = ()
    diverged: int = 0

    @property
    def score(self) -> float:
        """Mean over seeds."""
        return float(np.mean(self.scores))

    @property
    def interval(self) -> tuple[float, float]:
        """95 % bootstrap interval of the mean over seeds."""
        return mean_interval(np.asarray(self.scores))


@dataclasses.dataclass(frozen=True)
class Seeds:
    """Seed ids `first … first + count - 1`."""

    first: int
    count: int


class MeasureFn(Protocol):
    """Trains arms side by side."""

    def __call__(
        self,
        candidates: Mapping[str, ArmFn],
        mixers: Sequence[str],
        seeds: Seeds,
        num_rungs: int = 1,
    ) -> dict[str, ArmMeasurement]:
        """Measure every arm with the same seeds.

        Args:
            candidates: Functions by name.
            mixers: Names of fixed arms, such as "vdn".
            seeds: What every arm is trained with.
            num_rungs: Of successive halving, see `going_on`; 1 trains all arms to the end.

        Returns:
            By arm name, the mixers first. A candidate that was given up keeps what it had; the
            mixers go as far as the candidate that went furthest.
        """
        ...


def measurement_to_json(measurement: ArmMeasurement) -> dict[str, Any]:
    """Plain values for the journal."""
    return dataclasses.asdict(measurement)


def measurement_from_json(content: Mapping[str, Any]) -> ArmMeasurement:
    """The inverse of `measurement_to_json`."""
    return ArmMeasurement(
        scores=tuple(content["scores"]),
        curve=tuple(content["curve"]),
        env_steps=tuple(content["env_steps"]),
        td_error=tuple(content["td_error"]),
        diverged=content["diverged"],
    )


def mean_interval(values: np.ndarray) -> tuple[float, float]:
    """95 % percentile-bootstrap interval of a mean, `[S] -> (low, high)`; seeded, so repeatable."""
    rows = np.random.default_rng(0).integers(0, len(values), (_RESAMPLES, len(values)))
    low, high = np.percentile(values[rows].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def paired_interval(left: ArmMeasurement, right: ArmMeasurement) -> tuple[float, float]:
    """95 % interval of the mean of `left - right`, seed by seed: both saw the same seeds."""
    return mean_interval(np.asarray(left.scores) - np.asarray(right.scores))


def statistical_ties(measured: Mapping[str, ArmMeasurement], names: tuple[str, ...]) -> list[str]:
    """Of `names`, those not clearly below the best: their paired interval against it reaches 0.

    Best mean first; arms that diverged in some seed come after all that did not.
    """
    order = sorted(
        names, key=lambda name: (measured[name].diverged > 0, -finite_or_last(measured[name].score))
    )
    best = measured[order[0]]
    return [
        name
        for name in order
        if name == order[0]
        or (
            measured[name].diverged <= best.diverged
            and np.isfinite(measured[name].score)
            and paired_interval(best, measured[name])[0] <= 0.0
        )
    ]


def going_on(measured: Mapping[str, ArmMeasurement], names: Sequence[str]) -> tuple[str, ...]:
    """Which of the candidates `names` go on after a rung: the better half, two at least.

    None where one is clearly apart from all others: more training would not change the choice.
    """
    ties = statistical_ties(measured, tuple(names))
    if len(ties) == 1:
        return ()
    kept = ties[: num_going_on(len(names))]
    return tuple(name for name in names if name in kept)


def num_going_on(count: int) -> int:
    """How many of `count` candidates go on at most; one alone would have nothing to beat."""
    return num_survivors(count, least=2)


def finite_or_last(value: float) -> float:
    """The value; one that is not finite comes last, as -inf."""
    return value if np.isfinite(value) else -np.inf
