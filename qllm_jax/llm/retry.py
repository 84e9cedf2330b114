"""Attempts, retries and their time limits; one place for every provider.

A provider is a function that makes one attempt. What can succeed later is retried (429, 5xx,
broken bodies, time-outs, transport errors), after the delay that the server asked for where it
did; what cannot (400) ends at once, and what no other call could either (401, 402, 403, 404, a
used-up quota) is an `AccessError`, which ends the run. Every attempt is reserved in and reported
to the ledger, and no key of ours that a server echoes leaves this module.
"""

import dataclasses
import datetime
import email.utils
import random
import re
import threading
import time
from collections.abc import Callable
from typing import Any

from qllm_jax.llm.client import AccessError, Completion, LlmError, Request
from qllm_jax.llm.ledger import Ledger
from qllm_jax.llm.secrets import scrub

_RETRIED_CODES = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
_LONGEST_DELAY_S = 60.0
_NEVER_SENT = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout", "ConnectionRefusedError"})


class AttemptError(RuntimeError):
    """One failed attempt.

    Attributes:
        retry: Whether another attempt can succeed.
        delay_s: Wait that the server asked for; None where it did not say.
        maybe_billed: The server may have generated tokens that we did not see.
        ends_run: No other call can succeed either, before a person acts.
    """

    def __init__(
        self,
        message: str,
        *,
        retry: bool,
        delay_s: float | None = None,
        maybe_billed: bool = False,
        ends_run: bool = False,
    ):
        super().__init__(scrub(message))
        self.retry, self.delay_s = retry, delay_s
        self.maybe_billed, self.ends_run = maybe_billed, ends_run


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
            AccessError: The key, the quota, the credit or the model's name must be seen to.
            LlmError: The last attempt failed, or one failed for good.
        """
        failures: list[str] = []
        for index in range(self.policy.max_attempts):
            try:
                return self._attempt(request)
            except AttemptError as error:
                failures.append(str(error))
                if error.ends_run:
                    raise AccessError(f"{self.name}: {error}") from None
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
        return dataclasses.replace(
            completion,
            text=scrub(completion.text),
            model_version=scrub(completion.model_version),
            finish_reason=scrub(completion.finish_reason),
        )

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


def transport_failure(error: BaseException) -> AttemptError:
    """The `AttemptError` of a call that did not end in a whole answer.

    Kinds are told by their names: the transport's package has had several, and an SDK wraps what
    it raises. Only where nothing was sent is nothing charged: the server may have answered a
    request whose answer broke off.
    """
    chain: list[str] = []
    link: BaseException | None = error
    while link is not None and len(chain) < 50:
        chain += [kind.__name__ for kind in type(link).__mro__]
        link = link.__cause__ or link.__context__
    what = type(error).__name__
    if _NEVER_SENT & set(chain):
        return AttemptError(f"transport error ({what}): no connection to the server.", retry=True)
    if any("Timeout" in name for name in chain):
        return AttemptError(f"time-out ({what}).", retry=True, maybe_billed=True)
    return AttemptError(
        f"the answer broke off or is not what the protocol says ({what}).",
        retry=True,
        maybe_billed=True,
    )


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
            ends_run=True,
        )
    if code in (401, 403):
        return AttemptError(
            f"{said} Check the API key in the environment.", retry=False, ends_run=True
        )
    if code == 404:
        return AttemptError(
            f"{said} Check the models' names (llm.coder_model, llm.evaluator_model) and "
            "llm.base_url.",
            retry=False,
            ends_run=True,
        )
    return AttemptError(said, retry=code in _RETRIED_CODES, delay_s=delay_s)


def _first_line(message: str, length: int = 300) -> str:
    text = re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", message, flags=re.DOTALL | re.IGNORECASE)
    text = re.sub(r"\s+", " ", text).strip()
    return scrub(text)[:length] or "(empty body)"  # scrubbed first: half a key is not found


def parse_delay(text: Any) -> float | None:
    """Seconds from `3`, `"3.5s"` or an HTTP date, as in `Retry-After`; None where it is neither."""
    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*s?\s*", str(text))
    if match:
        return float(match.group(1))
    try:
        until = email.utils.parsedate_to_datetime(str(text))
    except ValueError:
        return None
    if until.tzinfo is None:  # "-0000"; HTTP dates are in UTC
        until = until.replace(tzinfo=datetime.UTC)
    return max((until - datetime.datetime.now(datetime.UTC)).total_seconds(), 0.0)
