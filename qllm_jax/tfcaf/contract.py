"""What a TFCAF is, what translating one gives, and how one is refused. Imports nothing of ours
but types."""

import dataclasses
from collections.abc import Callable
from typing import Literal

import jax

Dialect = Literal["torch", "numpy", "jnp"]


class TranslationError(ValueError):
    """Text that was refused, in words that a person and a model can act on.

    Attributes:
        rule: Stable id of the rule that refused it, such as "import", "unknown-operation".
        line: 1-based line in the function's source; None where no line is to blame.
        message: What was found and why it is refused.
        fix: What to write instead.
    """

    def __init__(self, rule: str, message: str, fix: str, line: int | None = None):
        self.rule, self.line, self.message, self.fix = rule, line, message, fix
        where = f" (line {line})" if line is not None else ""
        super().__init__(f"[{rule}]{where} {message} Fix: {fix}")


@dataclasses.dataclass(frozen=True)
class Translation:
    """A TFCAF in canonical form.

    Attributes:
        source: Standalone jnp source that we emitted; defines `tfcaf(agent_qs, state)`.
        dialect: What it was written in.
        function: `(agent_qs [N], state [D]) -> q_tot []`, compiled from `source` and nothing else.
        original: The code block of the response that was translated, verbatim.
        num_agents: N it was translated for.
        state_dim: D it was translated for.
        batched: The original took `[B, N], [B, D]`.
        notes: What a reader should know, such as which of several code blocks was used.
    """

    source: str
    dialect: Dialect
    function: Callable[[jax.Array, jax.Array], jax.Array]
    original: str
    num_agents: int
    state_dim: int
    batched: bool
    notes: tuple[str, ...] = ()
