"""What is trained side by side: the vmapped axis of runs, and the traced settings of each."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from flax import struct

from qllm_jax.config import TRACED_LEARNER_FIELDS, Config, LearnerConfig
from qllm_jax.networks import MixerHyper


@struct.dataclass
class Hyper:
    """Every setting that is an array in the compiled program; `[]` in a run, `[R]` in `Runs`.

    The names and meanings of all but `mixer` are `LearnerConfig`'s.
    """

    lr: jax.Array
    discount: jax.Array
    epsilon_start: jax.Array
    epsilon_finish: jax.Array
    epsilon_decay_fraction: jax.Array
    tau: jax.Array
    td_lambda: jax.Array
    reward_scale: jax.Array
    mixer: MixerHyper


@dataclasses.dataclass(frozen=True)
class Runs:
    """R independent trainings that share one compiled program.

    Runs with equal seed ids and equal settings are equal, whatever runs beside them.

    Attributes:
        seed_ids: `[R]` int, folded into the base key.
        hyper: Traced settings, every leaf `[R]`.
    """

    seed_ids: np.ndarray
    hyper: Hyper

    def __post_init__(self) -> None:
        count = len(self.seed_ids)
        for leaf in jax.tree.leaves(self.hyper):
            if np.shape(leaf) != (count,):
                raise ValueError(
                    f"a setting has shape {np.shape(leaf)} for {count} runs; expected ({count},), "
                    "one value per run."
                )

    def __len__(self) -> int:
        return len(self.seed_ids)

    def select(self, indices: Sequence[int] | np.ndarray) -> "Runs":
        """The runs at `indices`, in that order."""
        rows = np.asarray(indices, dtype=np.int64)
        return Runs(
            seed_ids=np.asarray(self.seed_ids)[rows],
            hyper=jax.tree.map(lambda leaf: np.asarray(leaf)[rows], self.hyper),
        )


def make_hyper(
    learner: LearnerConfig, num_runs: int, mixer_scale: float = 1.0, candidate: int = 0
) -> Hyper:
    """A config's traced settings, repeated: every leaf `[num_runs]`."""

    def repeat(value: float) -> Any:
        return np.full((num_runs,), value, np.float32)

    values = {name: repeat(getattr(learner, name)) for name in TRACED_LEARNER_FIELDS}
    mixer = MixerHyper(scale=repeat(mixer_scale), candidate=repeat(candidate).astype(np.int32))
    return Hyper(**values, mixer=mixer)


def mixer_scale(setting: str, num_agents: int, artifact_setting: str = "none") -> float:
    """The factor on a TFCAF's value that a setting stands for.

    Args:
        setting: `num_agents`, `none`, or `artifact` for what the artifact says.
        num_agents: N.
        artifact_setting: What the artifact says; `none` where there is no artifact.
    """
    resolved = artifact_setting if setting == "artifact" else setting
    return float(num_agents) if resolved == "num_agents" else 1.0


def runs_for_seeds(config: Config, scale: float = 1.0) -> Runs:
    """S runs that differ in the seed only.

    Args:
        config: Its runner names the seeds, its learner the settings.
        scale: Factor on a TFCAF's value, from `mixer_scale`; learned mixers ignore it.
    """
    runner = config.runner
    return Runs(
        seed_ids=np.arange(runner.first_seed, runner.first_seed + runner.num_seeds),
        hyper=make_hyper(config.learner, runner.num_seeds, scale),
    )


def join_runs(parts: Sequence[Runs]) -> Runs:
    """The runs of all parts, one after the other."""
    return Runs(
        seed_ids=np.concatenate([part.seed_ids for part in parts]),
        hyper=jax.tree.map(lambda *leaves: np.concatenate(leaves), *[part.hyper for part in parts]),
    )


def runs_for_tournament(
    config: Config, num_candidates: int, scale: float | Sequence[float] = 1.0
) -> Runs:
    """K · S runs, candidate-major: run `c * S + s` trains candidate c with the s-th seed.

    Every candidate sees the same seeds, so that differences are the candidates'.

    Args:
        config: Its runner names the seeds, its learner the settings.
        num_candidates: K.
        scale: Factor on a TFCAF's value, one for all or one per candidate.
    """
    seeds = runs_for_seeds(config)
    scales: Any = np.repeat(
        np.broadcast_to(np.asarray(scale, np.float32), (num_candidates,)), len(seeds)
    )
    candidates: Any = np.repeat(np.arange(num_candidates, dtype=np.int32), len(seeds))
    hyper = make_hyper(config.learner, num_candidates * len(seeds))
    mixer = MixerHyper(scale=scales, candidate=candidates)
    return Runs(
        seed_ids=np.tile(seeds.seed_ids, num_candidates),
        hyper=dataclasses.replace(hyper, mixer=mixer),
    )
