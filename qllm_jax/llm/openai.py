"""Servers that speak OpenAI's chat protocol: OpenAI, DeepSeek, vLLM, Ollama (extra `openai`)."""

import time
from typing import Any

from qllm_jax.errors import UserError
from qllm_jax.llm.client import Completion, Request, Usage
from qllm_jax.llm.retry import (
    AttemptError,
    AttemptFn,
    http_failure,
    parse_delay,
    transport_failure,
)
from qllm_jax.llm.secrets import find_key

# Parameters that some models refuse, and under which name they are sent then; None leaves it out.
_OTHERWISE = {
    "max_tokens": "max_completion_tokens",
    "temperature": None,
    "seed": None,
    "response_format": None,
}
_FINISH = {"stop": "stop", "length": "max_tokens", "content_filter": "blocked"}


def make_openai_attempt(base_url: str | None = None) -> AttemptFn:
    """An attempt function that talks to an OpenAI-compatible server.

    Args:
        base_url: The server, such as `http://127.0.0.1:8000/v1`; None is OpenAI's.

    Raises:
        UserError: The extra is not installed, or OpenAI's own server is meant and no key is set.
    """
    try:
        import openai
    except ImportError as error:
        raise UserError(
            "llm.provider=openai needs the `openai` package: pip install 'qllm-jax[openai]'."
        ) from error
    key = find_key("openai")
    if key is None and base_url is None:
        raise UserError(
            "llm.provider=openai needs a key: set OPENAI_API_KEY in the environment. A local "
            "server that needs none is named with llm.base_url=http://…/v1."
        )
    sdk = openai.OpenAI(api_key=key or "none", base_url=base_url, max_retries=0)

    refused: dict[str, set[str]] = {}  # parameters by model, as the server says

    def attempt(request: Request, timeout_s: float) -> Completion:
        return _attempt(sdk, request, timeout_s, refused.setdefault(request.model, set()))

    return attempt


def _attempt(sdk: Any, request: Request, timeout_s: float, refused: set[str]) -> Completion:
    import openai

    started, arguments = time.monotonic(), _arguments(request, refused)
    try:
        response = sdk.chat.completions.create(**arguments, timeout=timeout_s)
    except openai.APIStatusError as error:
        name = _refused_parameter(error, arguments)
        if name is None:
            raise _api_failure(error) from None
        refused.add(name)
        raise AttemptError(
            f"{request.model} does not take the parameter {name}.", retry=True, delay_s=0.0
        ) from None
    except (openai.OpenAIError, ValueError) as error:
        raise transport_failure(error) from None
    return _completion(response, time.monotonic() - started)


def _arguments(request: Request, refused: set[str]) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "model": request.model,
        "messages": [
            {"role": message.role, "content": message.text} for message in request.messages
        ],
        "temperature": request.temperature,
        "max_tokens": request.max_output_tokens,
        "seed": request.sample,
    }
    if request.json_schema is not None:
        arguments["response_format"] = {"type": "json_object"}
    named = {name: _OTHERWISE[name] if name in refused else name for name in arguments}
    return {other: arguments[name] for name, other in named.items() if other is not None}


def _refused_parameter(error: Any, arguments: dict[str, Any]) -> str | None:
    """Which parameter of ours the server does not take and the call can do without, if any.

    Reasoning models want `max_completion_tokens` and one fixed temperature; other servers lack
    `seed` or `response_format`.
    """
    if error.status_code not in (400, 422):
        return None
    inner = _error_body(error)
    said = f"{inner.get('code')} {inner.get('message')}".lower()
    if not any(word in said for word in ("unsupported", "not support", "unrecognized", "unknown")):
        return None
    sent = [name for name in _OTHERWISE if name in arguments]
    if inner.get("param") in sent:
        return str(inner["param"])
    return next((name for name in sent if f"'{name}'" in said or f"`{name}`" in said), None)


def _completion(response: Any, seconds: float) -> Completion:
    """Text, tokens and the reason it ended; an empty text is an answer, not an error."""
    choices = getattr(response, "choices", None)
    if not choices or getattr(choices[0], "message", None) is None:
        raise AttemptError("the body holds no choice.", retry=True, maybe_billed=True)
    message, usage = choices[0].message, getattr(response, "usage", None)
    finish = choices[0].finish_reason or "unknown"
    refused = bool(getattr(message, "refusal", None)) and not message.content
    output = getattr(usage, "completion_tokens", None) or 0
    thinking = _detail(usage, "completion_tokens_details", "reasoning_tokens")
    return Completion(
        text=message.content or "",
        usage=Usage(
            prompt_tokens=getattr(usage, "prompt_tokens", None) or 0,
            cached_tokens=_detail(usage, "prompt_tokens_details", "cached_tokens"),
            output_tokens=max(output - thinking, 0),
            thinking_tokens=thinking,
        ),
        model_version=getattr(response, "model", None) or "unknown",
        finish_reason="blocked" if refused else _FINISH.get(finish, finish),
        seconds=seconds,
    )


def _detail(usage: Any, group: str, name: str) -> int:
    return getattr(getattr(usage, group, None), name, None) or 0


def _api_failure(error: Any) -> AttemptError:
    inner = _error_body(error)
    message = str(inner.get("message") or error.response.text)
    words = f"{inner.get('code')} {inner.get('type')}"
    ended = error.status_code == 402 or "insufficient_quota" in words
    delay = parse_delay(error.response.headers.get("retry-after"))
    return http_failure(error.status_code, message, delay, quota_ended=ended)


def _error_body(error: Any) -> dict[str, Any]:
    """The error object of a body, whether or not the SDK has unwrapped it."""
    body: dict[str, Any] = error.body if isinstance(error.body, dict) else {}
    nested = body.get("error")
    return nested if isinstance(nested, dict) else body
