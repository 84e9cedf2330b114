"""Greedy and ε-greedy choice among available actions, and how ε falls."""

import jax
import jax.numpy as jnp


def linear_epsilon(
    progress: jax.Array, start: jax.Array, finish: jax.Array, decay_fraction: jax.Array
) -> jax.Array:
    """ε that falls linearly over the first part of a run and then stays.

    ε = start + (finish − start) · min(progress / decay_fraction, 1).

    Args:
        progress: `[]` share of the run that is done, in [0, 1].
        start: `[]` ε at progress 0.
        finish: `[]` ε from `decay_fraction` on.
        decay_fraction: `[]` in (0, 1].
    """
    return start + (finish - start) * jnp.minimum(progress / decay_fraction, 1.0)


def greedy_actions(q_values: jax.Array, avail_actions: jax.Array) -> jax.Array:
    """The best available action of each row: `[..., A]`, `[..., A]` bool → `[...]` int32."""
    best = jnp.argmax(jnp.where(avail_actions, q_values, -jnp.inf), axis=-1)
    return best.astype(jnp.int32)


def epsilon_greedy_actions(
    noise: jax.Array, q_values: jax.Array, avail_actions: jax.Array, epsilon: jax.Array
) -> jax.Array:
    """With probability ε a uniformly random available action, else the best one.

    The noise is an argument so that a collector can draw a whole window's at once.

    Args:
        noise: `[..., A + 1]` uniform in [0, 1); the first column decides whether to explore, the
            others are ranked among available actions.
        q_values: `[..., A]`.
        avail_actions: `[..., A]` bool, at least one True in every row.
        epsilon: `[]` in [0, 1].

    Returns:
        `[...]` int32.
    """
    random = greedy_actions(noise[..., 1:], avail_actions)
    return jnp.where(noise[..., 0] < epsilon, random, greedy_actions(q_values, avail_actions))
