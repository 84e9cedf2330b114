"""The ledger: the worst case reserved before a call, settled after it; caps under concurrency.

Cost of a call = (prompt − cached)·input + cached·cached + (output + thinking)·output prices, in
dollars per million tokens. A model without a listed price has an unknown cost, which is said;
its tokens are capped all the same.

Where something is paid, reservations and settlements are *booked*: written into the run's journal.
So a run that was killed knows what it had spent, and an attempt that was in flight is charged at
its worst case.
"""

import dataclasses
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from qllm_jax.errors import UserError
from qllm_jax.llm.client import LlmError, Request, Usage, is_replay

_BOOKED = re.compile(r"ledger\.(\d+)\.(reserved|settled)")

BookFn = Callable[[str, dict[str, Any]], None]  # name and values of an event, kept for good


class BudgetError(LlmError):
    """A cap would be exceeded; the run stops with what it has."""


@dataclasses.dataclass(frozen=True)
class Caps:
    """Upper bounds of a run; None is none."""

    max_tokens: int | None = None
    max_dollars: float | None = None
    max_calls: int | None = None
    max_seconds: float | None = None


@dataclasses.dataclass(frozen=True)
class Price:
    """Dollars per million tokens."""

    input: float
    cached: float
    output: float

    def dollars(self, usage: Usage) -> float:
        """Cost of one call."""
        fresh = max(usage.prompt_tokens - usage.cached_tokens, 0)
        generated = usage.output_tokens + usage.thinking_tokens
        total = fresh * self.input + usage.cached_tokens * self.cached + generated * self.output
        return total / 1e6


@dataclasses.dataclass(frozen=True)
class CostRow:
    """What one role cost.

    Attributes:
        purpose: "coder" or "evaluator".
        model: Model name.
        calls: Answered attempts.
        failed_attempts: Attempts that ended in an error; those that timed out may be billed and
            are charged at their worst case.
        usage: Tokens.
        dollars: None where the model's price is unknown.
        seconds: Wall time of the answered calls, summed; calls at the same time count each.
    """

    purpose: str
    model: str
    calls: int
    failed_attempts: int
    usage: Usage
    dollars: float | None
    seconds: float = 0.0


def parse_prices(prices: Mapping[str, Any]) -> dict[str, Price]:
    """Prices from a config's mapping.

    Raises:
        UserError: An entry does not have the three numbers.
    """
    parsed = {}
    for model, entry in prices.items():
        try:
            parsed[model] = Price(*(float(entry[name]) for name in ("input", "cached", "output")))
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"llm.prices[{model!r}] is {entry!r}; it must be a mapping of input, cached and "
                "output, in dollars per million tokens."
            ) from error
    return parsed


@dataclasses.dataclass(frozen=True)
class Reservation:
    """Tokens and dollars held for one attempt; `number` counts the run's attempts."""

    number: int
    request: Request
    tokens: int
    dollars: float


class Ledger:
    """Counts what a run spends; thread-safe."""

    def __init__(
        self,
        caps: Caps | None = None,
        prices: Mapping[str, Price] | None = None,
        clock: Callable[[], float] = time.monotonic,
        book: BookFn | None = None,
    ):
        """Start the clock at zero; `book` keeps every reservation and settlement."""
        self._book = book or (lambda event, values: None)
        self.caps, self.prices = caps or Caps(), dict(prices or {})
        self._clock, self._started = clock, clock()
        self._changed = threading.Condition()
        self._open: list[Reservation] = []
        self._rows: dict[tuple[str, str], CostRow] = {}
        self._tokens, self._dollars, self._calls, self._earlier_s = 0, 0.0, 0, 0.0

    def pass_time(self, seconds: float) -> None:
        """Count the wall time that earlier, interrupted parts of the run had taken."""
        self._earlier_s = max(self._earlier_s, seconds)

    def restore(
        self, purpose: str, model: str, usage: Usage, provider: str, seconds: float = 0.0
    ) -> None:
        """Count a call of an earlier, interrupted part of the run."""
        with self._changed:
            self._calls += 1
            self._add(purpose, model, usage, provider, failed=False, seconds=seconds)

    def restore_booked(self, events: Iterable[tuple[str, dict[str, Any]]], provider: str) -> None:
        """Count what earlier, interrupted parts of the run had booked.

        Args:
            events: Names and values as they were booked; others are passed over.
            provider: Who was asked.
        """
        reserved: dict[int, dict[str, Any]] = {}
        for event, values in events:
            found = _BOOKED.fullmatch(event)
            if found and found[2] == "reserved":
                reserved[int(found[1])] = {**values, "failed": True, "seconds": 0.0}
            elif found:
                reserved[int(found[1])] |= values
        with self._changed:
            self._calls = max(self._calls, max(reserved, default=-1) + 1)
            for row in reserved.values():
                usage = Usage(**row["usage"])
                self._add(
                    row["purpose"],
                    row["model"],
                    usage,
                    provider,
                    failed=row["failed"],
                    seconds=row["seconds"],
                )

    @property
    def seconds(self) -> float:
        """Wall time of the run so far, interrupted parts included."""
        return self._earlier_s + self._clock() - self._started

    @property
    def seconds_left(self) -> float:
        """Wall time until the cap; infinite without one."""
        return (
            float("inf")
            if self.caps.max_seconds is None
            else (self.caps.max_seconds - self.seconds)
        )

    @property
    def tokens(self) -> int:
        """Tokens charged so far."""
        return self._tokens

    @property
    def dollars(self) -> float:
        """Dollars charged so far, for models with a known price."""
        return self._dollars

    def reserve(self, request: Request, provider: str) -> Reservation:
        """Hold the worst case of one attempt: a token for every byte sent, and the full output.

        Waits for calls in flight where their settling could make room.

        Raises:
            BudgetError: A cap would be exceeded.
        """
        tokens = sum(len(message.text.encode()) for message in request.messages)
        worst = Usage(tokens, 0, request.max_output_tokens, 0)
        dollars = self.dollars_of(request.model, worst, provider) or 0.0
        held = tokens + request.max_output_tokens
        with self._changed:
            while True:
                reservation = Reservation(self._calls, request, held, dollars)
                problem = self._problem(reservation)
                if problem is None:
                    if not is_replay(provider):
                        values: dict[str, Any] = {
                            "purpose": request.purpose,
                            "model": request.model,
                        }
                        values |= {"usage": dataclasses.asdict(worst)}
                        self._book(f"ledger.{reservation.number}.reserved", values)
                    self._calls += 1
                    self._open.append(reservation)
                    return reservation
                if not self._open or not self._fits_alone(reservation):
                    raise BudgetError(problem)
                self._changed.wait(timeout=1.0)

    def settle(
        self,
        reservation: Reservation,
        usage: Usage | None,
        provider: str,
        model: str | None = None,
        seconds: float = 0.0,
    ) -> None:
        """Replace a reservation by what was used.

        Args:
            reservation: From `reserve`.
            usage: Tokens as billed; None where the attempt failed before anything was generated.
            provider: Who answered.
            model: Which model did, where it is not the one asked for: a transcript's.
            seconds: Wall time of the answer.
        """
        self._settle(
            reservation,
            model or reservation.request.model,
            usage or Usage(0, 0, 0, 0),
            provider,
            failed=usage is None,
            seconds=seconds,
        )

    def settle_unknown(self, reservation: Reservation, provider: str) -> None:
        """Charge the worst case: the attempt was cut off and may be billed."""
        output = reservation.request.max_output_tokens
        worst = Usage(reservation.tokens - output, 0, output, 0)
        self._settle(
            reservation, reservation.request.model, worst, provider, failed=True, seconds=0.0
        )

    def _settle(
        self,
        reservation: Reservation,
        model: str,
        usage: Usage,
        provider: str,
        *,
        failed: bool,
        seconds: float,
    ) -> None:
        with self._changed:
            self._open.remove(reservation)
            purpose = reservation.request.purpose
            self._add(purpose, model, usage, provider, failed=failed, seconds=seconds)
            self._changed.notify_all()
            if not is_replay(provider):
                values: dict[str, Any] = {"model": model, "usage": dataclasses.asdict(usage)}
                values |= {"failed": failed, "seconds": round(seconds, 3)}
                self._book(f"ledger.{reservation.number}.settled", values)

    def rows(self) -> tuple[CostRow, ...]:
        """Cost by role and model."""
        with self._changed:
            return tuple(self._rows[key] for key in sorted(self._rows))

    def dollars_of(self, model: str, usage: Usage, provider: str) -> float | None:
        """Cost of some usage; None where the model's price is unknown."""
        if is_replay(provider):
            return 0.0
        price = self.prices.get(model)
        return None if price is None else price.dollars(usage)

    def _add(
        self,
        purpose: str,
        model: str,
        usage: Usage,
        provider: str,
        *,
        failed: bool,
        seconds: float = 0.0,
    ) -> None:
        dollars = self.dollars_of(model, usage, provider)
        row = self._rows.get(
            (purpose, model), CostRow(purpose, model, 0, 0, Usage(0, 0, 0, 0), 0.0)
        )
        known = row.dollars is not None and dollars is not None
        self._rows[purpose, model] = CostRow(
            purpose,
            model,
            row.calls + (not failed),
            row.failed_attempts + failed,
            _plus(row.usage, usage),
            (row.dollars or 0.0) + (dollars or 0.0) if known else None,
            row.seconds + seconds,
        )
        self._tokens += usage.prompt_tokens + usage.output_tokens + usage.thinking_tokens
        self._dollars += dollars or 0.0

    def _fits_alone(self, wanted: Reservation) -> bool:
        """Whether settling every open call could make room."""
        caps = self.caps
        return not (
            (caps.max_calls is not None and self._calls >= caps.max_calls)
            or self.seconds_left <= 0
            or (caps.max_tokens is not None and self._tokens + wanted.tokens > caps.max_tokens)
            or (caps.max_dollars is not None and self._dollars + wanted.dollars > caps.max_dollars)
        )

    def _problem(self, wanted: Reservation) -> str | None:
        caps = self.caps
        tokens = self._tokens + sum(item.tokens for item in self._open) + wanted.tokens
        dollars = self._dollars + sum(item.dollars for item in self._open) + wanted.dollars
        if self.seconds_left <= 0:
            return (
                f"the run has taken {self.seconds:,.0f} s, its cap synthesis.max_seconds = "
                f"{caps.max_seconds:,.0f}. Raise it to go on; the same command resumes."
            )
        if caps.max_calls is not None and self._calls >= caps.max_calls:
            return (
                f"{self._calls} calls were made, the cap synthesis.max_calls. Raise it to go on; "
                "the same command resumes."
            )
        if caps.max_tokens is not None and tokens > caps.max_tokens:
            return (
                f"the next call could bring the run to {tokens:,} tokens, above "
                f"synthesis.max_tokens = {caps.max_tokens:,} ({self._tokens:,} used). Raise it, "
                "or lower llm.max_output_tokens; the same command resumes."
            )
        if caps.max_dollars is not None and dollars > caps.max_dollars:
            return (
                f"the next call could bring the run to ${dollars:.4f}, above "
                f"synthesis.max_dollars = {caps.max_dollars} (${self._dollars:.4f} spent). Raise "
                "it, or lower llm.max_output_tokens; the same command resumes."
            )
        return None


def _plus(left: Usage, right: Usage) -> Usage:
    return Usage(
        left.prompt_tokens + right.prompt_tokens,
        left.cached_tokens + right.cached_tokens,
        left.output_tokens + right.output_tokens,
        left.thinking_tokens + right.thinking_tokens,
    )
