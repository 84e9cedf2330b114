"""Transcripts: one request and its completion in one JSON file, addressed by what was asked.

What the machine measured differs in the last digits from one machine to the next, and a
verifier's wording changes from one version to the next. Such text stands in a prompt between
`<observed>` and `</observed>`, and the *question* that addresses a transcript has each such
block replaced by a placeholder. So a recorded answer is found again wherever it answers the same
question: same task text, same instructions, same parent function, same candidates to judge.
Whoever records answers for replay must therefore write them so that they hold whatever the
observed blocks say.

A file is named `<question>-<answer>.json`: `question` hashes purpose, messages, sample index and
schema; `answer` hashes provider, model and settings, so that two models' answers to one question
lie side by side.
"""

import dataclasses
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from qllm_jax.errors import UserError
from qllm_jax.files import replace_text
from qllm_jax.llm.client import Completion, Message, Request, Usage

_OBSERVED = re.compile(r"<observed>.*?</observed>", re.DOTALL)
_TAG = re.compile(r"<(/?)observed>", re.IGNORECASE)


def observed(text: str) -> str:
    """Mark text that depends on this machine's measurements."""
    return f"<observed>\n{without_tags(text).strip()}\n</observed>"


def without_tags(text: str) -> str:
    """Text from outside, such as a model's answer, that can no longer open or close a block."""
    return _TAG.sub(r"(\1observed)", text)


def canonical_text(text: str) -> str:
    """The part of a message that addresses a transcript."""
    return _OBSERVED.sub("<observed/>", text)


def question_key(request: Request) -> str:
    """16 hex digits that say what was asked: purpose, messages, sample index, schema."""
    return _digest(
        {
            "purpose": request.purpose,
            "messages": [
                [message.role, canonical_text(message.text)] for message in request.messages
            ],
            "sample": request.sample,
            "json_schema": request.json_schema,
        }
    )


def answer_key(provider: str, request: Request) -> str:
    """16 hex digits that say who was asked, and how: provider, model, settings."""
    return _digest(
        {
            "provider": provider,
            "model": request.model,
            "temperature": request.temperature,
            "max_output_tokens": request.max_output_tokens,
        }
    )


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def transcript_name(provider: str, request: Request) -> str:
    """The file that holds a provider's answer to a request."""
    return f"{question_key(request)}-{answer_key(provider, request)}.json"


@dataclasses.dataclass(frozen=True)
class Transcript:
    """A request, what answered it, and who that was.

    Attributes:
        provider: "gemini", "openai", ….
        source: Who wrote the completion, in words.
        request: As sent.
        completion: As received.
        label: Which turn of a design run it answers, such as "r2c1@r1c3"; "" where unknown. For
            people and for re-keying, never for look-up.
    """

    provider: str
    source: str
    request: Request
    completion: Completion
    label: str = ""

    @property
    def file_name(self) -> str:
        """Its content address."""
        return transcript_name(self.provider, self.request)


def write_transcript(directory: Path, transcript: Transcript) -> Path:
    """Write one file, whole and synced: the journal counts on it. An equal address is replaced.

    Raises:
        UserError: The directory cannot be written.
    """
    path = directory / transcript.file_name
    content = {
        "provider": transcript.provider,
        "source": transcript.source,
        "label": transcript.label,
        "request": _request_to_json(transcript.request),
        "completion": completion_to_json(transcript.completion),
    }
    try:
        directory.mkdir(parents=True, exist_ok=True)
        replace_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        raise UserError(
            f"cannot write the transcript {path}: {error.strerror}. Free space there or choose "
            "another directory; every answer before this one is kept, and the run resumes."
        ) from error
    return path


def read_transcript(path: Path) -> Transcript:
    """Read one file.

    Raises:
        UserError: It is not a transcript.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
        request = content["request"]
        return Transcript(
            provider=content["provider"],
            source=content["source"],
            request=Request(
                purpose=request["purpose"],
                model=request["model"],
                messages=tuple(
                    Message(item["role"], _joined(item["text"])) for item in request["messages"]
                ),
                temperature=request["temperature"],
                max_output_tokens=request["max_output_tokens"],
                sample=request["sample"],
                json_schema=request["json_schema"],
            ),
            completion=completion_from_json(content["completion"]),
            label=content.get("label", ""),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is not a readable transcript ({type(error).__name__}: {error}). "
            "Delete it and record that request again."
        ) from error


def completion_to_json(completion: Completion) -> dict[str, Any]:
    """Plain values; text as a list of lines, which a person can read and a diff can show."""
    return {**dataclasses.asdict(completion), "text": completion.text.split("\n")}


def completion_from_json(content: dict[str, Any]) -> Completion:
    """The inverse of `completion_to_json`."""
    return Completion(
        **{**content, "text": _joined(content["text"]), "usage": Usage(**content["usage"])}
    )


def _request_to_json(request: Request) -> dict[str, Any]:
    messages = [
        {"role": message.role, "text": message.text.split("\n")} for message in request.messages
    ]
    return {**dataclasses.asdict(request), "messages": messages}


def _joined(text: str | list[str]) -> str:
    return text if isinstance(text, str) else "\n".join(text)
