"""Run directories: `RunStore` writes one while a run goes on, `RunResult` reads it.

Every file is replaced in one step (written beside, then renamed) or appended to line by line, so
that a run that is stopped at any moment leaves a readable directory.
"""

import csv
import dataclasses
import datetime
import fcntl
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
import yaml

from qllm_jax.errors import UserError
from qllm_jax.results.files import explained, now, plain, write_npz, write_text
from qllm_jax.results.report_data import RunSummary

CONFIG_FILE = "config.yaml"
INFO_FILE = "run.json"
METRICS_FILE = "metrics.npz"
JSONL_FILE = "metrics.jsonl"
CSV_FILE = "metrics.csv"
REPORT_FILE = "report.html"
CHECKPOINT_DIR = "checkpoints"
REPLACED = "replaced"  # below a job, trainings that no longer belong to it; no report shows them
_LOCK_FILE = ".lock"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+-]*")


def run_parent(output_dir: str | Path, task: str, mixer: str) -> Path:
    """`<output_dir>/<task>/<mixer>`, where the run directories of that pair are."""
    return Path(output_dir) / task / mixer


class RunStore:
    """The writer of one run directory; a context manager that marks how the run ended.

    Leaving normally marks it complete, leaving by Ctrl-C or an error marks it interrupted.
    """

    def __init__(self, path: Path, lock: IO[str], info: dict[str, Any]):
        self.path = path
        self._lock = lock
        self._info = info
        self._metrics: dict[str, list[np.ndarray]] = {}
        self._env_steps: list[int] = []

    @classmethod
    def create(
        cls,
        parent: str | Path,
        name: str | None,
        config: Mapping[str, Any],
        *,
        seeds: Sequence[int] = (),
        info: Mapping[str, Any] | None = None,
    ) -> Self:
        """Make a directory of its own and write `config.yaml` and `run.json`.

        Args:
            parent: `run_parent(output_dir, task, mixer)`, or any directory.
            name: Of the new directory; None takes a time stamp, with a number where it is taken.
            config: Nested plain values, from `config_to_mapping`.
            seeds: S seed ids, in the order of the metrics' rows; empty counts from 0.
            info: More for `run.json`: task, mixer, versions, device, precision, command, ….

        Raises:
            UserError: The name is taken or not a file name, or the place cannot be written.
        """
        parent = Path(parent)
        if name is not None and not _NAME.fullmatch(name):
            raise UserError(
                f"run name {name!r} is not a plain directory name. Use letters, digits and ._=+-"
            )
        path = _make_directory(parent, name)
        store = cls(path, _locked(path), {})
        with explained(f"create {path / CHECKPOINT_DIR}"):
            (path / CHECKPOINT_DIR).mkdir()
        text = yaml.safe_dump(plain(config), sort_keys=False, allow_unicode=True)
        write_text(path / CONFIG_FILE, text)
        store.update_info(status="running", started=now(), seeds=list(seeds), **(info or {}))
        return store

    @classmethod
    def reopen(cls, path: str | Path) -> Self:
        """Continue in an existing directory, with the metrics it has.

        Raises:
            UserError: It is not a run directory, or another process is writing it.
        """
        path = Path(path)
        info, _ = _read_base(path)
        store = cls(path, _locked(path), info)
        if (path / METRICS_FILE).exists():
            store._load_metrics()
        store.update_info(status="running", resumed=now())
        return store

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints go."""
        return self.path / CHECKPOINT_DIR

    @property
    def info(self) -> Mapping[str, Any]:
        """What `run.json` holds."""
        return dict(self._info)

    @property
    def num_evaluations(self) -> int:
        """Evaluations written so far."""
        return len(self._env_steps)

    def append(self, env_steps: int, metrics: Mapping[str, Any]) -> None:
        """Add one evaluation; on return it is on disk.

        Args:
            env_steps: Per seed, since the start of the run; grows from call to call.
            metrics: `return` [S] and whatever else was measured, each [S, ...]; the same names
                every time.
        """
        rows = {key: np.asarray(value) for key, value in metrics.items()}
        _check_evaluation(rows, set(self._metrics), env_steps, self._env_steps)
        self._env_steps.append(int(env_steps))
        for key, value in rows.items():
            self._metrics.setdefault(key, []).append(value)
        self._write_npz()
        with explained(f"append to {self.path / JSONL_FILE}"):
            with open(self.path / JSONL_FILE, "a", encoding="utf-8") as file:
                file.write(self._jsonl(-1))
            new = not (self.path / CSV_FILE).exists()
            with open(self.path / CSV_FILE, "a", encoding="utf-8", newline="") as file:
                file.write(("seed,env_steps,metric,value\n" if new else "") + self._csv(-1))

    def truncate(self, env_steps: int) -> None:
        """Forget evaluations after `env_steps`, as a run resumed from a checkpoint must."""
        keep = sum(step <= env_steps for step in self._env_steps)
        self._env_steps = self._env_steps[:keep]
        self._metrics = {key: values[:keep] for key, values in self._metrics.items()}
        self._write_npz()
        write_text(self.path / JSONL_FILE, "".join(map(self._jsonl, range(keep))))
        body = "".join(self._csv(index) for index in range(keep))
        write_text(self.path / CSV_FILE, "seed,env_steps,metric,value\n" + body)

    def update_info(self, **values: Any) -> None:
        """Merge `values` into `run.json`."""
        self._info.update(plain(values))
        write_text(self.path / INFO_FILE, json.dumps(self._info, indent=2, sort_keys=True) + "\n")

    def finish(self, status: str = "complete", **info: Any) -> None:
        """Mark how the run ended ("complete" or "interrupted") and let go of the directory."""
        if self._lock.closed:
            return
        try:
            self.update_info(status=status, finished=now(), **info)
        finally:
            self._lock.close()

    def result(self) -> "RunResult":
        """Read the directory back."""
        return RunResult.load(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.finish("complete")
        else:
            reason = "Ctrl-C" if kind is KeyboardInterrupt else f"{kind.__name__}: {error}"
            self.finish("interrupted", reason=reason)

    def _load_metrics(self) -> None:
        metrics = RunResult.load(self.path).metrics
        self._env_steps = [int(step) for step in metrics["env_steps"]]
        for key, value in metrics.items():
            if key != "env_steps":
                self._metrics[key] = list(np.moveaxis(value, 1, 0))

    def _write_npz(self) -> None:
        arrays = {key: np.stack(values, axis=1) for key, values in self._metrics.items() if values}
        arrays["env_steps"] = np.asarray(self._env_steps, dtype=np.int64)
        write_npz(self.path / METRICS_FILE, arrays)

    def _jsonl(self, index: int) -> str:
        """One evaluation as a line."""
        rows = {key: values[index] for key, values in self._metrics.items()}
        return json.dumps({"env_steps": self._env_steps[index], **plain(rows)}) + "\n"

    def _csv(self, index: int) -> str:
        """Tidy rows of one evaluation; further axes become `name[i]`."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        for key, values in self._metrics.items():
            table = values[index].reshape(len(values[index]), -1)
            seeds = self._info.get("seeds") or range(len(table))
            names = (
                [key] if values[index].ndim == 1 else [f"{key}[{i}]" for i in range(table.shape[1])]
            )
            for seed, row in zip(seeds, table, strict=True):
                for name, value in zip(names, row, strict=True):
                    writer.writerow([seed, self._env_steps[index], name, value.item()])
        return buffer.getvalue()


@dataclasses.dataclass(frozen=True)
class RunResult:
    """What a run directory holds.

    Attributes:
        path: The directory.
        config: Nested plain values.
        metrics: `return` [S, E], `env_steps` [E] and the other metrics [S, E, ...].
        info: `run.json`.
    """

    path: Path
    config: Mapping[str, Any]
    metrics: Mapping[str, np.ndarray]
    info: Mapping[str, Any]

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a run directory, finished or not.

        Raises:
            UserError: It is not a run directory, has no metrics yet, or a file is damaged.
        """
        path = Path(path)
        info, config = _read_base(path)
        if info.get("status") == "running" and not _is_locked(path):
            info["status"] = "interrupted"  # killed before it could say so
        if not is_measured(path):
            raise UserError(
                f"{path} has no {METRICS_FILE}: the run stopped before its first evaluation "
                f"(status: {info.get('status', 'unknown')}). Train it again."
            )
        try:
            with np.load(path / METRICS_FILE, allow_pickle=False) as file:
                metrics = dict(file)
        except (ValueError, OSError, EOFError, KeyError) as error:
            raise UserError(
                f"{path / METRICS_FILE} cannot be read ({error}). Train again."
            ) from None
        return cls(path, config, metrics, info)

    @property
    def name(self) -> str:
        """The mixer's name, else the directory's."""
        return str(self.info.get("mixer") or self.path.name)

    def summary(self, name: str | None = None) -> RunSummary:
        """This run as reports take it."""
        return RunSummary(name or self.name, self.metrics, {**self.info, "path": str(self.path)})


def is_run(path: str | Path) -> bool:
    """Whether `path` is a run directory; one whose process was killed while making it is not."""
    return (Path(path) / INFO_FILE).is_file()


def is_measured(path: str | Path) -> bool:
    """Whether a run directory holds an evaluation, which `RunResult.load` asks for."""
    return (Path(path) / METRICS_FILE).is_file()


def load_config(path: str | Path) -> dict[str, Any]:
    """The config of a run directory, with or without metrics.

    Raises:
        UserError: It is not a run directory, or a file is damaged.
    """
    return _read_base(Path(path))[1]


def find_runs(path: str | Path) -> list[Path]:
    """Run directories at or below `path`, sorted.

    Not the shares of several hosts inside one, nor what a job has replaced.

    Raises:
        UserError: There are none.
    """
    path = Path(path)
    every = {file.parent for file in path.rglob(INFO_FILE)} if path.is_dir() else set()
    found = sorted(
        run
        for run in every
        if not every & set(run.parents) and REPLACED not in run.relative_to(path).parts
    )
    if not found:
        raise UserError(
            f"{path} holds no run directory (a directory with {INFO_FILE}). "
            "Give the directory that qllm-jax train printed."
        )
    return found


def _check_evaluation(
    rows: Mapping[str, np.ndarray], known: set[str], env_steps: int, before: Sequence[int]
) -> None:
    """Programming errors of the caller, not of a person."""
    assert rows, "an evaluation has no metrics"
    assert "env_steps" not in rows, "env_steps is an argument, not a metric"
    assert not known or set(rows) == known, f"metrics changed: {sorted(known)} to {sorted(rows)}"
    assert not before or env_steps > before[-1], f"env_steps {env_steps} after {before[-1]}"
    lengths = {value.shape[:1] for value in rows.values()}
    assert len(lengths - {()}) == len(lengths) == 1, f"seeds differ: {lengths}"


def _make_directory(parent: Path, name: str | None) -> Path:
    """Create `parent/name` exclusively; without a name, a time stamp that is free."""
    base = name or datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    with explained(f"create a run directory in {parent}"):
        parent.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, 1000):
            path = parent / (base if attempt == 1 else f"{base}-{attempt}")
            try:
                path.mkdir()
                return path
            except FileExistsError:
                if name is not None:
                    raise UserError(
                        f"{path} exists already. Choose another name, or remove it."
                    ) from None
    raise UserError(f"{parent} holds a thousand runs started at {base}. Give the run a name.")


def _locked(path: Path) -> IO[str]:
    """Hold the directory until the file is closed or the process ends."""
    with explained(f"lock {path}"):
        file = open(path / _LOCK_FILE, "a", encoding="utf-8")  # noqa: SIM115
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise UserError(
                f"{path} is in use by another process. Wait for it, or use another directory."
            ) from None
    return file


def _is_locked(path: Path) -> bool:
    """Whether a process is writing the directory; True where that cannot be found out."""
    try:
        with open(path / _LOCK_FILE, encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _read_base(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """`run.json` and `config.yaml`."""
    if not (path / INFO_FILE).is_file():
        what = "does not exist" if not path.exists() else f"holds no {INFO_FILE}"
        raise UserError(
            f"{path} is not a run directory: it {what}. "
            "Give the directory that qllm-jax train printed."
        )
    try:
        info = json.loads((path / INFO_FILE).read_text(encoding="utf-8"))
        text = (
            (path / CONFIG_FILE).read_text(encoding="utf-8")
            if (path / CONFIG_FILE).exists()
            else ""
        )
        config = yaml.safe_load(text) or {}
    except (ValueError, yaml.YAMLError, OSError) as error:
        raise UserError(f"{path} is damaged: {error}") from None
    if not isinstance(info, dict) or not isinstance(config, dict):
        raise UserError(f"{path} is damaged: {INFO_FILE} or {CONFIG_FILE} is not a mapping.")
    return info, config
