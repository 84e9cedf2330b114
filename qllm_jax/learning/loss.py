"""The temporal-difference loss of a batch of windows, of values that a mixer has mixed.

What all losses share stands here too: the networks' parameters and what a loss reports.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct

from qllm_jax.learning.exploration import greedy_actions
from qllm_jax.learning.targets import (
    acting_mask,
    double_q_values,
    joint_action,
    take_actions,
    window_returns,
)
from qllm_jax.types import JointAction, Params, Window

# (params, obs [T, B, N, O], reset [T, B]) -> outputs [T, B, N, A + V]; see `networks.Agent`
AgentApply = Callable[[Params, jax.Array, jax.Array], jax.Array]
# (params, agent_qs [N], state [D], joint) -> values [M], or a loss []
MixerApply = Callable[[Params, jax.Array, jax.Array, JointAction], jax.Array]
# (params, agent_qs [T, N], acting [T]) -> agent_qs [T, N]
TrajectoryTransform = Callable[[Params, jax.Array, jax.Array], jax.Array]


@struct.dataclass
class NetworkParams:
    """Everything that is trained.

    Attributes:
        agent: Of the agents' network.
        mixer: Of the mixer, or of the critic that a learner without a mixer has in its place; `{}`
            where it learns nothing.
    """

    agent: Params
    mixer: Params


@struct.dataclass
class LossMetrics:
    """Means over the batch's transitions."""

    loss: jax.Array  # []
    td_error: jax.Array  # [] mean |δ|
    q_tot: jax.Array  # [] mean value that was regressed


def td_loss(
    params: NetworkParams,
    target_params: NetworkParams | None,
    window: Window,
    agent_apply: AgentApply,
    mixer_apply: MixerApply,
    *,
    discount: jax.Array,
    td_lambda: jax.Array,
    double_q: bool,
    extra_loss: MixerApply | None = None,
    transform: TrajectoryTransform | None = None,
) -> tuple[jax.Array, LossMetrics]:
    """Mean squared TD error of mixed values.

    L = mean_{t acts} (f(q_t(a_t), s_t) − G_t)², where G_t bootstraps from
    f'(q'_{t+1}(argmax_a q_{t+1}(a)), s_{t+1}); primes are the target networks.

    "QMIX: Monotonic Value Function Factorisation for Deep Multi-Agent Reinforcement Learning",
    https://arxiv.org/abs/1803.11485, eq. 6.

    Args:
        params: Online networks.
        target_params: Target networks; None bootstraps from the online ones, without gradient.
        window: `[T, B, ...]`, with the reward as the loss should see it.
        agent_apply: `(params, obs [T, B, N, O], reset [T, B]) -> q_values [T, B, N, A]`.
        mixer_apply: `(params, agent_qs [N], state [D], joint) -> values [M]`.
        discount: `[]` γ.
        td_lambda: `[]` λ of the return.
        double_q: Let the online network choose the bootstrap action.
        extra_loss: `(params, agent_qs [N], state [D], joint) -> []`, the online mixer's own loss
            of a transition; its mean is added.
        transform: `(params, agent_qs [T, N], acting [T]) -> agent_qs [T, N]`, the online mixer's
            correction of a trajectory's values; bootstrap values are never corrected.

    Returns:
        The loss `[]` and `LossMetrics`.
    """
    window.check()
    mix = _over_slots(mixer_apply)
    online_q = agent_apply(params.agent, window.obs, window.reset)
    if target_params is None:
        target_q, target_mixer = online_q, params.mixer
    else:
        target_q = agent_apply(target_params.agent, window.obs, window.reset)
        target_mixer = target_params.mixer
    selector_q, avail_tp1 = online_q[1:] if double_q else target_q[1:], window.avail_actions[1:]
    next_qs = double_q_values(selector_q, target_q[1:], avail_tp1)
    next_joint = joint_action(target_q[1:], avail_tp1, greedy_actions(selector_q, avail_tp1))
    values_tp1 = mix(target_mixer, next_qs, window.state[1:], next_joint)
    targets = window_returns(window, values_tp1, discount, td_lambda)
    mask = jax.vmap(acting_mask, in_axes=1, out_axes=1)(window.last)
    chosen_qs = take_actions(online_q[:-1], window.actions[:-1])
    if transform is not None:
        per_window = jax.vmap(transform, in_axes=(None, 1, 1), out_axes=1)
        chosen_qs = per_window(params.mixer, chosen_qs, mask)
    joint = joint_action(online_q[:-1], window.avail_actions[:-1], window.actions[:-1])
    values = mix(params.mixer, chosen_qs, window.state[:-1], joint)
    weight = mask[..., None].astype(values.dtype)
    count = jnp.maximum(jnp.sum(weight) * values.shape[-1], 1.0)
    # Where nobody acts value and target may be anything: they must not reach a sum as 0 · NaN.
    error = jnp.where(mask[..., None], values - targets, 0.0)
    loss = jnp.sum(error**2) / count
    if extra_loss is not None:
        extra = _over_slots(extra_loss)(params.mixer, chosen_qs, window.state[:-1], joint)
        loss += jnp.sum(jnp.where(mask, extra, 0.0)) / jnp.maximum(jnp.sum(weight), 1.0)
    metrics = LossMetrics(
        loss=loss,
        td_error=jnp.sum(jnp.abs(error)) / count,
        q_tot=jnp.sum(jnp.where(mask[..., None], values, 0.0)) / count,
    )
    return loss, jax.lax.stop_gradient(metrics)


def _over_slots(function: MixerApply) -> MixerApply:
    """A mixer's function of one transition, over `[T, B, ...]`."""
    in_axes = (None, 0, 0, 0)
    mixing = jax.named_scope("mixing")(function)
    return jax.vmap(jax.vmap(mixing, in_axes=in_axes), in_axes=in_axes)
