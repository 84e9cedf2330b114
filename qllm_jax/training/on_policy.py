"""What learners without a replay share: collect windows, learn from them in minibatches, forget."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from qllm_jax.config import LearnerConfig
from qllm_jax.learning import LossMetrics
from qllm_jax.training.runs import Hyper
from qllm_jax.training.state import LearnerState, Program, RunState
from qllm_jax.training.step import (
    UpdateMetrics,
    collect_windows,
    learning_rate,
    loss_reward,
    no_metrics,
    observe_rewards,
    take_step,
)
from qllm_jax.training.window import complete
from qllm_jax.types import Window

# What one gradient step does: (program, hyper, lr, learner, batch) -> (learner, metrics).
StepFunction = Callable[
    [Program, Hyper, jax.Array, LearnerState, Any], tuple[LearnerState, UpdateMetrics]
]


def iterate_on_policy(
    program: Program,
    hyper: Hyper,
    key: jax.Array,
    iteration: jax.Array,
    state: RunState,
    *,
    prepare: Callable[[Program, Hyper, LearnerState, Window], Any],
    step: StepFunction,
) -> tuple[RunState, UpdateMetrics]:
    """Collect a window per environment, then do the gradient steps on these windows alone.

    Args:
        program: What is static.
        hyper: Traced settings of this run.
        key: Of this run and iteration; consumed.
        iteration: `[]` int32 from 0; the same in every run.
        state: The run before this iteration; its replay is None and stays so.
        prepare: `(program, hyper, learner, window [T, B, ...]) -> data`, once per iteration: what
            the steps read, every leaf with environments along axis 1.
        step: One gradient step on a minibatch of the data.
    """
    schedule = program.schedule
    collect_key, learn_key = jax.random.split(key)
    record = collect_windows(program, hyper, collect_key, iteration, state)
    state = observe_rewards(program, state, record)
    window = complete(record, program.env)
    window = dataclasses.replace(window, reward=loss_reward(program, hyper, state, window))
    learner, metrics = jax.lax.cond(
        iteration >= schedule.first_update,
        lambda: learn(program, hyper, learn_key, iteration, state.learner, window, prepare, step),
        lambda: (state.learner, no_metrics()),
    )
    return dataclasses.replace(state, learner=learner), metrics


def iterate_actor_critic(
    program: Program,
    hyper: Hyper,
    key: jax.Array,
    iteration: jax.Array,
    state: RunState,
    *,
    critic: Callable[[Program, Hyper], Callable[..., jax.Array]],
    prepare: Callable[..., Any],
    loss: Callable[..., tuple[jax.Array, LossMetrics]],
    coefficients: tuple[str, ...],
) -> tuple[RunState, UpdateMetrics]:
    """`iterate_on_policy` for policies and a critic that learn from one loss.

    Args:
        program: This and what follows are `iterate_on_policy`'s.
        hyper: As there.
        key: As there.
        iteration: As there.
        state: As there.
        critic: `(program, hyper) -> critic_apply`, what `prepare` and `loss` ask for values.
        prepare: `(params, window, agent_apply, critic_apply, *, discount, td_lambda) ->
            data`, as in `iterate_on_policy`.
        loss: `(params, batch, agent_apply, critic_apply, *, …) -> ([], LossMetrics)`.
        coefficients: Settings of the learner that the loss reads, by its argument's name.
    """
    networks = (program.agent.apply, critic(program, hyper))
    weights = {name: getattr(program.learner, name) for name in coefficients}

    def prepare_batch(program: Program, hyper: Hyper, learner: LearnerState, window: Window) -> Any:
        traced = {"discount": hyper.discount, "td_lambda": hyper.td_lambda}
        return prepare(learner.params, window, *networks, **traced)

    def step(
        program: Program, hyper: Hyper, lr: jax.Array, learner: LearnerState, batch: Any
    ) -> tuple[LearnerState, UpdateMetrics]:
        gradient = jax.grad(loss, has_aux=True)
        grads, metrics = gradient(learner.params, batch, *networks, **weights)
        return take_step(program, lr, learner, grads, metrics)

    return iterate_on_policy(
        program, hyper, key, iteration, state, prepare=prepare_batch, step=step
    )


def learn(
    program: Program,
    hyper: Hyper,
    key: jax.Array,
    iteration: jax.Array,
    learner: LearnerState,
    window: Window,
    prepare: Callable[[Program, Hyper, LearnerState, Window], Any],
    step: StepFunction,
) -> tuple[LearnerState, UpdateMetrics]:
    """Every window in one minibatch per epoch, in an order that is drawn again for each."""
    config = program.learner
    num_minibatches = minibatches_per_epoch(config)
    data = prepare(program, hyper, learner, window)

    def update(learner: LearnerState, index: jax.Array) -> tuple[LearnerState, UpdateMetrics]:
        epoch, part = index // num_minibatches, index % num_minibatches
        order = jax.random.permutation(jax.random.fold_in(key, epoch), config.num_envs)
        rows = jax.lax.dynamic_slice_in_dim(order, part * config.batch_size, config.batch_size)
        batch = jax.tree.map(lambda leaf: jnp.take(leaf, rows, axis=1), data)
        lr = learning_rate(program, hyper, iteration, index)
        return step(program, hyper, lr, learner, batch)

    learner, metrics = jax.lax.scan(update, learner, jnp.arange(config.updates_per_window))
    return learner, jax.tree.map(jnp.sum, metrics)


def minibatches_per_epoch(config: LearnerConfig) -> int:
    """How many minibatches hold every environment's window once; `LearnerConfig` checks it."""
    assert config.num_envs % config.batch_size == 0, "checked when the config was built"
    return config.num_envs // config.batch_size
