"""Gemini through google-genai; one attempt per call, the SDK's own retries off."""

import time
from typing import Any

from qllm_jax.errors import UserError
from qllm_jax.llm.client import Completion, Request, Usage
from qllm_jax.llm.retry import AttemptError, AttemptFn, http_failure, parse_delay, transport_failure
from qllm_jax.llm.secrets import find_key

_FINISH = {"STOP": "stop", "MAX_TOKENS": "max_tokens"}
_BLOCKED = frozenset(
    {"SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR"}
)


def make_gemini_attempt(base_url: str | None = None) -> AttemptFn:
    """An attempt function that talks to Gemini.

    Args:
        base_url: Another server that speaks the protocol; None is Google's, or
            `GOOGLE_GEMINI_BASE_URL`.

    Raises:
        UserError: No key is set in the environment.
    """
    key = find_key("gemini")
    if key is None:
        raise UserError(
            "llm.provider=gemini needs a key: set GEMINI_API_KEY (or GOOGLE_API_KEY) in the "
            "environment, or use llm.provider=recorded, which needs none."
        )
    from google import genai
    from google.genai import types

    sdk = genai.Client(
        api_key=key,
        vertexai=False,
        http_options=types.HttpOptions(
            base_url=base_url, retry_options=types.HttpRetryOptions(attempts=1)
        ),
    )

    def attempt(request: Request, timeout_s: float) -> Completion:
        return _attempt(sdk, request, timeout_s)

    return attempt


def _attempt(sdk: Any, request: Request, timeout_s: float) -> Completion:
    from google.genai import errors

    started = time.monotonic()
    try:
        response = sdk.models.generate_content(
            model=request.model, contents=_contents(request), config=_config(request, timeout_s)
        )
    except errors.APIError as error:
        raise _api_failure(error) from None
    except Exception as error:
        raise transport_failure(error) from None  # or a body that is not JSON
    return _completion(response, time.monotonic() - started)


def _contents(request: Request) -> list[Any]:
    from google.genai import types

    roles = {"user": "user", "assistant": "model"}
    return [
        types.Content(role=roles[message.role], parts=[types.Part(text=message.text)])
        for message in request.messages
        if message.role != "system"
    ]


def _config(request: Request, timeout_s: float) -> Any:
    from google.genai import types

    system = [message.text for message in request.messages if message.role == "system"]
    structured = request.json_schema is not None
    return types.GenerateContentConfig(
        system_instruction="\n\n".join(system) or None,
        temperature=request.temperature,
        max_output_tokens=request.max_output_tokens,
        seed=request.sample,
        response_mime_type="application/json" if structured else None,
        response_json_schema=request.json_schema,
        http_options=types.HttpOptions(
            timeout=max(int(timeout_s * 1000), 1),
            retry_options=types.HttpRetryOptions(attempts=1),
        ),
        automatic_continuation=False,
    )


def _completion(response: Any, seconds: float) -> Completion:
    """Text, tokens and the reason it ended; an empty text is an answer, not an error."""
    candidate = response.candidates[0] if response.candidates else None
    parts = candidate.content.parts if candidate and candidate.content else None
    text = "".join(part.text or "" for part in parts or () if not part.thought)
    blocked = getattr(response.prompt_feedback, "block_reason", None)
    reason = getattr(getattr(candidate, "finish_reason", None), "value", None)
    if candidate is None and blocked is None and response.usage_metadata is None:
        raise AttemptError("the body holds no candidate.", retry=True, maybe_billed=True)
    if blocked is not None or reason in _BLOCKED:
        finish = "blocked"
    else:
        finish = _FINISH.get(reason or "", (reason or "unknown").lower())
    usage = response.usage_metadata
    return Completion(
        text=text,
        usage=Usage(
            prompt_tokens=getattr(usage, "prompt_token_count", None) or 0,
            cached_tokens=getattr(usage, "cached_content_token_count", None) or 0,
            output_tokens=getattr(usage, "candidates_token_count", None) or 0,
            thinking_tokens=getattr(usage, "thoughts_token_count", None) or 0,
        ),
        model_version=response.model_version or "unknown",
        finish_reason=finish,
        seconds=seconds,
    )


def _api_failure(error: Any) -> AttemptError:
    body = error.details if isinstance(error.details, dict) else {}
    inner = body.get("error")
    inner = inner if isinstance(inner, dict) else {}
    details = [item for item in inner.get("details") or () if isinstance(item, dict)]
    delay = next(
        (parse_delay(item["retryDelay"]) for item in details if "retryDelay" in item), None
    )
    if delay is None:
        headers = getattr(getattr(error, "response", None), "headers", None) or {}
        delay = parse_delay(headers.get("retry-after"))
    quotas = [
        str(violation.get("quotaId", ""))
        for item in details
        for violation in item.get("violations") or ()
        if isinstance(violation, dict)
    ]
    message = str(error.message or inner.get("message") or error.status or "")
    daily = error.code == 429 and any("PerDay" in quota for quota in quotas)
    return http_failure(error.code, message, delay, quota_ended=daily)
