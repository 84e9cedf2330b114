"""`ReportData` on disk, so that a report can be written again from a job's directory.

Two files: `report.json` holds everything but arrays, `report.npz` the arrays that it refers to.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from qllm_jax.errors import UserError
from qllm_jax.results import report_data
from qllm_jax.results.files import plain, write_npz, write_text

JSON_FILE = "report.json"
ARRAYS_FILE = "report.npz"
_KINDS: dict[str, Any] = {
    name: kind for name, kind in vars(report_data).items() if dataclasses.is_dataclass(kind)
}
_ARRAY, _KIND = "__array__", "__kind__"


def save_report_data(directory: str | Path, data: report_data.ReportData) -> None:
    """Write `report.json` and `report.npz` into `directory`.

    Raises:
        UserError: The place cannot be written.
    """
    directory = Path(directory)
    arrays: dict[str, np.ndarray] = {}
    packed = _pack(data, arrays)
    write_npz(directory / ARRAYS_FILE, arrays, compress=True)
    write_text(directory / JSON_FILE, json.dumps(packed, indent=1, allow_nan=True) + "\n")


def load_report_data(directory: str | Path) -> report_data.ReportData:
    """Read what `save_report_data` wrote.

    Raises:
        UserError: There is none, or it is damaged.
    """
    directory = Path(directory)
    try:
        packed = json.loads((directory / JSON_FILE).read_text(encoding="utf-8"))
        with np.load(directory / ARRAYS_FILE, allow_pickle=False) as file:
            data = _unpack(packed, dict(file))
    except FileNotFoundError:
        raise UserError(
            f"{directory} holds no {JSON_FILE} and {ARRAYS_FILE}. Give the directory of a job that "
            "wrote a report."
        ) from None
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise UserError(f"the report's data in {directory} is damaged: {error}") from None
    if not isinstance(data, report_data.ReportData):
        raise UserError(f"{directory / JSON_FILE} does not hold a report.")
    return data


def _pack(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {_KIND: type(value).__name__, **_pack(fields, arrays)}
    if isinstance(value, np.ndarray) or hasattr(value, "__array__"):
        name = f"a{len(arrays)}"
        arrays[name] = np.asarray(value)
        return {_ARRAY: name}
    if isinstance(value, Mapping):
        return {str(key): _pack(item, arrays) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_pack(item, arrays) for item in value]
    return value if isinstance(value, float) else plain(value)


def _unpack(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if isinstance(value, list):
        return tuple(_unpack(item, arrays) for item in value)
    if not isinstance(value, dict):
        return value
    if _ARRAY in value:
        return arrays[value[_ARRAY]]
    fields = {key: _unpack(item, arrays) for key, item in value.items() if key != _KIND}
    return _KINDS[value[_KIND]](**fields) if _KIND in value else fields
