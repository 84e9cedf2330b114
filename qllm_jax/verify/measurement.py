"""What the child measured, and how two measurements are compared."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from qllm_jax.verify.points import Points


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What the child sent back; see `worker.measure` for the fields.

    Attributes:
        single: The points that were also run alone.
        beside: The row of the first batch that was replaced by NaN.
        same_program: The child traced the same program as this process.
    """

    values: np.ndarray
    credits: np.ndarray
    again_values: np.ndarray
    again_credits: np.ndarray
    beside_values: np.ndarray
    beside_credits: np.ndarray
    jit_values: np.ndarray
    jit_credits: np.ndarray
    eager_values: np.ndarray
    single: tuple[int, ...]
    beside: int
    same_program: bool
    excess: np.ndarray | None = None

    def magnitude(self, points: Points) -> np.ndarray:
        """`[M]`, the size of what is added up in a value: tolerances are relative to it."""
        with np.errstate(all="ignore"):
            terms = np.abs(self.credits * points.agent_qs).sum(1)
            size = np.maximum(np.abs(self.values), terms)
        return np.maximum(1.0, np.nan_to_num(size, nan=1.0, posinf=1.0))


def group_rows(points: Points, *names: str) -> np.ndarray:
    """Row numbers of the groups that are present."""
    spans = [points.groups[name] for name in names if name in points.groups]
    return np.concatenate([np.arange(s.start, s.stop) for s in spans])


def finite_rows(measurement: Measurement, rows: np.ndarray) -> np.ndarray:
    """Those of `rows` with a finite value and finite credits."""
    good = np.isfinite(measurement.values) & np.isfinite(measurement.credits).all(1)
    return rows[good[rows]]


def unequal(a: np.ndarray, b: np.ndarray, tolerance: np.ndarray) -> np.ndarray:
    """Rows where a and b differ by more than their tolerance; NaN equals NaN."""
    a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
    with np.errstate(all="ignore"):
        apart = np.abs(a - b) > tolerance[:, None]
    apart |= np.isnan(a) != np.isnan(b)
    apart |= (np.isinf(a) | np.isinf(b)) & (a != b) & ~(np.isnan(a) & np.isnan(b))
    return apart.any(1)


def measurement_of(
    header: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    points: Points,
    single: tuple[int, ...],
    digest: str,
) -> Measurement:
    """The child's answer, with shapes and dtypes checked.

    Raises:
        ValueError: something is missing or has another shape.
    """
    count, num_agents = points.agent_qs.shape
    batch, alone = len(arrays["again_values"]), len(single)
    shapes = {"values": (count,), "credits": (count, num_agents), "again_values": (batch,),
              "again_credits": (batch, num_agents), "beside_values": (batch,),
              "beside_credits": (batch, num_agents), "jit_values": (alone,),
              "jit_credits": (alone, num_agents), "eager_values": (alone,)}  # fmt: skip
    if "excess" in arrays:
        shapes["excess"] = (count,)
    for name, shape in shapes.items():
        if arrays[name].shape != shape or arrays[name].dtype.kind not in "fi":
            raise ValueError(f"{name} has shape {arrays[name].shape}, expected {shape}")
    return Measurement(
        **{name: arrays[name] for name in shapes},
        single=single,
        beside=int(header["beside"]),
        same_program=header["digest"] == digest,
    )
