"""Servers that speak OpenAI's chat protocol: OpenAI, DeepSeek, vLLM, Ollama (extra `openai`)."""

import time
from typing import Any

from qllm_jax.errors import UserError
from qllm_jax.llm.client import Completion, Request, Usage
from qllm_jax.llm.retry import AttemptError, AttemptFn, http_failure, parse_delay
from qllm_jax.llm.secrets import find_key

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

    def attempt(request: Request, timeout_s: float) -> Completion:
        return _attempt(sdk, request, timeout_s)

    return attempt


def _attempt(sdk: Any, request: Request, timeout_s: float) -> Completion:
    import openai

    started = time.monotonic()
    try:
        response = sdk.chat.completions.create(**_arguments(request), timeout=timeout_s)
    except openai.APITimeoutError:
        raise AttemptError("time-out.", retry=True, maybe_billed=True) from None
    except openai.APIStatusError as error:
        raise _api_failure(error) from None
    except openai.APIConnectionError:
        raise AttemptError("transport error.", retry=True) from None
    except (openai.OpenAIError, ValueError) as error:
        raise AttemptError(
            f"the body is not what the protocol says ({type(error).__name__}).",
            retry=True,
            maybe_billed=True,
        ) from None
    return _completion(response, time.monotonic() - started)


def _arguments(request: Request) -> dict[str, Any]:
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
    return arguments


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
    body: dict[str, Any] = error.body if isinstance(error.body, dict) else {}
    nested = body.get("error")
    inner: dict[str, Any] = nested if isinstance(nested, dict) else body
    message = str(inner.get("message") or error.response.text)
    words = f"{inner.get('code')} {inner.get('type')}"
    ended = error.status_code == 402 or "insufficient_quota" in words
    delay = parse_delay(error.response.headers.get("retry-after"))
    return http_failure(error.status_code, message, delay, quota_ended=ended)
