"""Filling the replay of a run that was saved without it."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from qllm_jax.training.chunk import compile_runs, run_key
from qllm_jax.training.placement import Placement
from qllm_jax.training.replay import add
from qllm_jax.training.runs import Hyper
from qllm_jax.training.state import Program, RunState
from qllm_jax.training.step import collect_windows

_REFILL = 3  # folded into a run's key, apart from the purposes in `chunk`


def make_refill(
    program: Program, placement: Placement, num_iterations: int, matmul_precision: str
) -> Callable[[Placement, RunState], RunState]:
    """How to play as many windows as the replay held, with the restored policy, and store them.

    Args:
        program: What is static; its learner has a replay.
        placement: Of as many runs, on the same devices, as will be filled.
        num_iterations: Iterations done before the checkpoint.
        matmul_precision: As for training.

    Returns:
        `(placement, state [R, ...] with an empty replay, donated) -> state`.
    """

    def one(
        seed_id: jax.Array, hyper: Hyper, state: RunState, start: jax.Array, count: jax.Array
    ) -> tuple[RunState, jax.Array]:
        key = run_key(seed_id, _REFILL)

        def body(offset: jax.Array, state: RunState) -> RunState:
            iteration = start + offset
            collect_key = jax.random.fold_in(key, iteration)
            record = collect_windows(program, hyper, collect_key, iteration, state)
            assert state.replay is not None, "checked by the caller"
            return state.replace(replay=add(state.replay, record, iteration))  # type: ignore[attr-defined]

        return jax.lax.fori_loop(0, count, body, state), jnp.zeros(())

    held = program.learner.replay_capacity // program.learner.num_envs
    count = min(num_iterations, held)
    call = compile_runs(one, program, placement, matmul_precision)

    def fill(placement: Placement, state: RunState) -> RunState:
        return call.for_runs(placement)(state, num_iterations - count, count)[0]

    return fill
