"""Bounds that keep translation of hostile text short, and the errors that say so.

Imports only `contract`. Used by the grammar, the interpreter and the operations.
"""

import dataclasses

from qllm_jax.tfcaf.contract import TranslationError

MAX_SOURCE_CHARS = 60_000
MAX_DEPTH = 64  # of brackets, and of syntax nodes inside each other
MAX_NODES = 20_000  # syntax nodes
MAX_STEPS = 60_000  # nodes evaluated, loops unrolled
MAX_CALL_DEPTH = 12  # of helper calls
MAX_ITERATIONS = 4_096  # of one loop
MAX_PASSES = 256  # of a `while`, which is written out
MAX_ITEMS = 4_096  # of one static container
MAX_WEIGHT = 8_192  # of a static container, with all that its items hold
MAX_LINES = 3_000  # emitted statements
MAX_CODE_CHARS = 20_000  # of one emitted expression
MAX_INT_BITS = 256  # of a static integer
MAX_STRING_CHARS = 5_000
MAX_ELEMENTS = 1 << 24  # of an array, for one sample
MAX_RANK = 8
MAX_TOTAL_CODE_CHARS = 4_000_000  # of all emitted expressions together


@dataclasses.dataclass(slots=True)
class Budget:
    """What one reading of a function may still spend."""

    steps: int = MAX_STEPS
    chars: int = MAX_TOTAL_CODE_CHARS

    def step(self, line: int | None, cost: int = 1) -> None:
        """Count work; refuse where it is used up."""
        self.steps -= cost
        if self.steps < 0:
            raise too_big("The function takes too many steps to translate", line)

    def text(self, size: int, line: int | None) -> None:
        """Count emitted text; refuse where one expression or all of them are too long."""
        self.chars -= size
        if size > MAX_CODE_CHARS or self.chars < 0:
            raise too_big("An expression grows too long", line)


def too_big(what: str, line: int | None) -> TranslationError:
    """A refusal for a bound that was passed."""
    return TranslationError(
        "too-big",
        f"{what}; the bounds keep translation and compilation short.",
        "Use array operations instead of long Python loops, big constants or deep helper calls.",
        line,
    )
