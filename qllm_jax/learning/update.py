"""From gradients to parameters, and from parameters to target parameters."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax

from qllm_jax.types import Params


def make_optimizer(
    name: Literal["adam", "radam"],
    max_grad_norm: float,
    *,
    epsilon: float = 1e-8,
    lr_by_field: Mapping[str, float] | None = None,
) -> optax.GradientTransformation:
    """Clip by global norm, then precondition; the learning rate is left to `apply_gradients`.

    So the learning rate can be a traced value that a sweep vmaps.

    Args:
        name: Of the preconditioner.
        max_grad_norm: Above it a gradient is scaled down to it.
        epsilon: Added to the root of the second moment.
        lr_by_field: For actor and critic apart, which are fields of the parameters' dataclass: by
            field, a factor on the learning rate. Each field is then clipped by its own norm. None
            clips all parameters together and has no factors.

    "Adam: A Method for Stochastic Optimization", https://arxiv.org/abs/1412.6980;
    "On the Variance of the Adaptive Learning Rate and Beyond", https://arxiv.org/abs/1908.03265.
    """
    precondition = {"adam": optax.scale_by_adam, "radam": optax.scale_by_radam}[name]
    clip = optax.clip_by_global_norm(max_grad_norm)
    if lr_by_field is None:
        return optax.chain(clip, precondition(eps=epsilon))
    scales = {name: optax.scale(factor) for name, factor in lr_by_field.items()}
    return optax.chain(
        _field_by_field(dict.fromkeys(scales, clip)),
        precondition(eps=epsilon),
        _field_by_field(scales),
    )


def _field_by_field(
    transformations: Mapping[str, optax.GradientTransformation],
) -> optax.GradientTransformation:
    """Transform each field of a dataclass of updates by its own stateless transformation.

    Adam's moments need no such split: they are kept element by element.
    """

    def update(updates: Any, state: optax.OptState, params: Any = None) -> Any:
        changed = {
            name: transformation.update(getattr(updates, name), optax.EmptyState())[0]
            for name, transformation in transformations.items()
        }
        return dataclasses.replace(updates, **changed), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def apply_gradients(
    optimizer: optax.GradientTransformation,
    params: Params,
    opt_state: optax.OptState,
    grads: Params,
    lr: jax.Array,
) -> tuple[Params, optax.OptState]:
    """params ← params − lr · optimizer(grads); `lr` is `[]`, traced."""
    updates, opt_state = optimizer.update(grads, opt_state, params)
    params = jax.tree.map(lambda param, update: param - lr * update, params, updates)
    return params, opt_state


def linear_decay(lr: jax.Array, step: jax.Array, num_steps: int) -> jax.Array:
    """lr · (1 − step / num_steps), never below zero; `step` counts gradient steps from 0."""
    return lr * jnp.maximum(1.0 - step / num_steps, 0.0)


def update_target(params: Params, target_params: Params, tau: jax.Array) -> Params:
    """target ← target + τ (params − target); τ = 1 copies.

    "Continuous control with deep reinforcement learning", https://arxiv.org/abs/1509.02971, alg. 1.
    """
    return jax.tree.map(lambda new, old: tau * new + (1.0 - tau) * old, params, target_params)


def where_tree(condition: jax.Array, if_true: Params, if_false: Params) -> Params:
    """Choose a whole tree by a scalar `condition`, leaf by leaf."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), if_true, if_false)


def all_finite(tree: Params) -> jax.Array:
    """Whether every element of every leaf is finite, and its square too: `[]` bool."""
    # The sum of squares is not finite where an element is not; one reduction per leaf.
    return jnp.isfinite(optax.tree.norm(tree))
