"""Saving a training between chunks, and finding it again."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from qllm_jax.errors import UserError
from qllm_jax.training.state import RunState
from qllm_jax.types import Params


def save_params(directory: str | Path, params: Params) -> None:
    """Write the parameters of a finished training, every leaf `[R, ...]`, into a new directory."""
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(Path(directory).resolve(), params)


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
    """The checkpoints of one training: one directory per saved chunk, renamed into place when
    complete, the last two kept.

    Args:
        directory: Created where missing.
        fingerprint: Plain nested values that must be equal for a checkpoint to be continued.
    """

    def __init__(self, directory: str | Path, fingerprint: Mapping[str, Any]):
        self._directory = Path(directory).resolve()
        self._fingerprint = json.loads(json.dumps(fingerprint))
        self._manager = ocp.CheckpointManager(
            self._directory,
            options=ocp.CheckpointManagerOptions(
                max_to_keep=2, create=True, enable_async_checkpointing=False
            ),
            item_names=("state", "curves", "fingerprint"),
        )

    def latest(self) -> int | None:
        """Chunks done in the newest complete checkpoint; None where there is none."""
        return self._manager.latest_step()

    def save(self, num_chunks: int, state: RunState, metrics: Mapping[str, np.ndarray]) -> None:
        """Write the state after `num_chunks` chunks and the metrics so far."""
        self._manager.save(
            num_chunks,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state),
                curves=ocp.args.StandardSave(dict(metrics)),
                fingerprint=ocp.args.JsonSave(self._fingerprint),
            ),
        )
        self._manager.wait_until_finished()

    def restore(self, like: RunState) -> tuple[RunState, dict[str, np.ndarray]]:
        """Read the newest checkpoint onto the devices of `like`.

        Raises:
            UserError: It was made with other settings; names the keys that differ.
        """
        step = self._manager.latest_step()
        assert step is not None, "the caller asks latest() first"
        saved = self._manager.restore(
            step, args=ocp.args.Composite(fingerprint=ocp.args.JsonRestore())
        )["fingerprint"]
        differing = sorted(_differences(saved, self._fingerprint))
        if differing:
            raise UserError(
                f"the checkpoint in {self._directory} was made with other settings: "
                f"{', '.join(differing)}. Restore them, or train in a new directory."
            )
        target = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), like
        )
        restored = self._manager.restore(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardRestore(target), curves=ocp.args.StandardRestore()
            ),
        )
        metrics = {name: np.asarray(value) for name, value in restored["curves"].items()}
        return restored["state"], metrics

    def close(self) -> None:
        """Release the directory."""
        self._manager.close()


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
