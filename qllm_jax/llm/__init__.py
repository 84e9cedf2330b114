"""Language models: one small protocol, providers, recorded answers, prompts and the ledger."""

from qllm_jax.llm.client import (
    AccessError,
    Client,
    Completion,
    LlmError,
    Message,
    Request,
    Usage,
    is_replay,
)
from qllm_jax.llm.ledger import BudgetError, Caps, CostRow, Ledger
from qllm_jax.llm.providers import make_client, provider_of, with_ledger
from qllm_jax.llm.recorded import RecordedClient, RecordingClient

__all__ = [
    "AccessError",
    "BudgetError",
    "Caps",
    "Client",
    "Completion",
    "CostRow",
    "Ledger",
    "LlmError",
    "Message",
    "RecordedClient",
    "RecordingClient",
    "Request",
    "Usage",
    "is_replay",
    "make_client",
    "provider_of",
    "with_ledger",
]
