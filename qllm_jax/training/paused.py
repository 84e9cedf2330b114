"""Trainings between two chunks, from which any of the runs can be continued."""

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np

from qllm_jax.training.state import RunState


@dataclasses.dataclass(frozen=True)
class Paused:
    """R runs that wait on the host; continued, they end as if they had never stopped.

    Attributes:
        num_chunks: Evaluations done, the one before training included.
        state: Everything that a run carries, every leaf `[R, ...]`.
        metrics: So far, `[R, num_chunks]` or `[R, num_chunks, N]`.
    """

    num_chunks: int
    state: RunState
    metrics: dict[str, np.ndarray]

    @property
    def num_runs(self) -> int:
        """R."""
        return len(self.metrics["return"])

    def select(self, indices: Sequence[int] | np.ndarray) -> "Paused":
        """A copy of the runs at `indices`, in that order; the others can be forgotten."""
        rows = np.asarray(indices, dtype=np.int64)
        return Paused(
            num_chunks=self.num_chunks,
            state=jax.tree.map(lambda leaf: leaf[rows], self.state),
            metrics={name: value[rows] for name, value in self.metrics.items()},
        )


def join_paused(parts: Sequence[Paused]) -> Paused:
    """The runs of all parts, one after the other.

    Raises:
        ValueError: They did not stop after the same chunk.
    """
    chunks = {part.num_chunks for part in parts}
    if len(chunks) != 1:
        raise ValueError(f"runs that paused after {sorted(chunks)} chunks cannot go on together.")
    return Paused(
        num_chunks=parts[0].num_chunks,
        state=jax.tree.map(lambda *leaves: np.concatenate(leaves), *[part.state for part in parts]),
        metrics={
            name: np.concatenate([part.metrics[name] for part in parts])
            for name in parts[0].metrics
        },
    )
