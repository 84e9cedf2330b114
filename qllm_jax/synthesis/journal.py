"""The journal: every finished step of a run, one JSON event a line, synced before it counts.

The loop is a deterministic program over *steps* (an answer, a check, a measurement). A step that
the journal holds is not done again; its recorded value is used. So a killed run continues where
it stopped, and ends as it would have ended. A line that was cut off by the kill is dropped.
"""

import contextlib
import fcntl
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from qllm_jax.errors import UserError

_START = "start"


class Journal:
    """Append-only; one process at a time; thread-safe."""

    def __init__(self, directory: Path, identity: dict[str, Any]):
        """Open or resume the journal of a directory.

        Args:
            directory: The run's; created where missing.
            identity: What must be equal for a run to be the same run: task, settings, provider.

        Raises:
            UserError: Another process runs here, the directory cannot be written, or it holds
                another run.
        """
        self.directory, self.path = directory, directory / "journal.jsonl"
        self._lock = threading.Lock()
        self._events: dict[str, Any] = {}
        self._meta: list[dict[str, Any]] = []
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._guard = _lock_directory(directory)
        except OSError as error:
            raise _cannot_write(self.path, error) from error
        try:
            self._read()
            # Unbuffered: a failed write must not be tried again when the file is closed.
            self._file = self.path.open("ab", buffering=0)
            self._size = self.path.stat().st_size
        except OSError as error:
            self._guard.close()
            raise _cannot_write(self.path, error) from error
        except BaseException:
            self._guard.close()
            raise
        try:
            self._identify(identity)
        except BaseException:
            self.close()
            raise

    @property
    def events(self) -> list[dict[str, Any]]:
        """Every event so far, in order: `{"step", "seconds", "value"}`."""
        with self._lock:
            return list(self._meta)

    def holds(self, step: str) -> bool:
        """Whether a step is finished."""
        with self._lock:
            return step in self._events

    def value(self, step: str) -> Any:
        """The recorded value of a finished step."""
        with self._lock:
            return self._events[step]

    def step(self, step: str, do: Callable[[], Any], *, seconds: float = 0.0) -> Any:
        """The recorded value of a step, or do it and record its value.

        Args:
            step: Unique id within the run.
            do: Gives plain JSON values; what it raises is not recorded.
            seconds: Wall time of the run, kept with the event.
        """
        with self._lock:
            if step in self._events:
                return self._events[step]
        value = do()
        self.record(step, value, seconds=seconds)
        return self._events[step]

    def record(self, step: str, value: Any, *, seconds: float = 0.0) -> None:
        """Append one event and wait until the disk has it.

        Raises:
            UserError: It cannot be written.
        """
        event = {"step": step, "seconds": round(seconds, 3), "value": value}
        line = json.dumps(event, ensure_ascii=False).encode() + b"\n"
        with self._lock:
            assert step not in self._events, f"step {step} was done twice"
            try:
                written = 0
                while written < len(line):
                    written += self._file.write(line[written:])
                os.fsync(self._file.fileno())
            except OSError as error:
                with contextlib.suppress(OSError):  # else the next event would end a torn line
                    os.ftruncate(self._file.fileno(), self._size)
                raise _cannot_write(self.path, error) from error
            self._size += len(line)
            stored = json.loads(line)
            self._events[step] = stored["value"]
            self._meta.append(stored)

    def close(self) -> None:
        """Let another process in."""
        self._file.close()
        self._guard.close()

    def _read(self) -> None:
        """Load finished events; cut off what a kill left half-written."""
        if not self.path.exists():
            return
        raw = self.path.read_bytes()
        whole = raw[: raw.rfind(b"\n") + 1]
        for number, line in enumerate(whole.split(b"\n")[:-1], start=1):
            try:
                event = json.loads(line)
                self._events[event["step"]] = event["value"]
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(
                    f"line {number} of {self.path} is not an event ({error}). The file was edited "
                    "or damaged; delete the directory to start over."
                ) from error
            self._meta.append(event)
        if len(whole) != len(raw):
            with self.path.open("r+b") as file:
                file.truncate(len(whole))

    def _identify(self, identity: dict[str, Any]) -> None:
        identity = json.loads(json.dumps(identity, sort_keys=True))
        if _START not in self._events:
            self.record(_START, identity)
            return
        before = self._events[_START]
        old, new = dict(_leaves(before)), dict(_leaves(identity))
        changed = [
            f"{key}: {old.get(key)!r} → {new.get(key)!r}"
            for key in sorted({*old, *new})
            if old.get(key) != new.get(key)
        ]
        if changed:
            raise UserError(
                f"{self.directory} holds a run with other settings ({'; '.join(changed)}). Use "
                "another directory, or the same settings to resume it."
            )


def _leaves(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Values by dotted key, as a person writes them."""
    for key, item in values.items():
        if isinstance(item, dict) and item:
            yield from _leaves(item, f"{prefix}{key}.")
        else:
            yield prefix + key, item


def _lock_directory(directory: Path) -> TextIO:
    """Hold an advisory lock that ends with the process, however it ends."""
    guard = (directory / "journal.lock").open("a", encoding="utf-8")
    try:
        fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        guard.close()
        raise UserError(
            f"another process is running in {directory}. Wait for it, or use another directory."
        ) from error
    return guard


def _cannot_write(path: Path, error: OSError) -> UserError:
    return UserError(
        f"cannot write {path}: {error.strerror or error}. Free space or choose another directory; "
        "every finished step before this one is kept, and the same command resumes."
    )
