"""What the jobs that train more than once vary: `compare`, `bench` and `sweep`."""

import dataclasses
from typing import Any, Literal

from qllm_jax.config.checks import positive
from qllm_jax.errors import require


@dataclasses.dataclass(frozen=True)
class CompareConfig:
    """What is compared in one job.

    Attributes:
        mixers: Mixers trained one after the other at equal configuration; differences are
            reported against the first.
        learners: Each with its own configuration (`configs/learner`) and every mixer, where it
            takes one; empty is the configured learner alone.
    """

    mixers: tuple[str, ...] = ("tfcaf", "qmix", "vdn", "iql")
    learners: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require(len(self.mixers) > 0, "compare.mixers is empty; name at least one mixer.")
        require(
            len(set(self.mixers)) == len(self.mixers),
            f"compare.mixers names one mixer twice: {list(self.mixers)}.",
        )
        require(
            len(set(self.learners)) == len(self.learners),
            f"compare.learners names one learner twice: {list(self.learners)}.",
        )


@dataclasses.dataclass(frozen=True)
class BenchConfig:
    """What `qllm-jax bench` times. A timed call is one chunk of the config that is trained:
    `runner.num_env_steps / runner.num_evaluations` steps per seed and an evaluation.

    Attributes:
        seeds: Numbers of seeds side by side, each a program of its own.
        repeats: Timed calls per program; the table shows their median, and the range of all.
        parts: Also time environment, acting, replay, learning and evaluation alone, at the
            largest of `seeds` that fits.
    """

    seeds: tuple[int, ...] = (1, 4, 16)
    repeats: int = 5
    parts: bool = True

    def __post_init__(self) -> None:
        positive("bench", self, "repeats")
        require(
            len(self.seeds) > 0 and all(count > 0 for count in self.seeds),
            f"bench.seeds is {list(self.seeds)}; name one or more positive numbers.",
        )


@dataclasses.dataclass(frozen=True)
class SweepConfig:
    """What `qllm-jax sweep` tries. Every setting is trained with the runner's seeds.

    Attributes:
        method: `auto` is the grid where every value is a list, else `random`; `grid` takes every
            combination; `random` draws `num_samples`; `halving` trains the grid, or the draws, for
            a part of the budget, drops all but the best, and goes on with these.
        num_samples: Settings that are drawn; None is the whole grid, or 16 with `random` or a
            distribution.
        seed: Of the drawing.
        rungs: Of `halving`: rung r of R ends after 1 / eta^(R-1-r) of `runner.num_env_steps`.
        eta: Of `halving`: one setting in eta goes on to the next rung.
        values: What is swept, by name: a list, or `uniform(low,high)` or `loguniform(low,high)`.
            On the command line `sweep.lr=[1e-4,1e-3]`; a name without a section is the learner's,
            or that of the one section that has it.
    """

    method: Literal["auto", "grid", "random", "halving"] = "auto"
    num_samples: int | None = None
    seed: int = 0
    rungs: int = 3
    eta: int = 2
    values: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        positive("sweep", self, "rungs")
        require(self.eta >= 2, f"sweep.eta is {self.eta}; it must be at least 2.")
        require(
            self.num_samples is None or self.num_samples > 0,
            f"sweep.num_samples is {self.num_samples}; it must be positive, or null for the grid.",
        )
