"""Running mean and variance, by which rewards are standardised in the loss."""

import jax
import jax.numpy as jnp
from flax import struct


@struct.dataclass
class RunningMoments:
    """Moments of everything seen so far; `deviations` is the sum of squared deviations."""

    count: jax.Array  # [] float32
    mean: jax.Array  # []
    deviations: jax.Array  # []


def init_moments() -> RunningMoments:
    """Moments of nothing."""
    return RunningMoments(jnp.zeros(()), jnp.zeros(()), jnp.zeros(()))


def update_moments(moments: RunningMoments, values: jax.Array, mask: jax.Array) -> RunningMoments:
    """Add a batch.

    M ← M_a + M_b + δ² n_a n_b / (n_a + n_b), with δ the difference of the means.

    "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances", Chan et al. 1979,
    https://doi.org/10.1007/978-3-642-51461-6_3.

    Args:
        moments: So far.
        values: Any shape.
        mask: Same shape, bool; False is left out.
    """
    weight = mask.astype(jnp.float32)
    batch_count = jnp.sum(weight)
    batch_mean = jnp.sum(values * weight) / jnp.maximum(batch_count, 1.0)
    batch_deviations = jnp.sum(weight * (values - batch_mean) ** 2)
    count = moments.count + batch_count
    safe_count = jnp.maximum(count, 1.0)
    delta = batch_mean - moments.mean
    return RunningMoments(
        count=count,
        mean=moments.mean + delta * batch_count / safe_count,
        deviations=moments.deviations
        + batch_deviations
        + delta**2 * moments.count * batch_count / safe_count,
    )


def standardise(moments: RunningMoments, values: jax.Array, epsilon: float = 1e-6) -> jax.Array:
    """(x − mean) / (std + ε), with the population standard deviation."""
    std = jnp.sqrt(moments.deviations / jnp.maximum(moments.count, 1.0))
    return (values - moments.mean) / (std + epsilon)
