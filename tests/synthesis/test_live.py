"""The whole loop over loopback servers that speak both protocols, failing in between."""

import importlib.util
import threading
from pathlib import Path

import pytest
from design_loop import quick_verify

from qllm_jax.config import Config, LlmConfig, SynthesisConfig
from qllm_jax.llm import Message, Request, make_client
from qllm_jax.synthesis import generate
from qllm_jax.synthesis import loop as loop_module
from qllm_jax.synthesis.rerecord import turn_label

_PATH = Path(__file__).parents[1] / "llm" / "servers.py"
_spec = importlib.util.spec_from_file_location("servers", _PATH)
servers = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(servers)

KEY = "sk-very-secret-key-123456"
OK = {"gemini": servers.gemini_ok, "openai": servers.openai_ok}
CUT = servers.reply(200, '{"cand', declare=1000)
HTML = servers.reply(503, "<html><h1>Down</h1></html>", {"Content-Type": "text/html"})
SLOW = servers.openai_error(429, "slow", headers={"Retry-After": "0"})


class Answering:
    """A server's script that answers as was recorded, each call after a failure of its own."""

    def __init__(self, provider, recorded):
        self.provider, self.recorded = provider, recorded
        self.asked, self.count, self._lock = {}, 0, threading.Lock()

    def next(self, sent):
        label, request = self.read(sent["body"])
        with self._lock:
            self.asked[label] = self.asked.get(label, 0) + 1
            first, number = self.asked[label] == 1, len(self.asked)
        if first:
            return (SLOW, HTML, CUT)[number % 3]
        text = self.recorded.complete(request).text
        return OK[self.provider](f"{text}\nYour key is {KEY}." if label == "r1c1" else text)

    def read(self, body):
        """The request that a body asks, as the loop's replay knows it."""
        if self.provider == "gemini":
            system = body["systemInstruction"]["parts"][0]["text"]
            turns = [(item["role"], item["parts"][0]["text"]) for item in body["contents"]]
            structured = "responseJsonSchema" in body["generationConfig"]
            sample = body["generationConfig"].get("seed", 0)
        else:
            system = body["messages"][0]["content"]
            turns = [(item["role"], item["content"]) for item in body["messages"][1:]]
            structured, sample = "response_format" in body, body["seed"]
        from qllm_jax.synthesis.evaluators import ANSWER_SCHEMA

        roles = {"user": "user", "model": "assistant", "assistant": "assistant"}
        messages = (Message("system", system), *(Message(roles[role], t) for role, t in turns))
        purpose = "evaluator" if structured else "coder"
        schema = ANSWER_SCHEMA if structured else None
        request = Request(purpose, "fake", messages, 0.0, 1, sample, schema)
        return turn_label(request), request


@pytest.mark.parametrize("provider", ["gemini", "openai"])
def test_a_run_through_a_failing_server_ends_as_its_replay_does(
    climbing, recorded, fake_measure, tmp_path, monkeypatch, provider
):
    """Every call is refused, cut off or answered by a page first; r1c1 is told our key."""
    monkeypatch.setattr(loop_module, "verify", quick_verify)
    for variable in ("GOOGLE_API_KEY", "GEMINI_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("GEMINI_API_KEY" if provider == "gemini" else "OPENAI_API_KEY", KEY)
    synthesis = SynthesisConfig(final_seeds=2)
    script = Answering(provider, recorded)
    with servers.Server(script) as url:
        config = Config(llm=LlmConfig(provider=provider, base_url=url), synthesis=synthesis)
        client = make_client(config.llm)
        object.__setattr__(client, "sleep", lambda seconds: None)
        live = generate(climbing, config, client, tmp_path / "live", None, fake_measure("r2c2"))
    config = Config(llm=LlmConfig(provider="recorded"), synthesis=synthesis)
    replay = generate(climbing, config, recorded, tmp_path / "replay", None, fake_measure("r2c2"))
    assert live.chosen.name == replay.chosen.name == "r2c2"
    assert live.artifact.sha256 == replay.artifact.sha256
    assert [item.verdict for item in live.candidates] == [
        item.verdict for item in replay.candidates
    ]
    assert set(script.asked.values()) == {2}
    assert sum(row.calls for row in live.costs) == len(script.asked)
    assert sum(row.failed_attempts for row in live.costs) == len(script.asked)
    assert all(row.dollars is None for row in live.costs)
    files = [path for path in (tmp_path / "live").rglob("*") if path.is_file()]
    assert len(files) > 8
    for path in files:
        assert KEY.encode() not in path.read_bytes(), path
