"""From a config to a client, and the accounting of clients that do none themselves."""

import dataclasses
from pathlib import Path

from qllm_jax.config import LlmConfig
from qllm_jax.llm.client import RECORDED, Client, Completion, Request, is_replay
from qllm_jax.llm.gemini import make_gemini_attempt
from qllm_jax.llm.ledger import Ledger
from qllm_jax.llm.openai import make_openai_attempt
from qllm_jax.llm.prompts import prompt_dir
from qllm_jax.llm.recorded import RecordedClient, RecordingClient
from qllm_jax.llm.retry import RetryingClient, RetryPolicy
from qllm_jax.llm.secrets import find_key


def provider_of(config: LlmConfig) -> str:
    """The provider that `auto` stands for: gemini where a key is set, else recorded."""
    if config.provider != "auto":
        return config.provider
    return "gemini" if find_key("gemini") else RECORDED


def make_client(config: LlmConfig) -> Client:
    """The client of a config.

    Raises:
        UserError: A key, a package or the directory of transcripts is missing.
    """
    provider = provider_of(config)
    if is_replay(provider):
        shipped = prompt_dir() / "recorded"
        return RecordedClient(Path(config.transcripts) if config.transcripts else shipped)
    make_attempt = make_gemini_attempt if provider == "gemini" else make_openai_attempt
    policy = RetryPolicy(timeout_s=config.timeout_s, max_attempts=config.max_attempts)
    return RetryingClient(provider, make_attempt(config.base_url), policy)


@dataclasses.dataclass(frozen=True)
class LedgeredClient:
    """Accounts for a client that does not do so itself: one attempt per call."""

    client: Client
    ledger: Ledger

    @property
    def name(self) -> str:
        """The provider's."""
        return self.client.name

    def complete(self, request: Request) -> Completion:
        """Reserve, answer, settle."""
        reservation = self.ledger.reserve(request, self.name)
        try:
            completion = self.client.complete(request)
        except BaseException:
            self.ledger.settle(reservation, None, self.name)
            raise
        model = completion.model_version if is_replay(self.name) else None
        self.ledger.settle(
            reservation, completion.usage, self.name, model, seconds=completion.seconds
        )
        return completion


def with_ledger(client: Client, ledger: Ledger) -> Client:
    """The same client, accounted for in `ledger`; a retrying one reports every attempt."""
    if isinstance(client, RetryingClient):
        return dataclasses.replace(client, ledger=ledger)
    if isinstance(client, RecordingClient):
        return dataclasses.replace(client, client=with_ledger(client.client, ledger))
    return LedgeredClient(client, ledger)
