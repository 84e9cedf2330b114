"""A plain multi-layer perceptron, the hypernetwork of several mixers."""

import flax.linen as nn
import jax


class Mlp(nn.Module):
    """Dense layers with ReLU between them, none after the last.

    Attributes:
        widths: Of every layer, the output included.
        zero_output: Start the last layer at zero, so that the output is exactly zero at first.
    """

    widths: tuple[int, ...]
    zero_output: bool = False

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Map `inputs [F]` to `[widths[-1]]`."""
        hidden = inputs
        for width in self.widths[:-1]:
            hidden = nn.relu(nn.Dense(width)(hidden))
        if self.zero_output:
            return nn.Dense(self.widths[-1], kernel_init=nn.initializers.zeros_init())(hidden)
        return nn.Dense(self.widths[-1])(hidden)
