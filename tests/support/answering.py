"""A model on a loopback server: it answers as was recorded, after failures of its own."""

import threading

import servers

from qllm_jax.llm import Message, Request
from qllm_jax.synthesis.evaluators import ANSWER_SCHEMA
from qllm_jax.synthesis.rerecord import turn_label

KEY = "sk-very-secret-key-123456"
KEY_VARIABLE = {"gemini": "GEMINI_API_KEY", "openai": "OPENAI_API_KEY"}
_OK = {"gemini": servers.gemini_ok, "openai": servers.openai_ok}
_ECHO = {"X-Your-Key": KEY, "WWW-Authenticate": f"Bearer {KEY}"}
_FAILURES = (
    servers.openai_error(429, f"{KEY} is too fast", headers={"Retry-After": "0", **_ECHO}),
    servers.reply(
        503, f"<html><h1>{KEY} is down</h1></html>", {"Content-Type": "text/html", **_ECHO}
    ),
    servers.reply(200, f'{{"key": "{KEY}", "cand', declare=1000),
)


class Answering:
    """A server's script: every call is answered as recorded, after a failure that echoes the key.

    Attributes:
        asked: How often each turn was asked, by label.
        paid: How often each turn was answered.
        held: Labels that are never answered; `waiting` is set when one is asked.
    """

    def __init__(self, provider, recorded):
        self.provider, self.recorded = provider, recorded
        self.asked, self.paid, self._lock = {}, {}, threading.Lock()
        self.held, self.waiting = set(), threading.Event()

    def next(self, sent):
        label, request = self._read(sent["body"])
        with self._lock:
            self.asked[label] = self.asked.get(label, 0) + 1
            first, number = self.asked[label] == 1, len(self.asked)
        if label in self.held:
            self.waiting.set()
            return servers.reply(500, "nobody waits for this", hang_s=600.0)
        if first:
            return _FAILURES[number % len(_FAILURES)]
        text = self.recorded.complete(request).text
        with self._lock:
            self.paid[label] = self.paid.get(label, 0) + 1
        return _OK[self.provider](f"{text}\nYour key is {KEY}." if label == "r1c1" else text)

    def _read(self, body):
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
        roles = {"user": "user", "model": "assistant", "assistant": "assistant"}
        messages = (Message("system", system), *(Message(roles[role], t) for role, t in turns))
        purpose = "evaluator" if structured else "coder"
        schema = ANSWER_SCHEMA if structured else None
        request = Request(purpose, "fake", messages, 0.0, 1, sample, schema)
        return turn_label(request), request


def assert_no_key(directory):
    """The key stands in no file below a directory, and in no file's name."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert len(files) > 8
    for path in files:
        assert KEY not in str(path)
        assert KEY.encode() not in path.read_bytes(), path
