"""What a training reports after every chunk and at its end, in arrays of the host.

Written by `loop`; read by the jobs, the sweep and the tournament.
"""

import dataclasses

import jax
import numpy as np

from qllm_jax.training.paused import Paused
from qllm_jax.training.runs import Runs
from qllm_jax.types import Params


@dataclasses.dataclass(frozen=True)
class ChunkReport:
    """Progress, after every chunk.

    Attributes:
        chunk: Evaluations done so far; the first precedes training.
        num_chunks: E, evaluations in all.
        env_steps: Environment steps per run so far.
        metrics: The newest values, `[R]` per name or `[R, N]`; names as in `TrainingOutput`.
        env_steps_per_second: Over all runs, compilation excluded; NaN before the first steps.
        elapsed_s: Run time so far, compilation excluded.
        remaining_s: Run time left at this rate; NaN before the first steps.
        compile_s: Tracing, compiling and initialising.
    """

    chunk: int
    num_chunks: int
    env_steps: int
    metrics: dict[str, np.ndarray]
    env_steps_per_second: float
    elapsed_s: float
    remaining_s: float
    compile_s: float


@dataclasses.dataclass(frozen=True)
class TrainingOutput:
    """What a training leaves; all arrays on the host.

    Attributes:
        metrics: `env_steps [E]` (per run); per run and evaluation `[R, E]`: `return` (mean
            undiscounted team return of greedy episodes), the mean of the task's outcome under its
            name (such as `win_rate`) where it has one, `loss`, `td_error`, `q_tot`, `grad_norm`
            (means over the gradient steps since the evaluation before; NaN where there were none),
            `epsilon`, `alive`, `credit_uniform`, `credit_zero`; `[R, E, N]`: `credit_mean`,
            `credit_std`. Fewer than E columns where it was interrupted.
        params: `NetworkParams` with every leaf `[R, ...]`.
        best_params: As `params`, of the checkpoint with the best mean return, or of the end where
            that was as good.
        best_env_steps: Environment steps per run behind `best_params`.
        runs: Seed ids and settings of the R runs.
        num_diverged: Runs that met a value that was not finite and were frozen there.
        interrupted: A stop was asked for before the end.
        paused: The runs, to go on with as `run_training(start=…)`; None unless `pause_after`
            ended the training.
        compile_s: Tracing, compiling and initialising.
        run_s: Everything else, evaluation and checkpoints included.
        env_steps_per_second: Over all runs, in `run_s`; NaN where no step was taken.
        replay_bytes_per_run: Memory of one run's replay; 0 where the learner keeps none.
        devices: What it ran on and how runs were spread.
        matmul_precision: Of what was computed: `float32`, `tf32` or `bf16`.
        versions: Of Python, JAX and the packages that numbers depend on.
    """

    metrics: dict[str, np.ndarray]
    params: Params
    best_params: Params
    best_env_steps: int
    runs: Runs
    num_diverged: int
    interrupted: bool
    paused: Paused | None
    compile_s: float
    run_s: float
    env_steps_per_second: float
    replay_bytes_per_run: int
    devices: str
    matmul_precision: str
    versions: dict[str, str]

    def run_params(self, run: int) -> Params:
        """`NetworkParams` of one run."""
        return jax.tree.map(lambda leaf: leaf[run], self.params)
