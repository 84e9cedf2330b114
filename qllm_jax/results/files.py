"""A run's files: replaced in one step, with errors a person can act on, and their plain values.

Called by every module that writes into a job's directory.
"""

import datetime
import errno
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from qllm_jax.errors import UserError
from qllm_jax.files import replace_file


@contextmanager
def explained(action: str) -> Iterator[None]:
    """Turn an `OSError` of writing into a `UserError` that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            fix = "the disk is full (or the quota used up). Free space, or set runner.output_dir"
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            fix = "it is not writable. Set runner.output_dir to a directory that is"
        else:
            fix = f"{error.strerror or error}. Check the path, or set runner.output_dir"
        raise UserError(f"cannot {action}: {fix}.") from error


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """`replace_file`, with an error that says what to do.

    Raises:
        UserError: The disk is full or the directory cannot be written.
    """
    with explained(f"write {path}"):
        replace_file(path, write)


def write_text(path: Path, text: str) -> None:
    """`write_atomically` for UTF-8 text."""
    write_atomically(path, lambda file: file.write(text.encode("utf-8")))


def write_npz(path: Path, arrays: Mapping[str, np.ndarray], compress: bool = False) -> None:
    """`write_atomically` for named arrays."""
    save: Any = np.savez_compressed if compress else np.savez
    write_atomically(path, lambda file: save(file, **arrays))


def plain(value: Any) -> Any:
    """`value` as JSON and YAML can hold it: NumPy to Python, tuples to lists, NaN to None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, tuple | list | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)


def now() -> str:
    """The time, ISO 8601 with zone, to the second."""
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")
