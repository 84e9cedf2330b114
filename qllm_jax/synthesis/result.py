"""What the loop tells while it runs, and what it returns."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from qllm_jax.llm import CostRow, is_replay
from qllm_jax.synthesis.candidate import Candidate
from qllm_jax.synthesis.measurement import ArmMeasurement
from qllm_jax.tfcaf import Artifact


@dataclasses.dataclass(frozen=True)
class SynthesisEvent:
    """One step of the loop, as it happens; the journal's events in words for a live table.

    Attributes:
        kind: "round", "asking", "answered", "refused", "valid", "failed", "duplicate",
            "measuring", "measured", "reviewed", "agreement", "chosen", once more at the end, or
            "stopped".
        round: 1-based.
        candidate: Name; "" where the whole round is meant.
        text: One line for a person.
        values: What goes with it: `score`, `low`, `high`, `tokens`, `dollars`, `rule`, `done`.
    """

    kind: str
    round: int
    candidate: str = ""
    text: str = ""
    values: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class SynthesisResult:
    """The outcome of a design run.

    Attributes:
        artifact: The chosen function, verified, with provenance.
        chosen: Its candidate.
        candidates: Every candidate, in order of proposal.
        reason: Why it was chosen, in sentences for a person.
        stopped: Why the loop ended: "rounds", "no progress", "budget: …".
        costs: By role.
        reference: Last measurements of the fixed arms, by mixer name.
        agreement: Kendall's τ between the evaluator's ranking and the measured one, per round in
            which both exist.
        provider: Who answered.
        notes: What a reader must know, such as that answers were recorded.
    """

    artifact: Artifact
    chosen: Candidate
    candidates: tuple[Candidate, ...]
    reason: str
    stopped: str
    costs: tuple[CostRow, ...]
    reference: Mapping[str, ArmMeasurement]
    agreement: Mapping[int, float]
    provider: str
    notes: tuple[str, ...] = ()

    @property
    def recorded(self) -> bool:
        """Whether the answers were replayed from transcripts."""
        return is_replay(self.provider)
