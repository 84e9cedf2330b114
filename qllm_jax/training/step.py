"""One iteration of training a run: collect, store, learn, move the target."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from flax import struct

from qllm_jax.learning import (
    LossMetrics,
    MixerApply,
    NetworkParams,
    all_finite,
    apply_gradients,
    linear_decay,
    linear_epsilon,
    standardise,
    td_loss,
    update_moments,
    update_target,
    where_tree,
)
from qllm_jax.networks import JointFunction
from qllm_jax.training.replay import add, sample
from qllm_jax.training.rollout import Record, collect
from qllm_jax.training.runs import Hyper
from qllm_jax.training.state import LearnerState, Program, RunState
from qllm_jax.types import JointAction, Params, Window


@struct.dataclass
class UpdateMetrics:
    """Sums over gradient steps; divided by their number where they are reported."""

    loss: jax.Array  # []
    td_error: jax.Array  # []
    q_tot: jax.Array  # []
    grad_norm: jax.Array  # [] before clipping
    num_updates: jax.Array  # [] float32


def no_metrics() -> UpdateMetrics:
    """Sums over nothing."""
    return UpdateMetrics(*[jnp.zeros(()) for _ in range(5)])


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
            lambda: _move_target(learner, hyper),
            lambda: learner,
        )
    return dataclasses.replace(state, learner=learner), metrics


def collect_windows(
    program: Program, hyper: Hyper, key: jax.Array, iteration: jax.Array, state: RunState
) -> Record:
    """A window per environment, played as the run explores in this iteration; consumes the key."""
    return collect(
        key,
        state.learner.params.agent,
        epsilon_at(program, hyper, iteration),
        program.env,
        program.agent,
        program.learner.num_envs,
        program.schedule.window_length,
        program.algorithm.act,
    )


def epsilon_at(program: Program, hyper: Hyper, iteration: jax.Array) -> jax.Array:
    """The exploration rate `[]` of an iteration."""
    return linear_epsilon(
        iteration / program.schedule.num_iterations,
        hyper.epsilon_start,
        hyper.epsilon_finish,
        hyper.epsilon_decay_fraction,
    )


def store(program: Program, state: RunState, record: Record, iteration: jax.Array) -> RunState:
    """Add a record to the replay, and its rewards to their running moments."""
    replay = state.replay
    assert replay is not None, "this learner has a replay"
    state = observe_rewards(program, state, record)
    return dataclasses.replace(state, replay=add(replay, record, iteration))


def observe_rewards(program: Program, state: RunState, record: Record) -> RunState:
    """Add a record's rewards to their running moments, where rewards are standardised."""
    if not program.learner.standardise_rewards:
        return state
    ended = record.terminated | record.truncated
    was_last = jnp.concatenate([jnp.zeros_like(ended[:1]), ended[:-1]])
    moments = update_moments(state.reward_moments, record.reward, ~was_last)
    return dataclasses.replace(state, reward_moments=moments)


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
    config, schedule = program.learner, program.schedule
    per_window = config.updates_per_window
    num_filled = jnp.minimum((iteration + 1) * config.num_envs, config.replay_capacity)
    # As JaxMARL counts them: as if the iterations before the first gradient step had had theirs.
    total = schedule.num_iterations * per_window
    replay = state.replay
    assert replay is not None, "this learner has a replay"

    def update(learner: LearnerState, index: jax.Array) -> tuple[LearnerState, UpdateMetrics]:
        draw_key = jax.random.fold_in(key, index)
        window = sample(draw_key, replay, num_filled, config.batch_size, program.env)
        window = dataclasses.replace(window, reward=loss_reward(program, hyper, state, window))
        done = (iteration - schedule.first_update) * per_window + index
        lr = linear_decay(hyper.lr, done, total) if config.lr_linear_decay else hyper.lr
        return step(program, hyper, lr, learner, window, jax.random.fold_in(draw_key, 1))

    if per_window == 1:
        return update(state.learner, jnp.zeros((), jnp.int32))
    learner, metrics = jax.lax.scan(update, state.learner, jnp.arange(per_window))
    return learner, jax.tree.map(jnp.sum, metrics)


def gradient_step(
    program: Program, hyper: Hyper, lr: jax.Array, learner: LearnerState, window: Window
) -> tuple[LearnerState, UpdateMetrics]:
    """One step down the loss of a batch of windows `[T, B, ...]`."""
    mixer = program.mixer

    def with_hyper(function: JointFunction) -> MixerApply:
        return lambda params, agent_qs, state, joint: function(
            params, agent_qs, state, hyper.mixer, joint
        )

    grads, loss_metrics = jax.grad(td_loss, has_aux=True)(
        learner.params,
        learner.target_params,
        window,
        program.agent.apply,
        with_hyper(mixer.regressed),
        discount=hyper.discount,
        td_lambda=hyper.td_lambda,
        double_q=program.learner.double_q,
        extra_loss=None if mixer.extra_loss is None else with_hyper(mixer.extra_loss),
        transform=mixer.transform,
    )
    updated, metrics = take_step(program, lr, learner, grads, loss_metrics)
    return move_soft_target(program, hyper, updated), metrics


def q_learning_step(
    program: Program,
    hyper: Hyper,
    lr: jax.Array,
    learner: LearnerState,
    window: Window,
    key: jax.Array,
) -> tuple[LearnerState, UpdateMetrics]:
    """`gradient_step` as a `ReplayStep`; it draws nothing."""
    return gradient_step(program, hyper, lr, learner, window)


def move_soft_target(program: Program, hyper: Hyper, learner: LearnerState) -> LearnerState:
    """Move the target networks after a gradient step, where that is how they move."""
    if program.learner.target_update == "soft" and program.algorithm.uses_target:
        return _move_target(learner, hyper)
    return learner


def joint_critic(program: Program, hyper: Hyper) -> Callable[..., jax.Array]:
    """A central critic as `(params, state [D], actions [N, A]) -> values [M]`."""
    apply_joint = program.mixer.apply_joint
    assert apply_joint is not None, "the learner's own critic reads joint actions"

    def apply(params: Params, state: jax.Array, actions: jax.Array) -> jax.Array:
        nothing = jnp.zeros(actions.shape[0])
        joint = JointAction(actions=actions, greedy_actions=actions, greedy_qs=nothing)
        return apply_joint(params, nothing, state, hyper.mixer, joint)

    return apply


iterate = functools.partial(iterate_off_policy, step=q_learning_step)


@jax.named_scope("optimiser")
def take_step(
    program: Program,
    lr: jax.Array,
    learner: LearnerState,
    grads: NetworkParams,
    loss_metrics: LossMetrics,
) -> tuple[LearnerState, UpdateMetrics]:
    """Move the parameters by a gradient.

    A step that is not finite is not taken, and the run takes no further one.
    """
    params, opt_state = apply_gradients(
        program.optimizer, learner.params, learner.opt_state, grads, lr
    )
    alive = learner.alive & jnp.isfinite(loss_metrics.loss) & all_finite(params)
    updated = LearnerState(
        params=where_tree(alive, params, learner.params),
        target_params=learner.target_params,
        opt_state=where_tree(alive, opt_state, learner.opt_state),
        alive=alive,
    )
    return updated, _sums(loss_metrics, optax.tree.norm(grads))


def loss_reward(program: Program, hyper: Hyper, state: RunState, window: Window) -> jax.Array:
    """The reward `[T, B]` as the loss sees it: standardised where that is asked for, and scaled."""
    reward = window.reward
    if program.learner.standardise_rewards:
        reward = standardise(state.reward_moments, reward)
    return hyper.reward_scale * reward


def _move_target(learner: LearnerState, hyper: Hyper) -> LearnerState:
    target_params = update_target(learner.params, learner.target_params, hyper.tau)
    return dataclasses.replace(learner, target_params=target_params)


def _sums(metrics: LossMetrics, grad_norm: jax.Array) -> UpdateMetrics:
    return UpdateMetrics(
        loss=metrics.loss,
        td_error=metrics.td_error,
        q_tot=metrics.q_tot,
        grad_norm=grad_norm,
        num_updates=jnp.ones(()),
    )
