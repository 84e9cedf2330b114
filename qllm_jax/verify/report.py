"""What verification says: one `Check` per question, each with a sentence for the coder."""

import dataclasses
from typing import Any, Literal

IgmMode = Literal["enforce", "report", "off"]


@dataclasses.dataclass(frozen=True)
class Check:
    """The answer to one question about a TFCAF.

    Attributes:
        name: Stable id such as "finite-credit".
        passed: False fails the whole verification unless `required` is False.
        detail: One sentence: what was measured; on failure what is wrong and how to fix it.
        required: False for findings that are only reported.
        failing_input: On failure, the `agent_qs` and `state` that show it, as lists; else None.
    """

    name: str
    passed: bool
    detail: str
    required: bool = True
    failing_input: dict[str, Any] | None = None


@dataclasses.dataclass(frozen=True)
class VerificationReport:
    """All checks of one TFCAF, in order.

    Attributes:
        checks: Every check that ran; later gates do not run once an earlier gate failed.
        igm: "proved", "tested on n states", "violated" or "not checked".
        seconds: Wall time.
    """

    checks: tuple[Check, ...]
    igm: str
    seconds: float

    @property
    def passed(self) -> bool:
        """True where every required check passed."""
        return all(check.passed for check in self.checks if check.required)

    def feedback(self) -> str:
        """The failed checks as text for the coder, with their failing inputs; "" if none."""
        lines = []
        for check in self.checks:
            if not check.passed and check.required:
                lines.append(f"- {check.name}: {check.detail}")
                if check.failing_input is not None:
                    lines.append(f"  failing input: {check.failing_input}")
        return "\n".join(lines)
