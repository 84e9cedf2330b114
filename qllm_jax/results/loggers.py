"""Evaluations handed on to TensorBoard and Weights & Biases, beside the files of the run directory.

Both are extras, imported only where they are asked for. Each evaluation is handed on as means over
the seeds that have not diverged, with the IQM of the return, or seed by seed.
"""

import dataclasses
import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from qllm_jax.config import LoggingConfig
from qllm_jax.errors import UserError
from qllm_jax.results.statistics import aggregate

_DIVERGED = "diverged"


class Logger(Protocol):
    """Somewhere that scalars go."""

    def log(self, scalars: Mapping[str, float], env_steps: int) -> None:
        """Hand on the scalars of one evaluation."""
        ...

    def close(self) -> None:
        """Write what is left."""
        ...


@dataclasses.dataclass(frozen=True)
class Loggers:
    """All loggers of a run; none is fine.

    Attributes:
        targets: Where evaluations go.
        per_seed: Seed by seed instead of in aggregate.
        seeds: Seed ids, in the order of the metrics' rows.
    """

    targets: Sequence[Logger]
    per_seed: bool
    seeds: Sequence[int]

    def log(self, env_steps: int, metrics: Mapping[str, np.ndarray]) -> None:
        """Hand on one evaluation; metrics as for `RunStore.append`."""
        if self.targets:
            scalars = scalars_of(metrics, self.seeds if self.per_seed else None)
            for target in self.targets:
                target.log(scalars, env_steps)

    def close(self) -> None:
        """Write what is left."""
        for target in self.targets:
            target.close()


def open_loggers(
    config: LoggingConfig, run: Path, settings: Mapping[str, Any], seeds: Sequence[int]
) -> Loggers:
    """What a configuration asks for.

    Args:
        config: Which loggers, and how.
        run: The run directory; TensorBoard's events go below it.
        settings: The whole configuration, as W&B keeps it.
        seeds: Seed ids.

    Raises:
        UserError: A package that is asked for is not installed.
    """
    targets: list[Logger] = []
    if config.tensorboard:
        targets.append(_TensorBoard(run / "tensorboard"))
    if config.wandb != "off":
        targets.append(_Wandb(config, run, settings))
    return Loggers(targets, config.per_seed, tuple(seeds))


def scalars_of(
    metrics: Mapping[str, np.ndarray], seeds: Sequence[int] | None = None
) -> dict[str, float]:
    """The scalars of one evaluation, by tag; values that are not finite are left out.

    Args:
        metrics: `[S]` or `[S, K]` by name.
        seeds: Seed ids for a scalar per seed, `return/seed_3`; None for means, and `return/iqm`,
            over the seeds that have not diverged.
    """
    scalars: dict[str, float] = {}
    diverged = np.asarray(metrics.get(_DIVERGED, np.zeros(len(metrics["return"])))).astype(bool)
    for name, values in metrics.items():
        array = np.asarray(values, np.float64)
        columns = {name: array} if array.ndim == 1 else {
            f"{name}_{k}": column for k, column in enumerate(array.reshape(len(array), -1).T)
        }  # fmt: skip
        for tag, column in columns.items():
            if seeds is not None:
                scalars |= {f"{tag}/seed_{s}": v for s, v in zip(seeds, column, strict=True)}
            elif name == _DIVERGED:
                scalars[tag] = float(column.sum())
            else:
                kept = column[~diverged & np.isfinite(column)]
                scalars |= {f"{tag}/mean": float(kept.mean())} if len(kept) else {}
    if seeds is None and not diverged.all():
        scalars["return/iqm"] = float(aggregate(np.asarray(metrics["return"])[~diverged]))
    return {tag: float(value) for tag, value in scalars.items() if np.isfinite(value)}


class _TensorBoard:
    def __init__(self, directory: Path):
        module = _package("tensorboardX", "tensorboard")
        self._writer = module.SummaryWriter(str(directory))

    def log(self, scalars: Mapping[str, float], env_steps: int) -> None:
        for tag, value in scalars.items():
            self._writer.add_scalar(tag, value, env_steps)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class _Wandb:
    def __init__(self, config: LoggingConfig, run: Path, settings: Mapping[str, Any]):
        module = _package("wandb", "wandb")
        self._run = module.init(
            project=config.wandb_project,
            name=run.name,
            dir=str(run),
            config=dict(settings),
            mode=config.wandb,
            resume="allow",
            id=f"{run.parent.name}-{run.name}",
        )

    def log(self, scalars: Mapping[str, float], env_steps: int) -> None:
        self._run.log({**scalars, "env_steps": env_steps})

    def close(self) -> None:
        self._run.finish()


def _package(name: str, extra: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise UserError(
            f"logging.{extra} needs the package {name}. Install it with "
            f"`pip install 'qllm-jax[{extra}]'`, or leave it out."
        ) from None
