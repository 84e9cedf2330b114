"""The archive: valid candidates, the best of them, and a different one as inspiration."""

from collections.abc import Mapping

import numpy as np

from qllm_jax.synthesis.candidate import Candidate
from qllm_jax.synthesis.duplicates import Duplicates
from qllm_jax.synthesis.measure import ArmMeasurement

_GOOD = 3  # inspiration is drawn from this many next-best candidates


class Archive:
    """Grows by distinct candidates only."""

    def __init__(self, states: np.ndarray):
        """Tell candidates apart on these `[K, D]` states."""
        self._duplicates = Duplicates(states)
        self._candidates: dict[str, Candidate] = {}
        self._scores: dict[str, float] = {}

    def add(self, candidate: Candidate) -> str | None:
        """Add a valid candidate; or return the name of the one it repeats, and do not add it."""
        assert candidate.translation is not None
        earlier = self._duplicates.find_or_add(candidate.name, candidate.translation)
        if earlier is None:
            self._candidates[candidate.name] = candidate
        return earlier

    def note_scores(self, measured: Mapping[str, ArmMeasurement]) -> None:
        """Remember the latest score of each candidate."""
        for name in self._candidates:
            if name in measured:
                self._scores[name] = measured[name].score

    def inspiration(self, best: str) -> str:
        """Source of a good candidate whose credits are least like the best one's; "" if none."""
        others = [name for name in self._candidates if name != best]
        others.sort(key=lambda name: -self._scores.get(name, -np.inf))
        different = self._duplicates.most_different(best, others[:_GOOD])
        return self._candidates[different].original if different is not None else ""
