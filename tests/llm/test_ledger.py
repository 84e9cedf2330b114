"""Caps hold under concurrency, and cost is told by role."""

import threading
import time

import pytest

from qllm_jax.errors import UserError
from qllm_jax.llm import BudgetError, Caps, Ledger, Message, Request, Usage
from qllm_jax.llm.ledger import Price, parse_prices


def request(purpose="coder", model="m", text="x" * 50, output=50):
    return Request(purpose, model, (Message("user", text),), 0.0, output)


def test_a_reservation_is_a_token_per_byte_and_the_full_output():
    ledger = Ledger()
    assert ledger.reserve(request(text="äb"), "gemini").tokens == 3 + 50


def test_settling_replaces_the_worst_case():
    ledger = Ledger(Caps(max_tokens=150))
    first = ledger.reserve(request(), "gemini")  # holds 100
    ledger.settle(first, Usage(10, 0, 20, 5), "gemini")
    assert ledger.tokens == 35
    ledger.reserve(request(), "gemini")  # 35 + 100 fits
    second = Ledger(Caps(max_tokens=150))
    second.settle(second.reserve(request(), "gemini"), Usage(60, 0, 0, 0), "gemini")
    with pytest.raises(BudgetError, match="max_tokens = 150"):
        second.reserve(request(), "gemini")  # 60 + 100 does not


def test_a_cap_on_tokens_holds_under_concurrency():
    """Twenty threads, every call uses its worst case of 100: a cap of 1,000 lets ten through."""
    ledger = Ledger(Caps(max_tokens=1000))
    outcomes = []

    def call():
        try:
            reservation = ledger.reserve(request(), "gemini")
        except BudgetError:
            outcomes.append("refused")
            return
        time.sleep(0.01)
        ledger.settle(reservation, Usage(50, 0, 50, 0), "gemini")
        outcomes.append("made")

    threads = [threading.Thread(target=call) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("made") == 10
    assert ledger.tokens == 1000


def test_a_call_waits_where_settling_another_can_make_room():
    ledger = Ledger(Caps(max_tokens=150))
    first = ledger.reserve(request(), "gemini")
    threading.Timer(0.05, lambda: ledger.settle(first, Usage(5, 0, 5, 0), "gemini")).start()
    assert ledger.reserve(request(), "gemini").tokens == 100


def test_caps_on_calls_money_and_time():
    now = [0.0]
    calls = Ledger(Caps(max_calls=1))
    calls.settle(calls.reserve(request(), "gemini"), None, "gemini")
    with pytest.raises(BudgetError, match="max_calls"):
        calls.reserve(request(), "gemini")
    # worst case: 50 prompt tokens at 1 and 50 output tokens at 9 dollars per million
    money = Ledger(Caps(max_dollars=4e-4), {"m": Price(1.0, 0.0, 9.0)})
    with pytest.raises(BudgetError, match="max_dollars"):
        money.reserve(request(), "gemini")
    timed = Ledger(Caps(max_seconds=10.0), clock=lambda: now[0])
    timed.reserve(request(), "gemini")
    now[0] = 10.0
    with pytest.raises(BudgetError, match="max_seconds"):
        timed.reserve(request(), "gemini")


def test_cost_by_role_and_an_unknown_price_is_said_to_be_unknown():
    ledger = Ledger(prices=parse_prices({"m": {"input": 1, "cached": 0.5, "output": 10}}))
    for purpose, model in [("coder", "m"), ("coder", "m"), ("evaluator", "other")]:
        ledger.settle(
            ledger.reserve(request(purpose, model), "gemini"), Usage(30, 10, 20, 7), "gemini"
        )
    coder, evaluator = ledger.rows()
    assert (coder.purpose, coder.calls, coder.usage) == ("coder", 2, Usage(60, 20, 40, 14))
    # twice (20·1 + 10·0.5 + 27·10) / 10⁶
    assert coder.dollars == pytest.approx(2 * 295e-6)
    assert (evaluator.model, evaluator.dollars) == ("other", None)


def test_a_replay_costs_nothing():
    ledger = Ledger()
    ledger.settle(ledger.reserve(request(), "recorded"), Usage(1, 0, 1, 0), "recorded", "author")
    (row,) = ledger.rows()
    assert (row.model, row.dollars) == ("author", 0.0)


def test_an_earlier_part_of_the_run_counts():
    ledger = Ledger(Caps(max_tokens=150), clock=lambda: 0.0)
    ledger.restore("coder", "m", Usage(60, 0, 0, 0), "gemini")
    ledger.pass_time(12.0)
    assert ledger.seconds == 12.0
    with pytest.raises(BudgetError):
        ledger.reserve(request(), "gemini")


def test_a_malformed_price_says_what_is_expected():
    with pytest.raises(UserError, match="input, cached and output"):
        parse_prices({"m": {"input": 1}})


def test_what_was_booked_counts_in_a_later_part_of_the_run():
    """Three attempts: one answered, one that failed unbilled, one in flight when it was killed."""
    booked = []
    ledger = Ledger(book=lambda *event: booked.append(event))
    one, two, _ = (ledger.reserve(request(), "gemini") for _ in range(3))
    ledger.settle(one, Usage(10, 0, 20, 5), "gemini", seconds=1.5)
    ledger.settle(two, None, "gemini")
    later = Ledger(Caps(max_calls=3))
    later.restore_booked([*booked, ("r1c1.check0", {})], "gemini")
    (row,) = later.rows()
    assert (row.calls, row.failed_attempts, row.seconds) == (1, 2, 1.5)
    assert later.tokens == 35 + 0 + 100
    with pytest.raises(BudgetError, match="max_calls"):
        later.reserve(request(), "gemini")


def test_a_reservation_that_cannot_be_booked_is_none():
    def full(event, values):
        raise UserError("cannot write")

    ledger = Ledger(Caps(max_tokens=100), book=full)
    with pytest.raises(UserError, match="cannot write"):
        ledger.reserve(request(), "gemini")
    assert ledger.reserve(request(), "recorded").number == 0


def test_a_replay_is_not_booked():
    """It counts as a call with its recorded tokens, costs nothing, and leaves no event; the same
    call to a provider that is paid leaves two."""
    booked: list[str] = []
    ledger = Ledger(book=lambda event, values: booked.append(event))
    ledger.settle(ledger.reserve(request(), "recorded"), Usage(1, 0, 1, 0), "recorded")
    (row,) = ledger.rows()
    assert (row.calls, row.failed_attempts, row.dollars) == (1, 0, 0.0)
    assert ledger.tokens == 2
    assert booked == []
    ledger.settle(ledger.reserve(request(), "gemini"), Usage(1, 0, 1, 0), "gemini")
    assert booked == ["ledger.1.reserved", "ledger.1.settled"]
