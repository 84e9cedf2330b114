"""MADDPG for discrete actions: policies that climb a central critic, through Gumbel-softmax."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from qllm_jax.learning.exploration import greedy_actions
from qllm_jax.learning.loss import AgentApply, LossMetrics, NetworkParams
from qllm_jax.learning.policy import acting_mean, gumbel, masked_logits
from qllm_jax.learning.targets import window_returns
from qllm_jax.types import Params, Window

# (params, state [D], actions [N, A]) -> value [1]
JointValueApply = Callable[[Params, jax.Array, jax.Array], jax.Array]
_LOGITS_WEIGHT = 1e-3  # keeps policies from saturating, as in the paper's own code


def straight_through(noise: jax.Array, logits: jax.Array, avail_actions: jax.Array) -> jax.Array:
    """A sampled action as a one-hot, with the gradient of a softmax.

    "Categorical Reparameterization with Gumbel-Softmax", https://arxiv.org/abs/1611.01144, §2.2, at
    temperature 1.

    Args:
        noise: `[..., A]` uniform in [0, 1).
        logits: `[..., A]`.
        avail_actions: `[..., A]` bool.
    """
    perturbed = masked_logits(logits, avail_actions) + gumbel(noise)
    soft = jax.nn.softmax(perturbed, axis=-1)
    hard = jax.nn.one_hot(jnp.argmax(perturbed, axis=-1), logits.shape[-1])
    return hard + soft - jax.lax.stop_gradient(soft)


def maddpg_loss(
    params: NetworkParams,
    target_params: NetworkParams,
    window: Window,
    noise: jax.Array,
    agent_apply: AgentApply,
    critic_apply: JointValueApply,
    *,
    discount: jax.Array,
    td_lambda: jax.Array,
) -> tuple[jax.Array, LossMetrics]:
    """The critic's TD error and every agent's policy, in one loss with disjoint gradients.

    L = mean (Q(s, u) − G)² − mean_i Q(s, (u_-i, π_i(τ_i))) + 10⁻³ mean logits², with G from the
    target critic at the target policies' best actions; the second term moves the policies only.

    "Multi-Agent Actor-Critic for Mixed Cooperative-Competitive Environments",
    https://arxiv.org/abs/1706.02275, eq. 5 and 6.

    Args:
        params: Online policies and critic.
        target_params: Their slow copies.
        window: `[T, B, ...]`, with the reward as the loss should see it.
        noise: `[T - 1, B, N, A]` uniform in [0, 1).
        agent_apply: `(params, obs [T, B, N, O], reset [T, B]) -> logits [T, B, N, A]`.
        critic_apply: As above.
        discount: `[]` γ.
        td_lambda: `[]` λ of the return; 0 is one-step.
    """
    num_agents, num_actions = window.avail_actions.shape[-2:]
    over_slots = jax.vmap(jax.vmap(critic_apply, in_axes=(None, 0, 0)), in_axes=(None, 0, 0))
    avail, state = window.avail_actions, window.state
    target_logits = agent_apply(target_params.agent, window.obs, window.reset)
    best = jax.nn.one_hot(greedy_actions(target_logits, avail), num_actions)
    targets = window_returns(
        window, over_slots(target_params.mixer, state[1:], best[1:]), discount, td_lambda
    )
    taken = jax.nn.one_hot(window.actions[:-1], num_actions)  # [T - 1, B, N, A]
    values = over_slots(params.mixer, state[:-1], taken)
    mean = acting_mean(window)
    critic = mean((values - targets) ** 2)

    logits = agent_apply(params.agent, window.obs, window.reset)[:-1]
    chosen = straight_through(noise, logits, avail[:-1])
    frozen = jax.lax.stop_gradient(params.mixer)

    def value_of_agent(is_agent: jax.Array) -> jax.Array:
        """`[T - 1, B, 1]` with the agent's action by its policy, the others' as they were."""
        return over_slots(frozen, state[:-1], jnp.where(is_agent[:, None], chosen, taken))

    climbed = jax.vmap(value_of_agent)(jnp.eye(num_agents, dtype=bool))  # [N, T - 1, B, 1]
    actor = -mean(jnp.mean(climbed, axis=0))
    size = mean(jnp.mean(jnp.where(avail[:-1], logits, 0.0) ** 2, axis=-1))
    loss = critic + actor + _LOGITS_WEIGHT * size
    metrics = LossMetrics(loss=loss, td_error=mean(jnp.abs(values - targets)), q_tot=mean(values))
    return loss, jax.lax.stop_gradient(metrics)
