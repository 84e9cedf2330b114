"""Loopback servers that answer as Gemini and as OpenAI do, from a script."""

import contextlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Script:
    """Replies in order, the last one for ever; remembers what it was asked."""

    def __init__(self, *replies):
        self.replies, self.requests, self._lock = list(replies), [], threading.Lock()

    def next(self, request):
        with self._lock:
            self.requests.append(request)
            return self.replies[min(len(self.requests), len(self.replies)) - 1]


def reply(status=200, body="", headers=None, *, hang_s=0.0, drip_s=0.0, declare=None):
    """One answer: `declare` is a wrong Content-Length, `drip_s` a pause before every byte."""
    text = body if isinstance(body, str) else json.dumps(body)
    return {
        "status": status,
        "body": text.encode(),
        "headers": headers or {"Content-Type": "application/json"},
        "hang_s": hang_s,
        "drip_s": drip_s,
        "declare": declare,
    }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = self.server.script.next(
            {"path": self.path, "headers": dict(self.headers), "body": json.loads(body)}
        )
        self.server.closing.wait(answer["hang_s"])
        try:
            self.send_response(answer["status"])
            for name, value in answer["headers"].items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(answer["declare"] or len(answer["body"])))
            self.end_headers()
            if answer["drip_s"]:
                for byte in answer["body"]:
                    if self.server.closing.wait(answer["drip_s"]):
                        return
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()
            else:
                self.wfile.write(answer["body"])
            if answer["declare"]:
                self.close_connection = True
        except (OSError, BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def handle(self):
        with contextlib.suppress(ConnectionResetError):  # of a process that was killed
            super().handle()

    def log_message(self, *args):
        pass


class Server:
    """A context manager: `with Server(script) as url`."""

    def __init__(self, script):
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._http.daemon_threads = True
        self._http.block_on_close = False
        self._http.script, self._http.closing = script, threading.Event()

    def __enter__(self):
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def __exit__(self, *exc):
        self._http.closing.set()
        self._http.shutdown()
        self._http.server_close()


def gemini_ok(text="hello", finish="STOP", thoughts=7):
    content = {"role": "model", "parts": [{"text": text}]} if text is not None else {}
    return reply(
        body={
            "candidates": [{"content": content, "finishReason": finish, "index": 0}],
            "usageMetadata": {
                "promptTokenCount": 30,
                "cachedContentTokenCount": 10,
                "candidatesTokenCount": 20,
                "thoughtsTokenCount": thoughts,
                "totalTokenCount": 57,
            },
            "modelVersion": "fake-1",
            "responseId": "r1",
        }
    )


def gemini_error(code, status, message, details=()):
    error = {"code": code, "message": message, "status": status, "details": list(details)}
    return reply(code, {"error": error})


def retry_info(delay):
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}


def daily_quota():
    return {
        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
        "violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}],
    }


def openai_ok(text="hello", finish="stop", refusal=None):
    message = {"role": "assistant", "content": text, "refusal": refusal}
    return reply(
        body={
            "id": "c1",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": "fake-1",
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
            "usage": {
                "prompt_tokens": 30,
                "completion_tokens": 27,
                "total_tokens": 57,
                "prompt_tokens_details": {"cached_tokens": 10},
                "completion_tokens_details": {"reasoning_tokens": 7},
            },
        }
    )


def openai_error(code, message, kind="server_error", headers=None):
    merged = {"Content-Type": "application/json", **(headers or {})}
    return reply(code, {"error": {"message": message, "type": kind, "code": kind}}, merged)
