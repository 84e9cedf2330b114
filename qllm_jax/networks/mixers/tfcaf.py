"""Training-free credit assignment: functions that a language model wrote."""

import functools

import jax
import jax.numpy as jnp

from qllm_jax.config import MixerConfig
from qllm_jax.errors import UserError
from qllm_jax.networks.mixer import Mixer, MixerHyper, TeamSizes
from qllm_jax.types import Params, TfcafFunction


def make(config: MixerConfig, sizes: TeamSizes, tfcafs: tuple[TfcafFunction, ...]) -> Mixer:
    """q_tot = scale · f_c(q, s), with c the run's candidate.

    "QLLM: Do We Really Need a Mixing Network for Credit Assignment in Multi-Agent Reinforcement
    Learning?", https://arxiv.org/abs/2504.12961.

    Raises:
        UserError: No function was given.
    """
    if not tfcafs:
        raise UserError(
            "mixer 'tfcaf' has no function to mix with. Generate one with `qllm-jax generate`, "
            "translate one with `qllm-jax translate`, or name a directory in mixer.artifact."
        )
    mix = tfcafs[0] if len(tfcafs) == 1 else None

    def apply(
        params: Params, agent_qs: jax.Array, state: jax.Array, hyper: MixerHyper
    ) -> jax.Array:
        if mix is not None:
            q_tot = mix(agent_qs, state)
        else:
            q_tot = _select(tfcafs, agent_qs, state, hyper.candidate)
        return (hyper.scale * q_tot)[None]

    return Mixer(name="tfcaf", init=lambda key: {}, apply=apply, igm=None)


def _select(
    tfcafs: tuple[TfcafFunction, ...],
    agent_qs: jax.Array,
    state: jax.Array,
    candidate: jax.Array,
) -> jax.Array:
    """The value of one of K functions, all of them evaluated: runs with different ones batch.

    A `where` on the values alone lets 0 · NaN through in the gradient. So every function carries
    its own gradient rule, and one that is not chosen gets a gradient of exactly zero.
    """
    total = jnp.zeros(())
    for index, tfcaf in enumerate(tfcafs):
        is_chosen = candidate == index
        total += jnp.where(is_chosen, _gated(tfcaf, agent_qs, state, is_chosen), 0.0)
    return total


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _gated(
    tfcaf: TfcafFunction, agent_qs: jax.Array, state: jax.Array, is_chosen: jax.Array
) -> jax.Array:
    """`tfcaf(agent_qs, state)`; its gradient is zero, never NaN, unless `is_chosen`."""
    return tfcaf(agent_qs, state)


def _gated_forward(tfcaf, agent_qs, state, is_chosen):
    value, gradient = jax.value_and_grad(tfcaf)(agent_qs, state)
    return value, (gradient, state, is_chosen)


def _gated_backward(tfcaf, residuals, value_grad):
    gradient, state, is_chosen = residuals
    return jnp.where(is_chosen, value_grad * gradient, 0.0), jnp.zeros_like(state), None


_gated.defvjp(_gated_forward, _gated_backward)
