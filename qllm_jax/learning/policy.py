"""Policies over available actions, and PPO's clipped loss with the agents' critics mixed.

In the clipped loss an agent's network puts out `[A + 1]`: logits of the A actions and, last, the
agent's own value of its situation. `coma` and `maddpg` share the functions on logits `[A]`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct

from qllm_jax.learning.exploration import greedy_actions
from qllm_jax.learning.loss import AgentApply, LossMetrics, NetworkParams
from qllm_jax.learning.targets import acting_mask, take_actions, window_returns
from qllm_jax.types import Params, Window

# (params, local_values [T, B, N], state [T, B, D], reset [T, B]) -> values [T, B, M]
CriticApply = Callable[[Params, jax.Array, jax.Array, jax.Array], jax.Array]
_UNAVAILABLE = -1e9  # finite, so that a gradient through it is zero and not NaN


@struct.dataclass
class PolicyBatch:
    """Windows, and what the policy that played them thought of them."""

    window: Window  # [T, B, ...]
    log_probs: jax.Array  # [T - 1, B, N] of the actions taken
    returns: jax.Array  # [T - 1, B, M] λ-returns
    advantages: jax.Array  # [T - 1, B, M] λ-returns minus mixed values


def available_log_probs(logits: jax.Array, avail_actions: jax.Array) -> jax.Array:
    """log π over available actions: `[..., A]`, `[..., A]` bool → `[..., A]`."""
    return jax.nn.log_softmax(masked_logits(logits, avail_actions), axis=-1)


def masked_logits(logits: jax.Array, avail_actions: jax.Array) -> jax.Array:
    """Logits that give an unavailable action no probability, with a finite gradient."""
    return jnp.where(avail_actions, logits, _UNAVAILABLE)


def gumbel(noise: jax.Array) -> jax.Array:
    """Standard Gumbel numbers −log(−log u) from uniform ones in [0, 1)."""
    return -jnp.log(-jnp.log(jnp.maximum(noise, jnp.finfo(noise.dtype).tiny)))


def entropy(log_probs: jax.Array, avail_actions: jax.Array) -> jax.Array:
    """−Σ_a π(a) log π(a) over available actions: `[..., A]` → `[...]`."""
    terms = jnp.where(avail_actions, jnp.exp(log_probs) * log_probs, 0.0)
    return -jnp.sum(terms, axis=-1)


def sample_actions(
    noise: jax.Array, outputs: jax.Array, avail_actions: jax.Array, epsilon: jax.Array
) -> jax.Array:
    """As `sample_from_logits`, of `outputs [..., A + 1]` with the agent's own value last."""
    return sample_from_logits(noise, outputs[..., :-1], avail_actions, epsilon)


def sample_from_logits(
    noise: jax.Array, logits: jax.Array, avail_actions: jax.Array, epsilon: jax.Array
) -> jax.Array:
    """Draw from π; the signature is `epsilon_greedy_actions`'.

    argmax_a (logit_a − log(−log u_a)) with uniform u is distributed as softmax(logit):
    "A* Sampling", https://arxiv.org/abs/1411.0030, §2.

    Args:
        noise: `[..., A + 1]` uniform in [0, 1); the first column is not used.
        logits: `[..., A]`.
        avail_actions: `[..., A]` bool, at least one True in every row.
        epsilon: Not used: the policy explores by itself.

    Returns:
        `[...]` int32.
    """
    del epsilon
    return greedy_actions(logits + gumbel(noise[..., 1:]), avail_actions)


def local_values(outputs: jax.Array, actions: jax.Array) -> jax.Array:
    """The agents' own values `[...]` in `outputs [..., A + 1]`; they depend on no action."""
    del actions
    return outputs[..., -1]


def prepare_policy_batch(
    params: NetworkParams,
    window: Window,
    agent_apply: AgentApply,
    critic_apply: CriticApply,
    *,
    discount: jax.Array,
    td_lambda: jax.Array,
) -> PolicyBatch:
    """What the loss compares with: log π, mixed values and λ-returns before any update.

    The advantage G_t − V(s_t) of the λ-return is the generalised advantage estimate.

    "High-Dimensional Continuous Control Using Generalized Advantage Estimation",
    https://arxiv.org/abs/1506.02438, eq. 16.

    Args:
        params: Of the policy that played.
        window: `[T, B, ...]`, with the reward as the loss should see it.
        agent_apply: `(params, obs [T, B, N, O], reset [T, B]) -> outputs [T, B, N, A + 1]`.
        critic_apply: `(params, local_values [T, B, N], state [T, B, D], reset [T, B]) ->
            values [T, B, M]`.
        discount: `[]` γ.
        td_lambda: `[]` λ.
    """
    log_probs, _, values = _forward(params, window, agent_apply, critic_apply)
    returns = window_returns(window, values[1:], discount, td_lambda)
    batch = PolicyBatch(
        window=window, log_probs=log_probs, returns=returns, advantages=returns - values[:-1]
    )
    return jax.lax.stop_gradient(batch)


def policy_loss(
    params: NetworkParams,
    batch: PolicyBatch,
    agent_apply: AgentApply,
    critic_apply: CriticApply,
    *,
    clip_epsilon: float,
    value_coef: float,
    entropy_coef: float,
) -> tuple[jax.Array, LossMetrics]:
    """Clipped policy loss of every agent on the mixed critic's advantage.

    L = −mean min(ρ Â, clip(ρ, 1 ± ε) Â) + c_v ½ mean (V − G)² − c_e mean H(π), with
    ρ = π(a) / π_old(a) and Â the advantage standardised over the batch. Where the mixer has one
    value all agents share its advantage; where it has N, each has its own.

    "Proximal Policy Optimization Algorithms", https://arxiv.org/abs/1707.06347, eq. 7 and 9.

    Args:
        params: Being trained.
        batch: From `prepare_policy_batch`.
        agent_apply: As there.
        critic_apply: As there.
        clip_epsilon: ε.
        value_coef: c_v.
        entropy_coef: c_e.

    Returns:
        The loss `[]` and `LossMetrics`, whose error is |V − G| and whose q_tot is V.
    """
    log_probs, entropies, all_values = _forward(params, batch.window, agent_apply, critic_apply)
    values = all_values[:-1]
    mean = acting_mean(batch.window)
    centred = batch.advantages - mean(batch.advantages)
    advantage = centred / (jnp.sqrt(mean(centred**2)) + 1e-8)
    ratio = jnp.exp(log_probs - batch.log_probs)
    clipped_ratio = jnp.clip(ratio, 1.0 - clip_epsilon, 1.0 + clip_epsilon)
    actor = -mean(jnp.minimum(ratio * advantage, clipped_ratio * advantage))
    critic = 0.5 * mean((values - batch.returns) ** 2)
    loss = actor + value_coef * critic - entropy_coef * mean(entropies)
    metrics = LossMetrics(
        loss=loss, td_error=mean(jnp.abs(values - batch.returns)), q_tot=mean(values)
    )
    return loss, jax.lax.stop_gradient(metrics)


def acting_mean(window: Window) -> Callable[[jax.Array], jax.Array]:
    """A mean `[T - 1, B, K] → []` over the slots of a window `[T, B]` in which the team acts."""
    acting = jax.vmap(acting_mask, in_axes=1, out_axes=1)(window.last)[..., None]

    def mean(array: jax.Array) -> jax.Array:
        # Where nobody acts anything may stand: it must not reach the sum.
        count = jnp.maximum(jnp.sum(acting), 1) * array.shape[-1]
        return jnp.sum(jnp.where(acting, array, 0.0)) / count

    return mean


def _forward(
    params: NetworkParams, window: Window, agent_apply: AgentApply, critic_apply: CriticApply
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """log π of the actions taken and entropy, `[T - 1, B, N]`, and mixed values `[T, B, M]`."""
    outputs = agent_apply(params.agent, window.obs, window.reset)
    log_probs = available_log_probs(outputs[:-1, ..., :-1], window.avail_actions[:-1])
    return (
        take_actions(log_probs, window.actions[:-1]),
        entropy(log_probs, window.avail_actions[:-1]),
        critic_apply(params.mixer, outputs[..., -1], window.state, window.reset),
    )
