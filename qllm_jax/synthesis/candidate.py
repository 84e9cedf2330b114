"""`Candidate`: one proposed function with everything that is known about it.

Made by `coder.propose` and `proposals`, judged by `rounds` and `finish`.
"""

import dataclasses
import difflib
import re
from typing import Any

from qllm_jax.synthesis.measurement import ArmMeasurement
from qllm_jax.tfcaf import Translation
from qllm_jax.verify.report import Check, VerificationReport


@dataclasses.dataclass(frozen=True)
class Refusal:
    """Why one answer of the coder could not be used.

    Attributes:
        stage: "answer" (no text), "translation" or "verification".
        rule: Stable id of the rule or of the failed checks.
        feedback: What the coder was told, with line, fix and failing input where there are any.
    """

    stage: str
    rule: str
    feedback: str


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One candidate of a round.

    Attributes:
        name: Such as "r1c2": round 1, candidate 2.
        round: 1-based.
        index: 0-based among the round's candidates.
        parent: Name of the candidate it was derived from; None in the first round.
        hint: The direction it was asked to take.
        verdict: "valid" until it is judged, then "chosen", "kept" (better than none, not chosen)
            or "measured"; "refused", "failed" (no answer) or "duplicate".
        summary: The first sentence of the answer: the idea, or what changed against the parent.
        translation: The function; None unless it was accepted.
        report: Its verification; None unless it was accepted.
        refusals: Earlier answers that were refused and sent back, in order.
        error: Why there was no answer, or what it duplicates; "" otherwise.
        measurement: The last one; None where it was not measured.
        advice: The evaluator's advice after its round, if it was the round's best.
        model: Version of the model that wrote it, as the provider says.
        tokens: Tokens it cost, repairs included.
        dollars: Money it cost; None where a price is unknown.
    """

    name: str
    round: int
    index: int
    parent: str | None
    hint: str
    verdict: str = "valid"
    summary: str = ""
    translation: Translation | None = None
    report: VerificationReport | None = None
    refusals: tuple[Refusal, ...] = ()
    error: str = ""
    measurement: ArmMeasurement | None = None
    advice: str = ""
    model: str = ""
    tokens: int = 0
    dollars: float | None = 0.0

    @property
    def rule(self) -> str:
        """The rule that refused its last answer; "" where none did."""
        return self.refusals[-1].rule if self.refusals else ""

    @property
    def feedback(self) -> str:
        """What the coder was told, every refusal in order; "" where nothing was refused."""
        parts = [f"[{item.stage}: {item.rule}] {item.feedback}" for item in self.refusals]
        return "\n".join([*parts, *([self.error] if self.error else [])])

    @property
    def valid(self) -> bool:
        """Whether it holds a function that may be measured."""
        return self.translation is not None and self.verdict not in ("duplicate", "refused")

    @property
    def original(self) -> str:
        """The program as the coder wrote it; "" where none was accepted."""
        return self.translation.original if self.translation is not None else ""

    def difference_to(self, parent: "Candidate") -> str:
        """Unified diff of the programs as written, without its file names; "" without both."""
        if not self.original or not parent.original:
            return ""
        lines = difflib.unified_diff(
            parent.original.strip().splitlines(), self.original.strip().splitlines(), lineterm=""
        )
        return "\n".join(list(lines)[2:])


def candidate_name(round_number: int, index: int) -> str:
    """Such as "r1c2" for round 1, index 1."""
    return f"r{round_number}c{index + 1}"


def is_candidate_name(name: str) -> bool:
    """Whether an arm of this name is a candidate, not a fixed mixer."""
    return re.fullmatch(r"r\d+c\d+", name) is not None


def report_to_json(report: VerificationReport) -> dict[str, Any]:
    """Plain values for the journal."""
    return {
        "checks": [dataclasses.asdict(check) for check in report.checks],
        "igm": report.igm,
        "seconds": report.seconds,
    }


def report_from_json(content: dict[str, Any]) -> VerificationReport:
    """The inverse of `report_to_json`."""
    return VerificationReport(
        checks=tuple(Check(**check) for check in content["checks"]),
        igm=content["igm"],
        seconds=content["seconds"],
    )
