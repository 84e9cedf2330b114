"""Both protocols against loopback servers: every way an answer can fail, and what must follow."""

import dataclasses
import datetime
import email.utils
import sys
import time

import pytest
import servers

from qllm_jax.config import LlmConfig
from qllm_jax.errors import UserError
from qllm_jax.llm import (
    AccessError,
    LlmError,
    Message,
    Request,
    Usage,
    make_client,
    provider_of,
    with_ledger,
)
from qllm_jax.llm.ledger import BudgetError, Caps, Ledger, Price

KEY = "sk-very-secret-key-123456"
REQUEST = Request(
    purpose="coder",
    model="fake",
    messages=(
        Message("system", "sys"),
        Message("user", "one"),
        Message("assistant", "two"),
        Message("user", "three"),
    ),
    temperature=0.7,
    max_output_tokens=100,
    sample=3,
)
HTML = "<html><style>x{}</style><body><h1>Service   down</h1></body></html>"


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    for variable in ("GOOGLE_API_KEY", "GEMINI_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def ask(provider, replies, *, timeout_s=5.0, attempts=3, ledger=None, request=REQUEST):
    """The completion or the `LlmError`, the script, the waits and the ledger."""
    script, waits = servers.Script(*replies), []
    ledger = ledger or Ledger(prices={"fake": Price(1.0, 0.5, 10.0)})
    with servers.Server(script) as url:
        config = LlmConfig(
            provider=provider, base_url=url, timeout_s=timeout_s, max_attempts=attempts
        )
        client = with_ledger(make_client(config), ledger)
        object.__setattr__(client, "sleep", waits.append)
        try:
            outcome = client.complete(request)
        except LlmError as error:
            outcome = error
    assert KEY not in repr(client) + str(outcome) + repr(config)
    return outcome, script, waits, ledger


OK = {"gemini": servers.gemini_ok, "openai": servers.openai_ok}
PROVIDERS = list(OK)


def failure(provider, code, message="nope", headers=None, details=()):
    if provider == "gemini":
        answer = servers.gemini_error(code, "STATUS", message, details)
        answer["headers"] |= headers or {}
        return answer
    return servers.openai_error(code, message, headers=headers)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_an_answer_with_its_tokens_and_cost(provider):
    completion, script, waits, ledger = ask(provider, [OK[provider]()])
    assert completion.text == "hello"
    assert completion.finish_reason == "stop"
    assert completion.model_version == "fake-1"
    assert completion.usage == Usage(30, 10, 20, 7)
    (row,) = ledger.rows()
    # 20 fresh prompt tokens at 1, 10 cached at 0.5, 27 generated at 10 dollars per million
    assert row.dollars == pytest.approx((20 * 1.0 + 10 * 0.5 + 27 * 10.0) / 1e6)
    assert (row.calls, row.failed_attempts, waits, len(script.requests)) == (1, 0, [], 1)


def test_what_gemini_is_sent():
    _, script, _, _ = ask("gemini", [OK["gemini"]()])
    (sent,) = script.requests
    assert sent["path"].endswith("/models/fake:generateContent")
    assert {key.lower(): item for key, item in sent["headers"].items()}["x-goog-api-key"] == KEY
    assert [item["role"] for item in sent["body"]["contents"]] == ["user", "model", "user"]
    assert sent["body"]["systemInstruction"]["parts"][0]["text"] == "sys"
    settings = sent["body"]["generationConfig"]
    assert (settings["temperature"], settings["maxOutputTokens"], settings["seed"]) == (0.7, 100, 3)


def test_what_openai_is_sent():
    _, script, _, _ = ask("openai", [OK["openai"]()])
    body = script.requests[0]["body"]
    assert script.requests[0]["path"] == "/chat/completions"
    assert [item["role"] for item in body["messages"]] == ["system", "user", "assistant", "user"]
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("fake", 0.7, 100)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("code", [429, 500, 503])
def test_a_passing_failure_is_retried_with_growing_delays(provider, code):
    replies = [failure(provider, code), failure(provider, code), OK[provider]()]
    completion, script, waits, ledger = ask(provider, replies)
    assert completion.text == "hello"
    assert len(script.requests) == 3
    assert 1.0 <= waits[0] <= 1.25
    assert 2.0 <= waits[1] <= 2.5
    assert ledger.rows()[0].failed_attempts == 2
    assert ledger.tokens == 57  # refused attempts cost nothing


@pytest.mark.parametrize(
    ("provider", "reply"),
    [
        ("gemini", servers.gemini_error(429, "X", "slow", [servers.retry_info("3.5s")])),
        ("openai", servers.openai_error(429, "slow", headers={"Retry-After": "3.5"})),
    ],
)
def test_the_delay_that_the_server_asks_for_is_kept(provider, reply):
    completion, _, waits, _ = ask(provider, [reply, OK[provider]()])
    assert completion.text == "hello"
    assert waits == [3.5]


def test_gemini_also_reads_the_retry_after_header():
    reply = failure("gemini", 429, headers={"Retry-After": "2"})
    _, _, waits, _ = ask("gemini", [reply, OK["gemini"]()])
    assert waits == [2.0]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_delay_beyond_a_minute_ends_the_call(provider):
    reply = (
        servers.gemini_error(429, "X", "slow", [servers.retry_info("3600s")])
        if provider == "gemini"
        else servers.openai_error(429, "slow", headers={"Retry-After": "3600"})
    )
    error, script, waits, _ = ask(provider, [reply])
    assert "asks to wait 3600 s" in str(error)
    assert (len(script.requests), waits) == (1, [])


@pytest.mark.parametrize(
    ("provider", "reply"),
    [
        ("gemini", servers.gemini_error(429, "X", "quota", [servers.daily_quota()])),
        ("openai", servers.openai_error(429, "quota", "insufficient_quota")),
        ("openai", servers.openai_error(402, "no balance")),
    ],
)
def test_a_used_up_quota_ends_at_once(provider, reply):
    error, script, _, _ = ask(provider, [reply])
    assert isinstance(error, AccessError)
    assert "quota" in str(error)
    assert len(script.requests) == 1


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    ("code", "hint"), [(400, "nope"), (401, "API key"), (403, "API key"), (404, "model")]
)
def test_what_cannot_succeed_later_ends_at_once(provider, code, hint):
    error, script, waits, ledger = ask(provider, [failure(provider, code)])
    assert isinstance(error, AccessError if code != 400 else LlmError)
    assert isinstance(error, AccessError) is (code != 400)  # no other call could succeed either
    assert hint in str(error)
    assert (len(script.requests), waits) == (1, [])
    assert ledger.rows()[0].failed_attempts == 1


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_key_that_the_server_echoes_is_scrubbed(provider):
    error, _, _, _ = ask(provider, [failure(provider, 400, f"bad key {KEY}!")])
    assert "_API_KEY>" in str(error)  # `ask` asserts that the key itself is nowhere


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_key_at_the_end_of_what_is_shown_is_not_shown_in_part(provider):
    error, _, _, _ = ask(provider, [failure(provider, 400, "x" * 290 + KEY)])
    assert "sk-" not in str(error)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_key_that_the_model_echoes_is_scrubbed(provider):
    completion, _, _, _ = ask(provider, [OK[provider](f"your key is {KEY}.")])
    assert completion.text == "your key is <GEMINI_API_KEY>."


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_page_of_html_is_read_as_a_failure_and_cut_down(provider):
    page = servers.reply(503, HTML, {"Content-Type": "text/html"})
    error, script, _, _ = ask(provider, [page], attempts=2)
    assert "gave up after 2 attempt(s)" in str(error)
    assert "<h1>" not in str(error)
    assert len(script.requests) == 2


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    "broken",
    [
        servers.reply(200, '{"candidates": [{"content"'),
        servers.reply(200, "[]"),
        servers.reply(200, "{}"),
        servers.reply(200, HTML, {"Content-Type": "text/html"}),
        servers.reply(200, "{}", declare=1000),
    ],
    ids=["truncated JSON", "a list", "an empty object", "HTML", "a body cut off"],
)
def test_a_broken_body_is_retried(provider, broken):
    completion, script, _, _ = ask(provider, [broken, OK[provider]()], timeout_s=3.0)
    assert completion.text == "hello"
    assert len(script.requests) == 2


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_body_cut_off_is_charged_at_its_worst_case(provider):
    broken = servers.reply(200, '{"cand', declare=1000)
    _, _, _, ledger = ask(provider, [broken, OK[provider]()])
    (row,) = ledger.rows()
    assert row.failed_attempts == 1
    assert ledger.tokens == 57 + len("sysonetwothree") + 100


@pytest.mark.parametrize("provider", PROVIDERS)
def test_retry_after_as_a_date(provider):
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=20)
    date = email.utils.format_datetime(soon, usegmt=True)
    _, _, (wait,), _ = ask(
        provider, [failure(provider, 429, headers={"Retry-After": date}), OK[provider]()]
    )
    assert 10.0 < wait <= 20.0


def refuses(name, instead=""):
    """OpenAI's words for a parameter that a model does not take."""
    answer = servers.openai_error(
        400, f"Unsupported parameter: '{name}' is not supported with this model.{instead}"
    )
    answer["body"] = answer["body"].replace(
        b'"code": "server_error"', b'"code": "unsupported_parameter"'
    )
    return answer


def test_what_a_reasoning_model_refuses_is_renamed_or_left_out():
    use = " Use 'max_completion_tokens' instead."
    replies = [refuses("max_tokens", use), refuses("temperature"), OK["openai"]()]
    completion, script, waits, _ = ask("openai", replies)
    assert completion.text == "hello"
    assert waits == [0.0, 0.0]
    first, second, third = (item["body"] for item in script.requests)
    assert first["max_tokens"] == second["max_completion_tokens"] == 100
    assert "max_tokens" not in second
    assert second["temperature"] == 0.7
    assert "temperature" not in third
    assert third["max_completion_tokens"] == 100


def test_what_was_refused_once_is_not_sent_again_to_that_model():
    script = servers.Script(refuses("temperature"), OK["openai"]())
    with servers.Server(script) as url:
        client = make_client(LlmConfig(provider="openai", base_url=url))
        client.complete(REQUEST)
        client.complete(REQUEST)
        client.complete(dataclasses.replace(REQUEST, model="other"))
    sent = ["temperature" in item["body"] for item in script.requests]
    assert sent == [True, False, False, True]


def test_a_parameter_that_cannot_be_left_out_is_an_error():
    error, script, _, _ = ask("openai", [refuses("messages")])
    assert "not supported" in str(error)
    assert len(script.requests) == 1


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("how", ["hang", "slow drip"])
def test_the_wall_clock_ends_an_attempt(provider, how):
    slow = OK[provider]()
    slow |= {"hang_s": 20.0} if how == "hang" else {"drip_s": 0.1}
    started = time.monotonic()
    error, script, _, ledger = ask(provider, [slow], timeout_s=0.4, attempts=2)
    assert isinstance(error, LlmError)
    assert time.monotonic() - started < 5.0
    assert len(script.requests) == 2
    # two attempts charged at their worst case: the bytes sent and the full output
    assert ledger.tokens == 2 * (len("sysonetwothree") + 100)


@pytest.mark.parametrize(
    ("provider", "reply", "finish"),
    [
        ("gemini", servers.gemini_ok(None, "MAX_TOKENS"), "max_tokens"),
        ("gemini", servers.gemini_ok(None, "SAFETY"), "blocked"),
        (
            "gemini",
            servers.reply(body={"promptFeedback": {"blockReason": "SAFETY"}}),
            "blocked",
        ),
        ("openai", servers.openai_ok(None, "length"), "max_tokens"),
        ("openai", servers.openai_ok(None, "content_filter"), "blocked"),
        ("openai", servers.openai_ok(None, "stop", refusal="I cannot."), "blocked"),
    ],
)
def test_an_empty_text_is_an_answer_with_its_reason(provider, reply, finish):
    completion, script, _, _ = ask(provider, [reply])
    assert (completion.text, completion.finish_reason) == ("", finish)
    assert len(script.requests) == 1


@pytest.mark.parametrize("provider", PROVIDERS)
def test_no_call_is_made_beyond_a_cap(provider):
    ledger = Ledger(Caps(max_tokens=150))
    error, script, _, _ = ask(provider, [failure(provider, 503)], ledger=ledger)
    assert isinstance(error, LlmError)
    assert len(script.requests) == 3
    tight = Ledger(Caps(max_tokens=100))
    error, script, _, _ = ask(provider, [OK[provider]()], ledger=tight)
    assert isinstance(error, BudgetError)
    assert script.requests == []


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_wait_that_outlasts_the_run_is_not_begun(provider):
    ledger = Ledger(Caps(max_seconds=0.9))
    error, script, waits, _ = ask(provider, [failure(provider, 503)], ledger=ledger)
    assert isinstance(error, LlmError)
    assert (len(script.requests), waits) == (1, [])


def test_no_server_is_a_retried_transport_error():
    for provider in PROVIDERS:
        config = LlmConfig(provider=provider, base_url="http://127.0.0.1:9", max_attempts=2)
        client = make_client(config)
        object.__setattr__(client, "sleep", lambda seconds: None)
        with pytest.raises(LlmError, match=r"after 2 attempt\(s\).*transport error"):
            client.complete(REQUEST)


def test_structured_output_is_asked_for():
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    request = dataclasses.replace(REQUEST, json_schema=schema)
    _, script, _, _ = ask("gemini", [OK["gemini"]()], request=request)
    settings = script.requests[0]["body"]["generationConfig"]
    assert settings["responseMimeType"] == "application/json"
    assert "a" in str(settings["responseJsonSchema"])
    _, script, _, _ = ask("openai", [OK["openai"]()], request=request)
    assert script.requests[0]["body"]["response_format"] == {"type": "json_object"}


def test_auto_takes_gemini_where_a_key_is_set(monkeypatch):
    assert provider_of(LlmConfig()) == "gemini"
    monkeypatch.setenv("GEMINI_API_KEY", "  ")
    assert provider_of(LlmConfig()) == "recorded"
    assert make_client(LlmConfig()).name == "recorded"


def test_a_missing_key_says_which_variable_to_set(monkeypatch):
    monkeypatch.delenv("GEMINI_API_KEY")
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(UserError, match="GEMINI_API_KEY"):
        make_client(LlmConfig(provider="gemini"))
    with pytest.raises(UserError, match="OPENAI_API_KEY"):
        make_client(LlmConfig(provider="openai"))
    assert make_client(LlmConfig(provider="openai", base_url="http://127.0.0.1:9/v1")).name


def test_a_missing_package_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(UserError, match=r"qllm-jax\[openai\]"):
        make_client(LlmConfig(provider="openai"))
