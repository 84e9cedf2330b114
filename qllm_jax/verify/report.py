"""What verification says: one `Check` per question, each with a sentence for the coder."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

IgmMode = Literal["enforce", "report", "off"]
_MOST_SHOWN = 96  # numbers of a failing input that a prompt spells out


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
        lines, last = [], ""
        for check in self.checks:
            if not check.passed and check.required:
                lines.append(f"- {check.name}: {check.detail}")
                if check.failing_input is not None:
                    shown = shown_input(check.failing_input)
                    lines.append(f"  failing input: {'the same' if shown == last else shown}")
                    last = shown
        return "\n".join(lines)


def shown_input(failing_input: Mapping[str, Sequence[float]]) -> str:
    """An input as a coder can read it: a picture of thousands of numbers by what is not zero."""
    return "; ".join(f"{name} = {_shown(values)}" for name, values in failing_input.items())


def _shown(values: Sequence[float]) -> str:
    if len(values) <= _MOST_SHOWN:
        return "[" + ", ".join(f"{value:.6g}" for value in values) + "]"
    standing = [(place, value) for place, value in enumerate(values) if value != 0]
    listed = ", ".join(f"[{place}] = {value:.6g}" for place, value in standing[:_MOST_SHOWN])
    if len(standing) <= _MOST_SHOWN:
        return f"{len(values)} numbers, 0 but for {listed or 'none of them'}"
    return f"{len(values)} numbers, of which {len(standing)} are not 0, the first at {listed}"


def format_report(report: VerificationReport) -> str:
    """A report as lines for a terminal: one per check, then the verdict."""
    width = max((len(check.name) for check in report.checks), default=0)
    lines = []
    for check in report.checks:
        mark = "ok  " if check.passed else "FAIL" if check.required else "note"
        lines.append(f"{mark}  {check.name.ljust(width)}  {check.detail}")
    failed = sum(check.required and not check.passed for check in report.checks)
    verdict = (
        "verified"
        if report.passed
        else f"refused: {failed} of {len(report.checks)} checks \
failed"
    )
    lines.append(f"{verdict}; IGM {report.igm}; {report.seconds:.1f} s")
    return "\n".join(lines)
