"""Learning from a replay: collect, store, do the gradient steps that are due, move the target.

`dqn` and `maddpg` differ in what one gradient step does.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from qllm_jax.training.replay import add, sample
from qllm_jax.training.rollout import Record
from qllm_jax.training.runs import Hyper
from qllm_jax.training.state import LearnerState, Program, RunState
from qllm_jax.training.step import (
    UpdateMetrics,
    collect_windows,
    learning_rate,
    loss_reward,
    move_target,
    no_metrics,
    observe_rewards,
)
from qllm_jax.types import Window

# What one gradient step on a batch from the replay does:
# (program, hyper, lr, learner, window [T, B, ...], key) -> (learner, metrics).
ReplayStep = Callable[
    [Program, Hyper, jax.Array, LearnerState, Window, jax.Array],
    tuple[LearnerState, UpdateMetrics],
]


def iterate_off_policy(
    program: Program,
    hyper: Hyper,
    key: jax.Array,
    iteration: jax.Array,
    state: RunState,
    *,
    step: ReplayStep,
) -> tuple[RunState, UpdateMetrics]:
    """Collect a window per environment, then do the gradient steps that are due on the replay.

    Args:
        program: What is static.
        hyper: Traced settings of this run.
        key: Of this run and iteration; consumed.
        iteration: `[]` int32 from 0; the same in every run, so that its conditions stay branches
            under vmap.
        state: The run before this iteration.
        step: One gradient step.

    Returns:
        The run after it, and sums over its gradient steps.
    """
    config, schedule = program.learner, program.schedule
    collect_key, learn_key = jax.random.split(key)
    record = collect_windows(program, hyper, collect_key, iteration, state)
    state = store(program, state, record, iteration)
    learner, metrics = jax.lax.cond(
        iteration >= schedule.first_update,
        lambda: learn(program, hyper, learn_key, iteration, state, step),
        lambda: (state.learner, no_metrics()),
    )
    if config.target_update == "hard":
        learner = jax.lax.cond(
            iteration % config.target_update_interval == 0,
            lambda: move_target(learner, hyper),
            lambda: learner,
        )
    return dataclasses.replace(state, learner=learner), metrics


def store(program: Program, state: RunState, record: Record, iteration: jax.Array) -> RunState:
    """Add a record to the replay, and its rewards to their running moments."""
    replay = state.replay
    assert replay is not None, "this learner has a replay"
    state = observe_rewards(program, state, record)
    return dataclasses.replace(state, replay=add(replay, record, iteration))


@jax.named_scope("learn")
def learn(
    program: Program,
    hyper: Hyper,
    key: jax.Array,
    iteration: jax.Array,
    state: RunState,
    step: ReplayStep,
) -> tuple[LearnerState, UpdateMetrics]:
    """The gradient steps of one iteration; reads the replay, changes the learner's part only."""
    config = program.learner
    num_filled = jnp.minimum((iteration + 1) * config.num_envs, config.replay_capacity)
    replay = state.replay
    assert replay is not None, "this learner has a replay"

    def update(learner: LearnerState, index: jax.Array) -> tuple[LearnerState, UpdateMetrics]:
        draw_key = jax.random.fold_in(key, index)
        window = sample(draw_key, replay, num_filled, config.batch_size, program.env)
        window = dataclasses.replace(window, reward=loss_reward(program, hyper, state, window))
        lr = learning_rate(program, hyper, iteration, index)
        return step(program, hyper, lr, learner, window, jax.random.fold_in(draw_key, 1))

    if config.updates_per_window == 1:
        return update(state.learner, jnp.zeros((), jnp.int32))
    learner, metrics = jax.lax.scan(update, state.learner, jnp.arange(config.updates_per_window))
    return learner, jax.tree.map(jnp.sum, metrics)
