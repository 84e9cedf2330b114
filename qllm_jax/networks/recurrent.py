"""A gated recurrent unit: one step, and a sequence with its whole gradient written out.

Autodiff of a scan adds to the weight gradient in every step and saves every intermediate value.
Here the reverse scan carries the hidden state's gradient only, and the weight gradient is one
matrix product over all steps. On a GPU `gru_kernel` does the sequence instead.
"""

import jax
import jax.numpy as jnp

from qllm_jax.networks import gru_kernel
from qllm_jax.networks.gru_weights import GruWeights


def gru_step(x: jax.Array, hidden: jax.Array, weights: GruWeights) -> jax.Array:
    """Advance a GRU by one step.

    i = x W + b_i,  r = σ(i_r + h U_r),  z = σ(i_z + h U_z),  m = h U_n + b,
    n = tanh(i_n + r ⊙ m),  h' = (1 − z) ⊙ n + z ⊙ h.

    "Learning Phrase Representations using RNN Encoder–Decoder", https://arxiv.org/abs/1406.1078,
    eq. 5–8, with the reset gate applied after the recurrent product.

    Args:
        x: `[..., H]` inputs.
        hidden: `[..., H]`, h.
        weights: W, b_i, U, b.

    Returns:
        The new hidden state `[..., H]`.
    """
    inputs = x @ weights.input + weights.input_bias
    return _step(inputs, hidden, weights.hidden, weights.hidden_bias)[0]


def gru_sequence(x: jax.Array, keep: jax.Array, weights: GruWeights) -> jax.Array:
    """Run a GRU over a sequence from a zero state.

    Args:
        x: `[T, M, H]` inputs.
        keep: `[T, M]` float32, 0 where the hidden state is cleared before the step, else 1; not
            differentiated.
        weights: Of width H.

    Returns:
        Hidden states after every step, `[T, M, H]`.
    """
    if gru_kernel.usable(x.shape[-1]):
        return gru_kernel.fused_gru(x, keep, weights)
    inputs = x @ weights.input + weights.input_bias
    return _scanned(inputs, keep, weights.hidden, weights.hidden_bias)


def _step(
    inputs: jax.Array, hidden: jax.Array, kernel: jax.Array, bias: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array, jax.Array, jax.Array]]:
    """The new hidden state `[..., H]` and `(r, z, n, m)`, from inputs `[..., 3H]` projected."""
    width = hidden.shape[-1]
    recurrent = hidden @ kernel
    gates = jax.nn.sigmoid(inputs[..., : 2 * width] + recurrent[..., : 2 * width])
    r, z = gates[..., :width], gates[..., width:]
    m = recurrent[..., 2 * width :] + bias
    n = jnp.tanh(inputs[..., 2 * width :] + r * m)
    return n + z * (hidden - n), (r, z, n, m)


@jax.custom_vjp
def _scanned(inputs: jax.Array, keep: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    """`gru_sequence` of inputs `[T, M, 3H]` that are projected."""
    return _forward(inputs, keep, kernel, bias)[0]


@jax.named_scope("agent_forward")
def _forward(
    inputs: jax.Array, keep: jax.Array, kernel: jax.Array, bias: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    def body(hidden, slot):
        inputs_t, keep_t = slot
        hidden = hidden * keep_t[:, None]
        new_hidden, gates = _step(inputs_t, hidden, kernel, bias)
        return new_hidden, (hidden, *gates)

    initial = jnp.zeros((*inputs.shape[1:-1], kernel.shape[0]), inputs.dtype)
    _, saved = jax.lax.scan(body, initial, (inputs, keep))
    # The states are computed again from what left the loop. Were they its only output, XLA would
    # put a whole step into one kernel, which the CPU runs three times slower.
    hidden, _, z, n, _ = saved
    return n + z * (hidden - n), saved


def _save(inputs, keep, kernel, bias):
    outputs, saved = _forward(inputs, keep, kernel, bias)
    return outputs, (keep, kernel, *saved)


@jax.named_scope("agent_backward")
def _backward(residuals, output_grads):
    keep, kernel, hidden, r, z, n, m = residuals

    def body(carried, slot):
        grad_t, keep_t, hidden_t, r_t, z_t, n_t, m_t = slot
        grad = grad_t + carried
        d_n = grad * (1.0 - z_t) * (1.0 - n_t * n_t)  # before tanh
        d_z = grad * (hidden_t - n_t) * z_t * (1.0 - z_t)  # before σ
        d_r = d_n * m_t * r_t * (1.0 - r_t)  # before σ
        d_m = d_n * r_t
        back = jnp.concatenate([d_r, d_z, d_m], axis=-1)
        carried = (grad * z_t + back @ kernel.T) * keep_t[:, None]
        return carried, (back, d_n)

    slots = (output_grads, keep, hidden, r, z, n, m)
    _, (back, d_n) = jax.lax.scan(body, jnp.zeros_like(output_grads[0]), slots, reverse=True)
    width = kernel.shape[0]
    d_inputs = jnp.concatenate([back[..., : 2 * width], d_n], axis=-1)
    d_kernel = jnp.einsum("tmh,tmg->hg", hidden, back)
    d_bias = jnp.sum(back[..., 2 * width :], axis=(0, 1))
    return d_inputs, None, d_kernel, d_bias


_scanned.defvjp(_save, _backward)
