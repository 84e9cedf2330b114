"""The parent's side of the limited child: start it, ask it, kill it.

One child is kept warm between requests, because a cold one costs seconds of imports. It is started
with `python -I` in an empty directory and an environment without keys; it is never forked.
"""

import atexit
import collections
import contextlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from qllm_jax.verify import worker as protocol

START_TIMEOUT_S = 120.0
MEMORY_BYTES = 2 << 30
_REQUESTS_PER_WORKER = 200
_LEAST_FREE_BYTES = 512 << 20  # of address space, for the next function
_KEPT_VARIABLES = ("LD_LIBRARY_PATH", "SYSTEMROOT", "TZ")


class WorkerError(RuntimeError):
    """The child could not be started; the machine is to blame, not the function."""


class WorkerStopped(Exception):
    """A child ended or was killed during a request; the function is to blame.

    Attributes:
        timed_out: It ran past its limit and was killed.
        reason: What happened, a clause.
    """

    def __init__(self, reason: str, timed_out: bool = False):
        self.reason, self.timed_out = reason, timed_out
        super().__init__(reason)


def _environment(directory: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    return kept | {
        "PATH": os.defpath,
        "HOME": directory,
        "TMPDIR": directory,
        "LC_ALL": "C.UTF-8",
        "JAX_PLATFORMS": "cpu",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    }


class Worker:
    """One child process; not thread-safe.

    Args:
        memory_bytes: Limit on its address space.
        command: Replaces the child's program (tests).

    Raises:
        WorkerError: it cannot be started (here), or does not get ready (at the first request).
    """

    def __init__(self, memory_bytes: int = MEMORY_BYTES, command: list[str] | None = None):
        paths = [str(Path(np.__file__).parents[1]), *(p for p in sys.path if "-packages" in p)]
        script = str(Path(protocol.__file__).resolve())
        command = command or [sys.executable, "-I", script, str(memory_bytes), json.dumps(paths)]
        self.requests = 0
        self.free_bytes = memory_bytes
        self._ready = False
        self._directory = tempfile.mkdtemp(prefix="qllm-jax-")
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_environment(self._directory),
                cwd=self._directory,
                start_new_session=True,
            )
        except OSError as error:
            shutil.rmtree(self._directory, ignore_errors=True)
            raise WorkerError(
                f"The verifier's child process could not be started: {error}. It runs "
                f"{command[0]!r}; check that this file exists and that processes may be started."
            ) from error
        self._errors: collections.deque[bytes] = collections.deque(maxlen=40)
        self._drain = threading.Thread(target=self._read_errors, daemon=True)
        self._drain.start()

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        with contextlib.suppress(ValueError, OSError):
            for line in self._process.stderr:
                self._errors.append(line)

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """Process id, which is also its process group's."""
        return self._process.pid

    @property
    def directory(self) -> str:
        """Its working directory, removed by `close`."""
        return self._directory

    def wait_ready(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until the child answers. Raises WorkerError, with what it wrote, if it does not."""
        if self._ready:
            return
        try:
            self._receive(time.monotonic() + timeout_s)
        except (WorkerStopped, ValueError) as error:
            self.close()
            wrote = b"".join(self._errors).decode(errors="replace").strip()[-1500:]
            raise WorkerError(
                f"The verifier's child process did not get ready: {error}. Check that "
                f"`{sys.executable} -I -c 'import jax'` works within {timeout_s:g} s on this "
                f"machine. It wrote: {wrote or 'nothing'}"
            ) from error
        self._ready = True

    def ask(
        self, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray], timeout_s: float
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Send one request and wait for its answer.

        Raises:
            WorkerError: the child never got ready.
            WorkerStopped: it ended, or ran past `timeout_s` and was killed with its group.
        """
        self.wait_ready()
        self.requests += 1
        deadline = time.monotonic() + timeout_s
        try:
            self._send(protocol.pack(header, arrays), deadline)
            answer, out = self._receive(deadline)
        except ValueError as error:
            self.close()
            raise WorkerStopped(f"its answer could not be read ({error})") from error
        except WorkerStopped:
            self.close()
            raise
        self.free_bytes = int(answer.get("free_bytes", self.free_bytes))
        return answer, out

    def _send(self, frame: bytes, deadline: float) -> None:
        assert self._process.stdin is not None
        descriptor = self._process.stdin.fileno()
        os.set_blocking(descriptor, False)
        view = memoryview(frame)
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_WRITE)
            while view:
                self._wait(selector, deadline)
                try:
                    view = view[os.write(descriptor, view[: 1 << 16]) :]
                except BlockingIOError:
                    continue
                except OSError as error:
                    raise self._ended() from error

    def _receive(self, deadline: float) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        length = protocol.frame_length(self._read(protocol.LENGTH_BYTES, deadline))
        return protocol.unpack(self._read(length, deadline))

    def _read(self, count: int, deadline: float) -> bytes:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        parts, missing = [], count
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            while missing:
                self._wait(selector, deadline)
                part = os.read(descriptor, min(missing, 1 << 20))
                if not part:
                    raise self._ended()
                parts.append(part)
                missing -= len(part)
        return b"".join(parts)

    def _wait(self, selector: selectors.BaseSelector, deadline: float) -> None:
        if not selector.select(max(0.0, deadline - time.monotonic())):
            raise WorkerStopped("it ran past its time limit and was killed", timed_out=True)

    def _ended(self) -> WorkerStopped:
        try:
            code = self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            return WorkerStopped("it closed its pipes")
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return WorkerStopped(f"it ended with {name}")

    def close(self) -> None:
        """Kill the process group, close the pipes, remove the directory. May be called twice."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self._process.returncode is None:
                os.killpg(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10.0)
        self._drain.join(1.0)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        shutil.rmtree(self._directory, ignore_errors=True)


class WorkerPool:
    """Serves requests from one warm child, replaced once it died, grew or grew old.

    Thread-safe: requests queue. After a fork the copy starts its own child.
    """

    def __init__(self, memory_bytes: int = MEMORY_BYTES):
        self._memory_bytes = memory_bytes
        self._lock = threading.Lock()
        self._worker: Worker | None = None
        self._owner = os.getpid()

    def warm_up(self) -> None:
        """Start the child and wait until it answers."""
        with self._lock:
            self._current().wait_ready()

    def ask(
        self, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray], timeout_s: float
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """As `Worker.ask`; a child that died between requests is replaced first."""
        with self._lock:
            worker = self._current()
            worker.wait_ready()
            try:
                return worker.ask(header, arrays, timeout_s)
            finally:
                old = worker.requests >= _REQUESTS_PER_WORKER
                if old or worker.free_bytes < _LEAST_FREE_BYTES or not worker.alive:
                    worker.close()
                    self._worker = None
                    with contextlib.suppress(WorkerError):  # warms up while nobody waits
                        self._worker = Worker(self._memory_bytes)

    def _current(self) -> Worker:
        if self._owner != os.getpid():
            self._worker, self._owner = None, os.getpid()
        if self._worker is not None and not self._worker.alive:
            self._worker.close()
            self._worker = None
        if self._worker is None:
            self._worker = Worker(self._memory_bytes)
        return self._worker

    def close(self) -> None:
        """Kill the child, if this process started it."""
        with self._lock:
            if self._worker is not None and self._owner == os.getpid():
                self._worker.close()
            self._worker = None


POOL = WorkerPool()
atexit.register(POOL.close)
