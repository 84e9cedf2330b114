"""How much is run, on which devices and hosts, and what is saved and logged on the way."""

import dataclasses
from typing import Literal

from qllm_jax.config.checks import positive
from qllm_jax.errors import require

ALL_THAT_FIT = -1  # `runner.num_seeds=max`


@dataclasses.dataclass(frozen=True)
class RunnerConfig:
    """How much is run, where, and what is kept.

    Attributes:
        num_seeds: S independent seeds, ids `first_seed … first_seed + S - 1`. `ALL_THAT_FIT`, on
            the command line `max`, is as many as fit into memory at once.
        first_seed: Id of the first seed.
        num_env_steps: Environment steps per seed.
        num_evaluations: Greedy evaluations during training, evenly spaced; one more precedes
            training (the untrained policy).
        num_eval_episodes: Episodes per evaluation and seed.
        num_devices: Devices to shard seeds over; None is all.
        memory_gib: Device memory that a program may take, in GiB per device; seeds that do not
            fit are trained in waves. None is nine tenths of what the device has.
        matmul_precision: Of matrix products. `tf32` rounds their inputs to TensorFloat-32 on a GPU
            that has it, as JAX does by default, and is float32 on the CPU; `highest` is float32
            everywhere; `bf16` rounds to bfloat16 where that is faster.
        output_dir: Parent of run directories.
    """

    num_seeds: int = 8
    first_seed: int = 0
    num_env_steps: int = 200_000
    num_evaluations: int = 20
    num_eval_episodes: int = 64
    num_devices: int | None = None
    memory_gib: float | None = None
    matmul_precision: Literal["highest", "tf32", "bf16"] = "tf32"
    output_dir: str = "runs"

    def __post_init__(self) -> None:
        positive("runner", self, "num_env_steps", "num_evaluations", "num_eval_episodes")
        require(
            self.num_seeds > 0 or self.num_seeds == ALL_THAT_FIT,
            f"runner.num_seeds is {self.num_seeds}; it must be positive, or max.",
        )
        require(
            self.memory_gib is None or self.memory_gib > 0,
            f"runner.memory_gib is {self.memory_gib}; it must be positive, or null.",
        )
        require(
            self.num_devices is None or self.num_devices > 0,
            f"runner.num_devices is {self.num_devices}; it must be positive, or null for all.",
        )
        require(self.first_seed >= 0, f"runner.first_seed is {self.first_seed}; it must be ≥ 0.")


@dataclasses.dataclass(frozen=True)
class HostsConfig:
    """Several processes, each with its own devices, as one job: `train` and `compare`.

    Start the same command once per host. The hosts share the seeds and one file system.

    Attributes:
        coordinator: None is a job of one process. `auto` lets JAX find the others (SLURM, Open
            MPI, Kubernetes, TPU pods); else the first process's `address:port`.
        count: Processes in all; None with `auto`.
        index: Of this process, from 0; None with `auto`.
        timeout_s: How long to wait for the others at the start.
    """

    coordinator: str | None = None
    count: int | None = None
    index: int | None = None
    timeout_s: int = 300

    def __post_init__(self) -> None:
        positive("hosts", self, "timeout_s")
        if self.coordinator not in (None, "auto"):
            require(
                self.count is not None and self.index is not None,
                f"hosts.coordinator is {self.coordinator}; give hosts.count and hosts.index too.",
            )
        if self.count is not None and self.index is not None:
            require(
                0 <= self.index < self.count,
                f"hosts.index is {self.index}; it must be from 0 to {self.count - 1}, one less "
                "than hosts.count.",
            )


@dataclasses.dataclass(frozen=True)
class CheckpointConfig:
    """What `qllm-jax resume` continues from.

    Attributes:
        enabled: Save the whole state between chunks while training.
        interval_s: Least seconds between two checkpoints; 0 saves after every chunk.
        keep: Newest checkpoints kept, beside the one with the best mean return.
        replay: Save the replay too. Without it checkpoints are small, and a resumed run first
            fills its replay by playing with the restored policy: a good run, but not the one that
            would have been. With it, a resumed run ends bit for bit where an uninterrupted one
            does, on the same hardware.
    """

    enabled: bool = True
    interval_s: float = 60.0
    keep: int = 2
    replay: bool = True

    def __post_init__(self) -> None:
        positive("checkpoint", self, "keep")
        require(
            self.interval_s >= 0,
            f"checkpoint.interval_s is {self.interval_s}; it must be ≥ 0.",
        )


@dataclasses.dataclass(frozen=True)
class LoggingConfig:
    """Where evaluations go beside the run directory's own JSONL, CSV and NPZ.

    Attributes:
        tensorboard: Events below the run directory (the extra `tensorboard`).
        wandb: Weights & Biases: `off`, `online` or `offline` (the extra `wandb`).
        wandb_project: Its project.
        per_seed: A scalar for every seed, instead of means and the IQM over seeds.
    """

    tensorboard: bool = False
    wandb: Literal["off", "online", "offline"] = "off"
    wandb_project: str = "qllm-jax"
    per_seed: bool = False
