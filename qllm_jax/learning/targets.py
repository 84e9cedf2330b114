"""What a value regresses on. No batch axis but in `window_returns`: callers vmap over windows.

Arrays of one window of T slots: `_t` are the T − 1 slots in which the team can act, `_tp1` the
slots after them.
"""

import jax
import jax.numpy as jnp

from qllm_jax.learning.exploration import greedy_actions
from qllm_jax.types import JointAction, Window


def double_q_values(
    selector_q: jax.Array, target_q: jax.Array, avail_actions: jax.Array
) -> jax.Array:
    """Evaluate with one network the action that another one picks.

    v = Q_target(argmax_{a available} Q_selector(a)).

    "Deep Reinforcement Learning with Double Q-learning", https://arxiv.org/abs/1509.06461, eq. 4.
    With `selector_q = target_q` it is the ordinary maximum.

    Args:
        selector_q: `[..., A]` values that choose.
        target_q: `[..., A]` values that are returned.
        avail_actions: `[..., A]` bool, at least one True in every row.

    Returns:
        `[...]`; no gradient flows through it.
    """
    best = greedy_actions(selector_q, avail_actions)
    return jax.lax.stop_gradient(take_actions(target_q, best))


def take_actions(q_values: jax.Array, actions: jax.Array) -> jax.Array:
    """The values `[...]` of `actions [...]` int32 among `q_values [..., A]`."""
    # A sum over a comparison: the gradient of a gather is a scatter, which is slow on the CPU.
    chosen = actions[..., None] == jnp.arange(q_values.shape[-1], dtype=actions.dtype)
    return jnp.sum(jnp.where(chosen, q_values, 0.0), axis=-1)


def joint_action(q_values: jax.Array, avail_actions: jax.Array, actions: jax.Array) -> JointAction:
    """What a mixer may read of a joint action.

    Args:
        q_values: `[..., N, A]`.
        avail_actions: `[..., N, A]` bool, at least one True in every row.
        actions: `[..., N]` int32, the actions whose values are mixed.

    Returns:
        `JointAction` with leading axes `[...]`.
    """
    num_actions = q_values.shape[-1]
    greedy = greedy_actions(q_values, avail_actions)
    return JointAction(
        actions=jax.nn.one_hot(actions, num_actions),
        greedy_actions=jax.nn.one_hot(greedy, num_actions),
        greedy_qs=take_actions(q_values, greedy),
    )


def acting_mask(last: jax.Array) -> jax.Array:
    """Which of a window's slots hold a transition that can be learned from.

    A `last` slot holds the end of an episode, and nobody acts in it. The final slot of a window
    has no successor to bootstrap from.

    Args:
        last: `[T]` bool.

    Returns:
        `[T - 1]` bool.
    """
    return ~last[:-1]


def lambda_returns(
    reward_t: jax.Array,
    values_tp1: jax.Array,
    terminated_t: jax.Array,
    truncated_t: jax.Array,
    discount: jax.Array,
    td_lambda: jax.Array,
) -> jax.Array:
    """λ-returns that stop at the episode's end and at the window's.

    G_t = r_t + γ (1 − terminated_t) [(1 − λ_t) v_{t+1} + λ_t G_{t+1}], with λ_t = λ where slot
    t + 1 acts in the same episode and lies in the window, else 0: at a time limit the return
    bootstraps from the value of the episode's own last state. λ = 0 is the one-step target.

    "Reinforcement Learning: An Introduction", Sutton & Barto 2018, eq. 12.18, with the greedy
    bootstrap of Peng's Q(λ).

    Args:
        reward_t: `[T - 1]` float32 reward for acting in slot t.
        values_tp1: `[T - 1, M]` bootstrap values of slot t + 1.
        terminated_t: `[T - 1]` bool, acting in slot t ended the episode.
        truncated_t: `[T - 1]` bool, the time limit ended it there.
        discount: `[]` γ in [0, 1].
        td_lambda: `[]` λ in [0, 1].

    Returns:
        `[T - 1, M]`; no gradient flows through it. In `last` slots it means nothing.
    """
    ended = terminated_t | truncated_t
    lambda_t = jnp.where(ended, 0.0, td_lambda).at[-1].set(0.0)
    discount_t = discount * (1.0 - terminated_t.astype(values_tp1.dtype))
    # G_t = base_t + decay_t G_{t+1}: the part that needs no recursion is computed for all slots.
    base = reward_t[:, None] + (discount_t * (1.0 - lambda_t))[:, None] * values_tp1
    decay = discount_t * lambda_t

    def body(return_tp1, slot):
        base_t, decay_t = slot
        # Not 0 · G: the slot after an episode's end may hold anything.
        return_t = base_t + jnp.where(decay_t > 0.0, decay_t * return_tp1, 0.0)
        return return_t, return_t

    _, returns = jax.lax.scan(body, jnp.zeros_like(values_tp1[0]), (base, decay), reverse=True)
    return jax.lax.stop_gradient(returns)


def window_returns(
    window: Window, values_tp1: jax.Array, discount: jax.Array, td_lambda: jax.Array
) -> jax.Array:
    """`lambda_returns` of a batch of windows.

    Args:
        window: `[T, B, ...]`, with the reward as the loss should see it.
        values_tp1: `[T - 1, B, M]` bootstrap values of slots 1 to T - 1.
        discount: `[]` γ.
        td_lambda: `[]` λ.

    Returns:
        `[T - 1, B, M]`; no gradient flows through it.
    """
    return jax.vmap(lambda_returns, in_axes=(1, 1, 1, 1, None, None), out_axes=1)(
        window.reward[:-1],
        values_tp1,
        window.terminated[:-1],
        window.truncated[:-1],
        discount,
        td_lambda,
    )
