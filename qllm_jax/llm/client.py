"""The one protocol that every language-model provider speaks. Imports nothing of ours."""

import dataclasses
from typing import Literal, Protocol

Role = Literal["system", "user", "assistant"]
RECORDED = "recorded"  # the provider that replays transcripts


def is_replay(provider: str) -> bool:
    """Whether a provider's answers are replayed from transcripts: nobody is asked or paid."""
    return provider == RECORDED


@dataclasses.dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: Role
    text: str


@dataclasses.dataclass(frozen=True)
class Request:
    """One sampled completion; its content is the key of its transcript.

    Attributes:
        purpose: "coder" or "evaluator"; cost is accounted by it.
        model: The provider's model name.
        messages: System first, then alternating turns.
        temperature: Sampling temperature.
        max_output_tokens: Thinking included.
        sample: Index among otherwise equal requests.
        json_schema: Where set, structured output is asked for.
    """

    purpose: str
    model: str
    messages: tuple[Message, ...]
    temperature: float
    max_output_tokens: int
    sample: int = 0
    json_schema: dict | None = None


@dataclasses.dataclass(frozen=True)
class Usage:
    """Tokens of one call, as billed."""

    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    thinking_tokens: int


@dataclasses.dataclass(frozen=True)
class Completion:
    """What came back.

    Attributes:
        text: "" where the model gave none (see `finish_reason`).
        usage: Tokens.
        model_version: What the provider says answered.
        finish_reason: "stop", "max_tokens", "blocked" or the provider's own word.
        seconds: Wall time of the successful attempt.
    """

    text: str
    usage: Usage
    model_version: str
    finish_reason: str
    seconds: float


class LlmError(RuntimeError):
    """A call that will not succeed; `message` says what, why and the fix, never a key."""


class AccessError(LlmError):
    """No call can succeed before a person acts: the key, the quota, the credit or the model."""


class Client(Protocol):
    """A provider."""

    @property
    def name(self) -> str:
        """Provider id such as "gemini"; part of a transcript's address."""
        ...

    def complete(self, request: Request) -> Completion:
        """Answer one request; blocking, thread-safe; raises `LlmError`."""
        ...
