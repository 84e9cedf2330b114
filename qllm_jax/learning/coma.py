"""COMA: each agent's action against what its other actions would have been worth."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct

from qllm_jax.learning.exploration import greedy_actions
from qllm_jax.learning.loss import AgentApply, LossMetrics, NetworkParams
from qllm_jax.learning.policy import acting_mean, available_log_probs, entropy
from qllm_jax.learning.targets import take_actions, window_returns
from qllm_jax.types import Params, Window

# (params, state [D], actions [N, A] one-hot) -> values [N, A]
CounterfactualApply = Callable[[Params, jax.Array, jax.Array], jax.Array]


@struct.dataclass
class CounterfactualBatch:
    """Windows, and what came of every action in them."""

    window: Window  # [T, B, ...]
    returns: jax.Array  # [T - 1, B, N] λ-returns


def prepare_coma_batch(
    params: NetworkParams,
    window: Window,
    agent_apply: AgentApply,
    critic_apply: CounterfactualApply,
    *,
    discount: jax.Array,
    td_lambda: jax.Array,
) -> CounterfactualBatch:
    """Returns of every agent's critic, before any update.

    Where an episode was cut at the time limit nobody acted; its bootstrap takes the policy's best
    actions.

    Args:
        params: Of the policy that played, and its critic.
        window: `[T, B, ...]`, with the reward as the loss should see it.
        agent_apply: `(params, obs [T, B, N, O], reset [T, B]) -> logits [T, B, N, A]`.
        critic_apply: As above.
        discount: `[]` γ.
        td_lambda: `[]` λ of TD(λ).
    """
    logits = agent_apply(params.agent, window.obs, window.reset)
    nobody_acts = window.last.at[-1].set(True)[..., None]
    actions = jnp.where(nobody_acts, greedy_actions(logits, window.avail_actions), window.actions)
    taken = take_actions(_values(params, window, critic_apply, actions), actions)  # [T, B, N]
    returns = window_returns(window, taken[1:], discount, td_lambda)
    return CounterfactualBatch(window=window, returns=jax.lax.stop_gradient(returns))


def coma_loss(
    params: NetworkParams,
    batch: CounterfactualBatch,
    agent_apply: AgentApply,
    critic_apply: CounterfactualApply,
    *,
    value_coef: float,
    entropy_coef: float,
) -> tuple[jax.Array, LossMetrics]:
    """L = −mean log π_i(u_i) A_i + c_v ½ mean (Q_i(s, u) − G_i)² − c_e mean H(π_i).

    A_i = Q_i(s, u) − Σ_a π_i(a) Q_i(s, (u_-i, a)), a constant: the baseline marginalises agent i's
    action only. Critic and policy are those of this step, not of the window's beginning, so that
    advantages follow the critic as it learns (algorithm 1 trains it first).

    "Counterfactual Multi-Agent Policy Gradients", https://arxiv.org/abs/1705.08926, eq. 4 for the
    advantage, eq. 5 for the critic.

    Args:
        params: Being trained.
        batch: From `prepare_coma_batch`.
        agent_apply: As there.
        critic_apply: As there.
        value_coef: c_v.
        entropy_coef: c_e.
    """
    window = batch.window
    avail_actions = window.avail_actions[:-1]
    logits = agent_apply(params.agent, window.obs, window.reset)
    log_pi = available_log_probs(logits, window.avail_actions)[:-1]  # [T - 1, B, N, A]
    values = _values(params, window, critic_apply, window.actions)[:-1]
    taken = take_actions(values, window.actions[:-1])
    expected = jnp.sum(jnp.where(avail_actions, jnp.exp(log_pi) * values, 0.0), axis=-1)
    advantages = jax.lax.stop_gradient(taken - expected)
    mean = acting_mean(window)
    actor = -mean(take_actions(log_pi, window.actions[:-1]) * advantages)
    critic = 0.5 * mean((taken - batch.returns) ** 2)
    bonus = mean(entropy(log_pi, avail_actions))
    loss = actor + value_coef * critic - entropy_coef * bonus
    metrics = LossMetrics(
        loss=loss, td_error=mean(jnp.abs(taken - batch.returns)), q_tot=mean(taken)
    )
    return loss, jax.lax.stop_gradient(metrics)


def _values(
    params: NetworkParams, window: Window, critic_apply: CounterfactualApply, actions: jax.Array
) -> jax.Array:
    one_hot = jax.nn.one_hot(actions, window.avail_actions.shape[-1])
    over_slots = jax.vmap(jax.vmap(critic_apply, in_axes=(None, 0, 0)), in_axes=(None, 0, 0))
    return over_slots(params.mixer, window.state, one_hot)
