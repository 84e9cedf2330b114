"""Training R runs side by side, in one compiled program on all devices.

    run_training   all runs to the end, or to a pause; from the start, a checkpoint or a pause
    run_rungs      the same, but at each rung some runs are given up and the others go on

Called by the jobs and the sweep, and by the tournament of candidates. The loop over compiled chunks
is in `loop`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import numpy as np

from qllm_jax.config import Config
from qllm_jax.errors import UserError
from qllm_jax.learning import NetworkParams
from qllm_jax.networks import Mixer
from qllm_jax.tasks.spec import TaskSpec
from qllm_jax.training.chunk import make_program, state_struct
from qllm_jax.training.loop import TrainingLoop
from qllm_jax.training.output import ChunkReport, TrainingOutput
from qllm_jax.training.paused import Paused
from qllm_jax.training.provenance import fingerprint
from qllm_jax.training.runs import Runs, mixer_scale, runs_for_seeds


def run_training(
    spec: TaskSpec,
    mixer: Mixer,
    config: Config,
    *,
    runs: Runs | None = None,
    on_chunk: Callable[[ChunkReport], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    checkpoint_dir: str | Path | None = None,
    resume: bool = False,
    start: Paused | None = None,
    pause_after: int | None = None,
) -> TrainingOutput:
    """Train R independent runs side by side in one compiled program.

    A run's result depends on its seed id and settings only: not on the other runs, the number of
    devices or of evaluations.

    Args:
        spec: The task.
        mixer: How agents' values are combined.
        config: Budget, learner, agents.
        runs: The R runs; None is `config.runner`'s seeds with `config.mixer.scale`.
        on_chunk: Called after every evaluation, the one before training included.
        should_stop: Asked between chunks; True ends the training with what it has.
        checkpoint_dir: Where to save the whole state, between chunks, at most every
            `checkpoint.interval_s` seconds and when stopped; None saves nothing.
        resume: Continue from the newest whole checkpoint in `checkpoint_dir`, where there is one.
        start: Continue these R runs, of this config, where there is no such checkpoint.
        pause_after: Evaluations, the one before training included, after which to stop and keep
            the runs in `TrainingOutput.paused`; None goes to the end.

    Raises:
        UserError: An impossible budget, more devices than there are, a checkpoint of other
            settings, or one that cannot be written.
    """
    if runs is None:
        runs = runs_for_seeds(config, mixer_scale(config.mixer.scale, spec.env.num_agents))
    if resume and checkpoint_dir is None:
        raise UserError("resume needs checkpoint_dir, the directory that was saved to.")
    if start is not None and start.num_runs != len(runs):
        raise ValueError(f"{start.num_runs} paused runs cannot be continued as {len(runs)} runs.")
    program = make_program(spec.env, mixer, config, spec.outcome)
    loop = TrainingLoop(program, runs, config, on_chunk or (lambda report: None), pause_after)
    try:
        if checkpoint_dir is not None:
            loop.open_checkpoints(checkpoint_dir, fingerprint(spec, mixer, config, runs), resume)
        if start is not None:
            loop.begin_at(start)
        interrupted = loop.run(should_stop or (lambda: False))
        return loop.output(runs, interrupted)
    finally:
        loop.close()


def run_rungs(
    spec: TaskSpec,
    mixer: Mixer,
    config: Config,
    runs: Runs,
    rungs: Sequence[int],
    choose: Callable[[dict[str, np.ndarray]], Sequence[int]],
    *,
    runs_at_once: int | None = None,
    on_chunk: Callable[[ChunkReport], None] | None = None,
) -> None:
    """Train runs to a rung, ask which of them go on, and train these to the next; compiles once.

    What a run measures does not depend on which others are given up.

    Args:
        spec: The task.
        mixer: How agents' values are combined.
        config: Of the whole training; its runner's seeds do not matter.
        runs: The R runs that begin.
        rungs: Evaluations, the one before training included, at which to choose; increasing.
        choose: Called at every rung with the metrics so far, `[R, E]` for the R runs that are
            left and `env_steps` `[E]`. Returns the rows of the runs that go on; no row ends the
            training. After the last rung its answer is ignored.
        runs_at_once: Runs that the compiled program trains at a time; more are trained in waves.
            As many as reach the last rung fit best: before it there are several waves, then one.
            None is all.
        on_chunk: Called after every evaluation.

    Raises:
        UserError: An impossible budget, or too little memory for one run.
    """
    program = make_program(spec.env, mixer, config, spec.outcome)
    on_chunk = on_chunk or (lambda report: None)
    loop = TrainingLoop(program, runs, config, on_chunk, rungs[0], runs_at_once)
    for following in (*rungs[1:], None):
        loop.run(lambda: False)
        rows = choose(loop.metrics())
        if following is None or not len(rows):
            return
        loop.go_on(rows, following)


def params_struct(spec: TaskSpec, mixer: Mixer, config: Config) -> NetworkParams:
    """Shapes of `TrainingOutput.params` of a training with the config's seeds."""
    one = state_struct(make_program(spec.env, mixer, config)).learner.params
    count = config.runner.num_seeds
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((count, *leaf.shape), leaf.dtype), one)
