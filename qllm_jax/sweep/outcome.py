"""What each setting of a sweep reached, with intervals and a ranking."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from qllm_jax.results import Interval, bootstrap_interval, difference_interval, final_scores
from qllm_jax.sweep.space import Setting


@dataclasses.dataclass(frozen=True)
class SettingResult:
    """One setting, trained over S seeds.

    Attributes:
        setting: Config keys and values.
        returns: `[S, E]`, greedy, undiscounted; the untrained policy first.
        env_steps: `[E]` environment steps per seed.
        alive: `[S]` bool; False for a seed that met a value that was not finite.
        rung: Of successive halving, from 0; the last rung has the whole budget.
    """

    setting: Setting
    returns: np.ndarray
    env_steps: np.ndarray
    alive: np.ndarray
    rung: int = 0

    @property
    def num_diverged(self) -> int:
        """Seeds that are left out of the score."""
        return int(np.sum(~self.alive))

    @property
    def scores(self) -> np.ndarray:
        """`[S]` final performance of each seed: the mean of its last evaluations."""
        return final_scores(self.returns)

    @functools.cached_property
    def score(self) -> Interval:
        """IQM over the seeds that did not diverge, with its 95 % interval."""
        kept = self.scores[self.alive]
        if not len(kept):
            return Interval(np.nan, np.nan, np.nan)
        return bootstrap_interval(kept)


@dataclasses.dataclass(frozen=True)
class SweepResult:
    """All settings, the best first.

    Attributes:
        rows: Ranked: whoever got further in successive halving first, then those without a
            diverged seed, then by score.
        num_settings: Settings that were to be tried.
        num_programs: Compiled programs.
        compile_s: Seconds of compilation, over all programs.
        run_s: Seconds of training; where a killed sweep went on, of what it had not yet saved.
        timed_env_steps: Environment steps taken in these seconds, over all settings and seeds.
        interrupted: It was stopped before all settings were tried.
    """

    rows: tuple[SettingResult, ...]
    num_settings: int
    num_programs: int
    compile_s: float
    run_s: float
    timed_env_steps: int
    interrupted: bool

    @property
    def env_steps(self) -> int:
        """Environment steps, over all settings and seeds; a rung goes on where one before ended."""
        return sum(int(row.env_steps[-1]) * len(row.alive) for row in self.rows)

    @property
    def env_steps_per_s(self) -> float:
        """While training, over all settings and seeds; NaN where nothing was timed."""
        return self.timed_env_steps / self.run_s if self.run_s else float("nan")

    @property
    def best(self) -> SettingResult | None:
        """The first of the ranking; None where nothing was trained."""
        return self.rows[0] if self.rows else None

    def difference_to_best(self, index: int) -> Interval | None:
        """Score minus the best's; None for the best itself and across budgets."""
        best, row = self.rows[0], self.rows[index]
        ours, theirs = row.scores[row.alive], best.scores[best.alive]
        if index == 0 or row.rung != best.rung or min(len(ours), len(theirs)) < 2:
            return None
        return difference_interval(ours, theirs)


def ranked(rows: Sequence[SettingResult]) -> list[SettingResult]:
    """The best first; equal ones keep their order."""

    def key(row: SettingResult) -> tuple[int, bool, float]:
        point = row.score.point
        return -row.rung, row.num_diverged > 0, -point if np.isfinite(point) else np.inf

    return sorted(rows, key=key)
