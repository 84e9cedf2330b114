"""Attempts, retries and the wall clock around them; one place for every provider.

A provider is a function that makes one attempt. What can succeed later is retried (429, 5xx,
broken bodies, time-outs, transport errors), after the delay that the server asked for where it
did; what cannot (400, 401, 403, 404, a daily quota) ends at once. Every attempt is reserved in
and reported to the ledger.
"""

import dataclasses
import random
import re
import threading
import time
from collections.abc import Callable
from typing import Any

from qllm_jax.llm.client import Completion, LlmError, Request
from qllm_jax.llm.ledger import Ledger
from qllm_jax.llm.secrets import scrub

_RETRIED_CODES = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
_LONGEST_DELAY_S = 60.0


class AttemptError(RuntimeError):
    """One failed attempt.

    Attributes:
        retry: Whether another attempt can succeed.
        delay_s: Wait that the server asked for; None where it did not say.
        maybe_billed: The server may have generated tokens that we did not see.
    """

    def __init__(
        self,
        message: str,
        *,
        retry: bool,
        delay_s: float | None = None,
        maybe_billed: bool = False,
    ):
        super().__init__(scrub(message))
        self.retry, self.delay_s, self.maybe_billed = retry, delay_s, maybe_billed


AttemptFn = Callable[[Request, float], Completion]


@dataclasses.dataclass(frozen=True)
class RetryPolicy:
    """How often and how long.

    Attributes:
        timeout_s: Wall clock of one attempt.
        max_attempts: The first included.
        first_delay_s: Before the second attempt, doubled each time, plus up to a quarter at random.
    """

    timeout_s: float = 120.0
    max_attempts: int = 5
    first_delay_s: float = 1.0


@dataclasses.dataclass(frozen=True)
class RetryingClient:
    """A provider as a `Client`.

    Attributes:
        name: The provider's.
        attempt: `(request, timeout_s) -> Completion`, raises `AttemptError`.
        policy: Retries.
        ledger: Caps and costs.
        sleep: For tests.
    """

    name: str
    attempt: AttemptFn = dataclasses.field(repr=False)
    policy: RetryPolicy = RetryPolicy()
    ledger: Ledger = dataclasses.field(default_factory=Ledger, repr=False)
    sleep: Callable[[float], None] = dataclasses.field(default=time.sleep, repr=False)

    def complete(self, request: Request) -> Completion:
        """Answer, retrying where that can help.

        Raises:
            BudgetError: A cap would be exceeded.
            LlmError: The last attempt failed, or one failed for good.
        """
        failures: list[str] = []
        for index in range(self.policy.max_attempts):
            try:
                return self._attempt(request)
            except AttemptError as error:
                failures.append(str(error))
                if not error.retry:
                    raise LlmError(f"{self.name}: {error}") from None
                last = index + 1 == self.policy.max_attempts
                delay = self._delay(index, error)
                if last or delay > _LONGEST_DELAY_S or delay >= self.ledger.seconds_left:
                    raise LlmError(self._gave_up(failures, delay)) from None
            self.sleep(delay)
        raise LlmError(self._gave_up(failures, 0.0))

    def _attempt(self, request: Request) -> Completion:
        reservation = self.ledger.reserve(request, self.name)
        timeout_s = max(min(self.policy.timeout_s, self.ledger.seconds_left), 0.001)
        try:
            completion = with_wall_clock(lambda: self.attempt(request, timeout_s), timeout_s)
        except AttemptError as error:
            if error.maybe_billed:
                self.ledger.settle_unknown(reservation, self.name)
            else:
                self.ledger.settle(reservation, None, self.name)
            raise
        except BaseException:
            self.ledger.settle_unknown(reservation, self.name)
            raise
        self.ledger.settle(reservation, completion.usage, self.name, seconds=completion.seconds)
        return completion

    def _delay(self, index: int, error: AttemptError) -> float:
        if error.delay_s is not None:
            return error.delay_s
        backoff = min(self.policy.first_delay_s * 2.0**index, _LONGEST_DELAY_S)
        return min(backoff * (1.0 + 0.25 * random.random()), _LONGEST_DELAY_S)

    def _gave_up(self, failures: list[str], delay: float) -> str:
        waiting = f" The server asks to wait {delay:.0f} s." if delay > _LONGEST_DELAY_S else ""
        return (
            f"{self.name}: gave up after {len(failures)} attempt(s); the last one: {failures[-1]}"
            f"{waiting} The run keeps what it has; the same command resumes it."
        )


def with_wall_clock(call: Callable[[], Completion], timeout_s: float) -> Completion:
    """Run a blocking call for at most `timeout_s`, whatever the transport does.

    A call that drips a byte a second never trips a socket's time-out. It is left behind in a
    daemon thread, which does not keep the process alive.

    Raises:
        AttemptError: Time is up; or whatever `call` raises.
    """
    outcome: dict[str, Any] = {}

    def run() -> None:
        try:
            outcome["value"] = call()
        except BaseException as error:
            outcome["error"] = error

    thread = threading.Thread(target=run, daemon=True, name="llm-attempt")
    thread.start()
    thread.join(timeout_s)
    if thread.is_alive():
        raise AttemptError(
            f"no complete answer within {timeout_s:.1f} s (llm.timeout_s).",
            retry=True,
            maybe_billed=True,
        )
    if "error" in outcome:
        raise outcome["error"]
    return outcome["value"]


def http_failure(
    code: int, message: str, delay_s: float | None = None, *, quota_ended: bool = False
) -> AttemptError:
    """The `AttemptError` of an HTTP status.

    Args:
        code: Status.
        message: The server's words; a page of HTML is cut to its text's first line.
        delay_s: Wait that the server asked for.
        quota_ended: A quota that does not come back within this run, such as a daily one.
    """
    said = f"HTTP {code}: {_first_line(message)}"
    if quota_ended:
        return AttemptError(
            f"{said} A daily quota or the credit is used up: waiting a minute will not help. "
            "Resume tomorrow, or use another key or model.",
            retry=False,
        )
    if code in (401, 403):
        return AttemptError(f"{said} Check the API key in the environment.", retry=False)
    if code == 404:
        return AttemptError(f"{said} Check llm.coder_model and llm.base_url.", retry=False)
    return AttemptError(said, retry=code in _RETRIED_CODES, delay_s=delay_s)


def _first_line(message: str, length: int = 300) -> str:
    text = re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", message, flags=re.DOTALL | re.IGNORECASE)
    text = re.sub(r"\s+", " ", text).strip()
    return text[:length] or "(empty body)"


def parse_delay(text: Any) -> float | None:
    """Seconds from `Retry-After: 3` or `"retryDelay": "3.5s"`; None where it is neither."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*s?\s*", str(text)) if text is not None else None
    return float(match.group(1)) if match else None
