"""What the learners' iterations are made of: play, rewards for the loss, a step, a target's move.

Imported by `on_policy`, `off_policy` and the learners beside them.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from flax import struct

from qllm_jax.learning import (
    LossMetrics,
    NetworkParams,
    all_finite,
    apply_gradients,
    linear_decay,
    linear_epsilon,
    standardise,
    update_moments,
    update_target,
    where_tree,
)
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


def learning_rate(
    program: Program, hyper: Hyper, iteration: jax.Array, index: jax.Array
) -> jax.Array:
    """The learning rate `[]` of an iteration's `index`-th gradient step.

    It decays as JaxMARL's does: as if the iterations before the first gradient step had had theirs.
    """
    config, schedule = program.learner, program.schedule
    if not config.lr_linear_decay:
        return hyper.lr
    done = (iteration - schedule.first_update) * config.updates_per_window + index
    return linear_decay(hyper.lr, done, schedule.num_iterations * config.updates_per_window)


def observe_rewards(program: Program, state: RunState, record: Record) -> RunState:
    """Add a record's rewards to their running moments, where rewards are standardised."""
    if not program.learner.standardise_rewards:
        return state
    ended = record.terminated | record.truncated
    was_last = jnp.concatenate([jnp.zeros_like(ended[:1]), ended[:-1]])
    moments = update_moments(state.reward_moments, record.reward, ~was_last)
    return dataclasses.replace(state, reward_moments=moments)


def loss_reward(program: Program, hyper: Hyper, state: RunState, window: Window) -> jax.Array:
    """The reward `[T, B]` as the loss sees it: standardised where that is asked for, and scaled."""
    reward = window.reward
    if program.learner.standardise_rewards:
        reward = standardise(state.reward_moments, reward)
    return hyper.reward_scale * reward


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


def move_target(learner: LearnerState, hyper: Hyper) -> LearnerState:
    """Move the target networks towards the trained ones, by τ."""
    target_params = update_target(learner.params, learner.target_params, hyper.tau)
    return dataclasses.replace(learner, target_params=target_params)


def move_soft_target(program: Program, hyper: Hyper, learner: LearnerState) -> LearnerState:
    """Move the target networks after a gradient step, where that is how they move."""
    if program.learner.target_update == "soft" and program.algorithm.uses_target:
        return move_target(learner, hyper)
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


def _sums(metrics: LossMetrics, grad_norm: jax.Array) -> UpdateMetrics:
    return UpdateMetrics(
        loss=metrics.loss,
        td_error=metrics.td_error,
        q_tot=metrics.q_tot,
        grad_norm=grad_norm,
        num_updates=jnp.ones(()),
    )
