"""The GRU of a whole sequence as GPU kernels, forward and backward, written in Pallas for Triton.

XLA runs a scan step by step: each step's slices and gates go through the device's memory, and its
small matrix products are launched one by one. Here a program keeps some rows' hidden state, and the
weights, on the chip over all steps. Under vmap every run's programs read that run's weights.

`recurrent.gru_sequence` calls it where `usable` says that it is the faster way; results agree with
the scan's to the rounding of the products' inputs.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

from qllm_jax.networks.gru_weights import GruWeights

_WIDTHS = (16, 32, 64)  # Triton's blocks are powers of two; six wider matrices do not fit on chip
_ROWS = 32  # of a program; with 4 warps the fastest on an H200 of 16 and 32 rows, 4 and 8 warps
_MIN_ROWS = 16  # of a product on the tensor cores
# With 163 KiB or more of shared memory for a program; these take 112 at the largest width.
_CAPABILITIES = ("8.0", "9.0", "10.0", "10.3")
_PARAMS = plgpu.CompilerParams(num_warps=4, num_stages=1)


def usable(width: int) -> bool:
    """Whether the kernels run here, at this width H, at the precision that is asked for.

    They use the tensor cores, which round inputs to TensorFloat-32: not where products are to be
    exact float32. Tried on compute capability 9.0 (H200).
    """
    precision = jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]
    if width not in _WIDTHS or precision in ("highest", "float32"):
        return False
    device = jax.local_devices()[0]
    return device.platform == "gpu" and device.compute_capability in _CAPABILITIES


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def fused_gru(
    embedded: jax.Array, keep: jax.Array, weights: GruWeights, interpret: bool = False
) -> jax.Array:
    """Run a GRU over a sequence from a zero state; `recurrent.gru_step` gives the equations.

    Args:
        embedded: `[T, M, H]` inputs.
        keep: `[T, M]` float32, 0 where the hidden state is cleared before the step, else 1; not
            differentiated.
        weights: Of width H.
        interpret: Run in Pallas's interpreter, for a test without a GPU.

    Returns:
        Hidden states after every step, `[T, M, H]`.
    """
    (embedded, keep), num_rows = _whole_blocks(embedded, keep)
    return _forward(embedded, keep, weights, interpret, save=False)[0][:, :num_rows]


def _save(embedded: jax.Array, keep: jax.Array, weights: GruWeights, interpret: bool) -> Any:
    (embedded, keep), num_rows = _whole_blocks(embedded, keep)
    hidden, gates = _forward(embedded, keep, weights, interpret, save=True)
    return hidden[:, :num_rows], (embedded, keep, weights, hidden, gates)


def _pull_back(interpret: bool, residuals: Any, output_grads: jax.Array) -> Any:
    embedded, keep, weights, hidden, gates = residuals
    (output_grads,), num_rows = _whole_blocks(output_grads)
    width = embedded.shape[-1]
    d_embedded, d_gates = _backward(keep, weights, hidden, gates, output_grads, interpret)
    before = jnp.concatenate([jnp.zeros_like(hidden[:1]), hidden[:-1]]) * keep[..., None]
    d_input = jnp.einsum("tmh,tmg->hg", embedded, d_gates)
    d_hidden = jnp.einsum("tmh,tmg->hg", before, d_gates)
    d_bias = jnp.sum(d_gates, axis=(0, 1))
    d_weights = GruWeights(
        input=d_input[:, : 3 * width],
        input_bias=d_bias[: 3 * width],
        hidden=jnp.concatenate([d_hidden[:, : 2 * width], d_hidden[:, 3 * width :]], axis=1),
        hidden_bias=d_bias[3 * width :],
    )
    return d_embedded[:, :num_rows], None, d_weights


fused_gru.defvjp(_save, _pull_back)


@jax.named_scope("agent_forward")
def _forward(
    embedded: jax.Array, keep: jax.Array, weights: GruWeights, interpret: bool, *, save: bool
) -> list[jax.Array]:
    """Hidden states `[T, M, H]`; with `save` also r, z, n, m of all steps `[T, M, 4H]`."""
    slots, num_rows, width = embedded.shape
    rows = _rows_per_program(num_rows)
    widths = (width, 4 * width) if save else (width,)
    call = pl.pallas_call(
        _forward_kernel,
        grid=(num_rows // rows,),
        in_specs=[
            _rows_spec(slots, rows, width),
            _keep_spec(slots, rows),
            _whole_spec(width, 3 * width),
            _whole_spec(3 * width),
            _whole_spec(width, 3 * width),
            _whole_spec(width),
        ],
        out_specs=[_rows_spec(slots, rows, each) for each in widths],
        out_shape=[jax.ShapeDtypeStruct((slots, num_rows, each), jnp.float32) for each in widths],
        compiler_params=_PARAMS,
        interpret=interpret,
        name="gru_forward",
    )
    return call(
        embedded, keep, weights.input, weights.input_bias, weights.hidden, weights.hidden_bias
    )


def _forward_kernel(x_ref, keep_ref, input_ref, input_bias_ref, hidden_ref, bias_ref, *out_refs):
    slots, rows, width = x_ref.shape
    (w_r, w_z, w_n), (u_r, u_z, u_n) = _gates_of(input_ref), _gates_of(hidden_ref)
    b_r, b_z, b_n = (input_bias_ref[pl.ds(k * width, width)][None, :] for k in range(3))
    bias = bias_ref[:][None, :]

    def body(slot, hidden):
        x = x_ref[slot]
        hidden = hidden * keep_ref[slot][:, None]
        r = jax.nn.sigmoid(_dot(x, w_r) + _dot(hidden, u_r) + b_r)
        z = jax.nn.sigmoid(_dot(x, w_z) + _dot(hidden, u_z) + b_z)
        m = _dot(hidden, u_n) + bias
        n = jnp.tanh(_dot(x, w_n) + b_n + r * m)
        hidden = n + z * (hidden - n)
        out_refs[0][slot] = hidden
        for gates_ref in out_refs[1:]:
            for k, gate in enumerate((r, z, n, m)):
                gates_ref[slot, :, pl.ds(k * width, width)] = gate
        return hidden

    jax.lax.fori_loop(0, slots, body, jnp.zeros((rows, width), jnp.float32))


@jax.named_scope("agent_backward")
def _backward(
    keep: jax.Array,
    weights: GruWeights,
    hidden: jax.Array,
    gates: jax.Array,
    output_grads: jax.Array,
    interpret: bool,
) -> list[jax.Array]:
    """Gradients of inputs `[T, M, H]` and of r, z, n (before σ, tanh) and m `[T, M, 4H]`."""
    slots, num_rows, width = hidden.shape
    rows = _rows_per_program(num_rows)
    state, four = _rows_spec(slots, rows, width), _rows_spec(slots, rows, 4 * width)
    matrix = _whole_spec(width, 3 * width)
    call = pl.pallas_call(
        _backward_kernel,
        grid=(num_rows // rows,),
        in_specs=[_keep_spec(slots, rows), matrix, matrix, state, four, state],
        out_specs=[state, four],
        out_shape=[
            jax.ShapeDtypeStruct(hidden.shape, jnp.float32),
            jax.ShapeDtypeStruct(gates.shape, jnp.float32),
        ],
        compiler_params=_PARAMS,
        interpret=interpret,
        name="gru_backward",
    )
    return call(keep, weights.input, weights.hidden, hidden, gates, output_grads)


def _backward_kernel(
    keep_ref, input_ref, hidden_weights_ref, hidden_ref, gates_ref, grad_ref, d_x_ref, d_gates_ref
):
    slots, rows, width = hidden_ref.shape
    (w_r, w_z, w_n), (u_r, u_z, u_n) = _gates_of(input_ref), _gates_of(hidden_weights_ref)

    def body(index, carried):
        slot = slots - 1 - index
        keep = keep_ref[slot][:, None]
        hidden = hidden_ref[jnp.maximum(slot - 1, 0)] * jnp.where(slot > 0, keep, 0.0)
        r, z, n, m = (gates_ref[slot, :, pl.ds(k * width, width)] for k in range(4))
        grad = grad_ref[slot] + carried
        d_n = grad * (1.0 - z) * (1.0 - n * n)  # before tanh
        d_z = grad * (hidden - n) * z * (1.0 - z)  # before σ
        d_r = d_n * m * r * (1.0 - r)  # before σ
        d_m = d_n * r
        for k, d_gate in enumerate((d_r, d_z, d_n, d_m)):
            d_gates_ref[slot, :, pl.ds(k * width, width)] = d_gate
        d_x_ref[slot] = _dot_t(d_r, w_r) + _dot_t(d_z, w_z) + _dot_t(d_n, w_n)
        back = _dot_t(d_r, u_r) + _dot_t(d_z, u_z) + _dot_t(d_m, u_n)
        return (grad * z + back) * keep

    jax.lax.fori_loop(0, slots, body, jnp.zeros((rows, width), jnp.float32))


def _dot(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.dot(a, b, preferred_element_type=jnp.float32)


def _dot_t(a: jax.Array, b: jax.Array) -> jax.Array:
    return jax.lax.dot_general(a, b, (((1,), (1,)), ((), ())), preferred_element_type=jnp.float32)


def _gates_of(weights_ref: Any) -> tuple[jax.Array, ...]:
    """`[H, 3H]` as three `[H, H]`."""
    width = weights_ref.shape[0]
    return tuple(weights_ref[:, pl.ds(k * width, width)] for k in range(3))


def _whole_blocks(*arrays: jax.Array) -> tuple[tuple[jax.Array, ...], int]:
    """Arrays `[T, M, ...]` with rows of zeros up to a whole number of blocks, and M."""
    num_rows = arrays[0].shape[1]
    missing = -num_rows % _MIN_ROWS

    def padded(array: jax.Array) -> jax.Array:
        return jnp.pad(array, ((0, 0), (0, missing), *[(0, 0)] * (array.ndim - 2)))

    return tuple(map(padded, arrays)) if missing else arrays, num_rows


def _rows_per_program(num_rows: int) -> int:
    return _ROWS if num_rows % _ROWS == 0 else _MIN_ROWS


def _rows_spec(slots: int, rows: int, width: int) -> pl.BlockSpec:
    return pl.BlockSpec((slots, rows, width), lambda block: (0, block, 0))


def _keep_spec(slots: int, rows: int) -> pl.BlockSpec:
    return pl.BlockSpec((slots, rows), lambda block: (0, block))


def _whole_spec(*shape: int) -> pl.BlockSpec:
    return pl.BlockSpec(shape, lambda block: (0,) * len(shape))
