"""The archive: what was tried, the best of it, and a different one as inspiration."""

from collections.abc import Mapping, Sequence

import numpy as np

from qllm_jax.synthesis.candidate import Candidate
from qllm_jax.synthesis.duplicates import Duplicates
from qllm_jax.synthesis.measurement import ArmMeasurement, finite_or_last

_GOOD = 3  # inspiration is drawn from this many next-best candidates


class Archive:
    """Keeps every distinct candidate, and what became of each that was tried."""

    def __init__(self, states: np.ndarray, *, tells_rules: bool = True):
        """An empty archive.

        Args:
            states: `[K, D]`, on which candidates are told apart.
            tells_rules: The history names the rules that refused a candidate.
        """
        self._tells_rules = tells_rules
        self._duplicates = Duplicates(states)
        self._distinct: dict[str, Candidate] = {}
        self._measured: dict[str, ArmMeasurement] = {}
        self._tried: list[Candidate] = []

    def add(self, candidate: Candidate) -> str | None:
        """Add a valid candidate; or return the name of the one it repeats, and do not add it."""
        assert candidate.translation is not None
        earlier = self._duplicates.find_or_add(candidate.name, candidate.translation)
        if earlier is None:
            self._distinct[candidate.name] = candidate
        return earlier

    def note(
        self, tried: Sequence[Candidate], measured: Mapping[str, ArmMeasurement] | None
    ) -> None:
        """Remember a round's candidates and the latest measurement of each."""
        self._tried += tried
        self._measured |= measured or {}

    def inspiration(self, best: str) -> str:
        """Source of a good candidate whose credits are least like the best one's; "" if none."""
        others = [name for name in self._distinct if name != best]
        others.sort(key=lambda name: -self._score(name))
        different = self._duplicates.most_different(best, others[:_GOOD])
        return self._distinct[different].original if different is not None else ""

    def history(self, length: int) -> str:
        """The last `length` candidates, one line each, oldest first."""
        recent = self._tried[-length:] if length else []
        return "\n".join(self._line(candidate) for candidate in recent)

    def _score(self, name: str) -> float:
        return finite_or_last(self._measured[name].score) if name in self._measured else -np.inf

    def _line(self, candidate: Candidate) -> str:
        line = f"- {candidate.name}, {candidate.hint or 'no direction'}: "
        if candidate.name in self._measured:
            arm = self._measured[candidate.name]
            low, high = arm.interval
            line += f"return {arm.score:.2f} [{low:.2f}, {high:.2f}]"
        else:
            line += candidate.verdict
        refused = ", ".join(f"`{item.rule}`" for item in candidate.refusals)
        return line + (f"; refused by {refused}" if refused and self._tells_rules else "")
