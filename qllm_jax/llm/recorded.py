"""Replaying completions without a key, and recording them for later."""

import dataclasses
import re
import threading
from pathlib import Path

from qllm_jax.errors import UserError
from qllm_jax.llm.client import RECORDED, Client, Completion, Request
from qllm_jax.llm.transcripts import (
    Transcript,
    canonical_text,
    question_key,
    read_transcript,
    transcript_name,
    write_transcript,
)


class RecordedClient:
    """Answers from transcripts; costs nothing, needs no key and no network."""

    name = RECORDED

    def __init__(self, directories: Path | tuple[Path, ...]):
        """Look for transcripts in the given directories and those below them.

        Raises:
            UserError: A directory does not exist.
        """
        self.directories = directories if isinstance(directories, tuple) else (Path(directories),)
        for directory in self.directories:
            if not directory.is_dir():
                raise UserError(
                    f"there is no directory of transcripts at {directory}. Give one that a "
                    "recording run wrote (its folder `transcripts`), or leave out llm.transcripts."
                )
        self._paths: dict[str, list[Path]] = {}
        for directory in self.directories:
            for path in sorted(directory.rglob("*-*.json")):
                self._paths.setdefault(path.name.partition("-")[0], []).append(path)

    def find(self, request: Request) -> Transcript:
        """The transcript of a request; among several models' answers, that of its model.

        Two tasks with the same prompt, such as `matrix/penalty` and `matrix/penalty-100`, hold
        copies of one answer; these count once.

        Raises:
            UserError: There is none (says which request is missing and how to record it), or
                several models answered and none is the one asked for.
        """
        found = [read_transcript(path) for path in self._paths.get(question_key(request), [])]
        if not found:
            raise UserError(self._missing(request))
        exact = [item for item in found if item.request.model == request.model]
        if exact or len({(item.request.model, item.completion.text) for item in found}) == 1:
            return (exact or found)[0]
        models = sorted({item.request.model for item in found})
        raise UserError(
            f"{len(found)} recorded answers fit this {request.purpose} request, by "
            f"{', '.join(models)}, none by {request.model!r}. Set llm.{request.purpose}_model to "
            "one of them."
        )

    def complete(self, request: Request) -> Completion:
        """Answer from the transcript."""
        return self.find(request).completion

    def _missing(self, request: Request) -> str:
        last = canonical_text(request.messages[-1].text).strip().split("\n")
        headings = [
            line
            for message in request.messages
            for line in message.text.split("\n")
            if message.role == "user" and re.match(r"# [\w-]+/", line)
        ]
        about = f"about {headings[0].lstrip('# ')!r}, " if headings else ""
        where = ", ".join(str(directory) for directory in self.directories)
        return (
            f"no recorded answer to this {request.purpose} request (question "
            f"{question_key(request)}, {about}sample {request.sample}, {len(request.messages)} "
            f"messages, the last one begins {last[0]!r}) under {where}. A transcript answers one "
            "exact prompt: another task, setting or prompt text needs its own. To record it, run "
            "the same command with llm.provider=gemini (GEMINI_API_KEY set) or "
            "llm.provider=openai; its run directory then holds `transcripts/`, which "
            "llm.provider=recorded llm.transcripts=DIR replays."
        )


@dataclasses.dataclass(frozen=True)
class RecordingClient:
    """Writes a transcript of every completion of another client.

    What the directory holds is not asked again: a run that was killed between an answer and its
    journal does not pay twice.

    Attributes:
        client: Who answers.
        directory: Where transcripts go.
        source: Who wrote the completions, in words; None says provider and model version.
    """

    client: Client
    directory: Path
    source: str | None = None
    _lock: threading.Lock = dataclasses.field(default_factory=threading.Lock, repr=False)

    @property
    def name(self) -> str:
        """The provider's."""
        return self.client.name

    def complete(self, request: Request) -> Completion:
        """Answer, then write the transcript."""
        path = self.directory / transcript_name(self.client.name, request)
        if path.exists():
            return read_transcript(path).completion
        completion = self.client.complete(request)
        source = self.source or f"{self.client.name}, model version {completion.model_version}"
        with self._lock:
            write_transcript(
                self.directory, Transcript(self.client.name, source, request, completion)
            )
        return completion
