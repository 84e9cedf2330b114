"""Saving a training between chunks, and finding it again.

A checkpoint is a directory that is renamed into place when it is complete. What it holds is read
back and compared with checksums before it is used: one that is damaged is passed over for the one
before. Arrays are saved as the host holds them, `[R, ...]`, so that they do not depend on devices.
"""

import json
import logging
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from qllm_jax.errors import UserError
from qllm_jax.types import Params

_log = logging.getLogger(__name__)
_WORST = -1e30  # JSON has no infinity


def save_params(directory: str | Path, params: Params) -> None:
    """Write the parameters of a finished training, every leaf `[R, ...]`, in place of any."""
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(Path(directory).resolve(), params, force=True)


def load_params(directory: str | Path, like: Params) -> Params:
    """Read what `save_params` wrote; `like` gives structure, shapes and dtypes.

    Raises:
        UserError: There is none.
    """
    path = Path(directory).resolve()
    if not path.is_dir():
        raise UserError(f"{path} holds no parameters; only a finished training leaves them.")
    with ocp.StandardCheckpointer() as checkpointer:
        return checkpointer.restore(path, like)


class Checkpoints:
    """The checkpoints of one training, one per saved chunk: the last ones and the best.

    Writing goes on in the background; the next save, `wait` and `close` wait for it.

    Args:
        directory: Created where missing.
        fingerprint: Plain nested values that must be equal for a checkpoint to be continued.
        keep: How many of the newest are kept, beside the one with the best mean return.
    """

    def __init__(self, directory: str | Path, fingerprint: Mapping[str, Any], keep: int = 2):
        self._directory = Path(directory).resolve()
        self._fingerprint = json.loads(json.dumps(fingerprint))
        self._manager = ocp.CheckpointManager(
            self._directory,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=checkpoint_managers.AnyPreservationPolicy(
                    [
                        checkpoint_managers.LatestN(n=keep),
                        checkpoint_managers.BestN(get_metric_fn=_score, n=1),
                    ]
                ),
                best_fn=_score,
                create=True,
            ),
            item_names=("state", "curves", "record"),
        )

    def latest(self) -> int | None:
        """Chunks done in the newest complete checkpoint; None where there is none."""
        return self._manager.latest_step()

    def save(
        self, num_chunks: int, state: Any, curves: Mapping[str, np.ndarray], score: float
    ) -> None:
        """Begin to write what there is after `num_chunks` chunks.

        Args:
            num_chunks: Names the checkpoint.
            state: Arrays of the host, `[R, ...]`, that nobody changes afterwards.
            curves: Metrics so far.
            score: What the best is chosen by; higher is better.

        Raises:
            UserError: This or the save before could not be written.
        """
        record = {
            "fingerprint": self._fingerprint,
            "checksums": {"state": _checksums(state), "curves": _checksums(dict(curves))},
        }
        try:
            self._manager.save(
                num_chunks,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state),
                    curves=ocp.args.StandardSave(dict(curves)),
                    record=ocp.args.JsonSave(record),
                ),
                metrics={"return": float(score) if np.isfinite(score) else _WORST},
            )
        except Exception as error:
            raise self._unwritable(error) from error

    def wait(self) -> None:
        """Return once everything is on disk.

        Raises:
            UserError: It could not be written.
        """
        try:
            self._manager.wait_until_finished()
        except Exception as error:
            raise self._unwritable(error) from error

    def restore(self, like: Any) -> tuple[int, Any, dict[str, np.ndarray]] | None:
        """Read the newest checkpoint that is whole.

        Those that are not are reported, and set aside in `<directory>-damaged`.

        Args:
            like: Shapes and dtypes of the state, `[R, ...]`.

        Returns:
            Chunks done, the state in arrays of the host, and the metrics so far; None where no
            checkpoint is whole.

        Raises:
            UserError: It was made with other settings; names the keys that differ.
        """
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                found = self._read(step, like)
            except (UserError, MemoryError, PermissionError, TimeoutError):
                raise  # says nothing of the checkpoint
            except Exception as error:
                why = str(error).strip().splitlines() or [type(error).__name__]
                _log.warning(
                    "checkpoint %d in %s is damaged (%s); going back to the one before.",
                    step, self._directory, why[0][:200],
                )  # fmt: skip
                continue
            self._set_aside_after(step)
            return found
        self._set_aside_after(-1)
        return None

    def best(self, like: Any) -> tuple[int, Any] | None:
        """Chunks done and state of the kept checkpoint with the best score; None without a whole
        one."""
        self.wait()
        step = self._manager.best_step()
        try:
            return None if step is None else self._read(step, like)[:2]
        except Exception as error:
            _log.warning("the best checkpoint in %s is damaged (%s).", self._directory, error)
            return None

    def close(self) -> None:
        """Finish writing and release the directory; a last failure to write is only reported."""
        try:
            self._manager.close()
        except Exception as error:
            _log.warning("%s", self._unwritable(error))

    def _read(self, step: int, like: Any) -> tuple[int, Any, dict[str, np.ndarray]]:
        record = self._manager.restore(
            step, args=ocp.args.Composite(record=ocp.args.JsonRestore())
        )["record"]
        differing = sorted(_differences(record["fingerprint"], self._fingerprint))
        if differing:
            raise UserError(
                f"the checkpoint in {self._directory} was made with other settings: "
                f"{', '.join(differing)}. Restore them, or train in a new directory."
            )
        target = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), like)
        restored = self._manager.restore(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardRestore(target), curves=ocp.args.StandardRestore()
            ),
        )
        state = restored["state"]
        curves = {name: np.asarray(value) for name, value in restored["curves"].items()}
        for name, tree in (("state", state), ("curves", curves)):
            if _checksums(tree) != record["checksums"][name]:
                raise ValueError(f"{name} differs from its checksums")
        return step, state, curves

    def _set_aside_after(self, step: int) -> None:
        """Set checkpoints newer than `step` aside, so that their names can be used again."""
        newer = [other for other in self._manager.all_steps() if other > step]
        for other in newer:
            damaged = self._directory.parent / f"{self._directory.name}-damaged" / str(other)
            shutil.rmtree(damaged, ignore_errors=True)
            damaged.parent.mkdir(exist_ok=True)
            shutil.move(self._directory / str(other), damaged)
        if newer:
            self._manager.reload()

    def _unwritable(self, error: Exception) -> UserError:
        return UserError(
            f"the checkpoint in {self._directory} could not be written: {error}. Make room or set "
            "runner.output_dir; `qllm-jax resume` continues from the one before."
        )


def _score(metrics: Mapping[str, float]) -> float:
    return metrics["return"]


def _checksums(tree: Any) -> dict[str, int]:
    """CRC-32 of every leaf's bytes, by its path."""
    return {
        jax.tree_util.keystr(path): zlib.crc32(np.ascontiguousarray(leaf).view(np.uint8).data)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def _differences(saved: Any, wanted: Any, path: str = "") -> list[str]:
    if isinstance(saved, dict) and isinstance(wanted, dict):
        return [
            found
            for key in saved.keys() | wanted.keys()
            for found in _differences(
                saved.get(key), wanted.get(key), f"{path}.{key}" if path else str(key)
            )
        ]
    return [] if saved == wanted else [path]
