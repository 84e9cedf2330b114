"""The parameters of a gated recurrent unit, as its step, its scan and its kernel take them."""

import jax
from flax import struct


@struct.dataclass
class GruWeights:
    """Gates side by side: reset r, update z, candidate n."""

    input: jax.Array  # [H, 3H] of the inputs
    input_bias: jax.Array  # [3H]
    hidden: jax.Array  # [H, 3H] of the hidden state, "recurrent weights"
    hidden_bias: jax.Array  # [H] of n only: r and z need one bias
