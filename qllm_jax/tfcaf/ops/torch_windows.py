"""Pooling and convolution of torch, as reductions and sums over windows; the kernels are fixed.

Imports the registry's context and the handlers of windows, padding and products.
"""

from __future__ import annotations

import ast

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf.ops import operators
from qllm_jax.tfcaf.ops.context import OpCall
from qllm_jax.tfcaf.ops.np_linalg import einsum
from qllm_jax.tfcaf.ops.registry import op
from qllm_jax.tfcaf.ops.torch_joining import pad
from qllm_jax.tfcaf.ops.torch_modules import unfold
from qllm_jax.tfcaf.ops.torch_reductions import picked
from qllm_jax.tfcaf.values import Array, Batch, Value, describe, static


def _rank(ctx: OpCall) -> int:
    """How many axes a window has: 1 for `avg_pool1d`."""
    return int(ctx.name[-2])


def _sizes(ctx: OpCall, value: Value, what: str) -> list[int]:
    """One size for each axis of the window; a single one counts for all."""
    sizes = [ctx.int(item, what) for item in ctx.items(value, what)]
    return sizes * _rank(ctx) if len(sizes) == 1 else sizes


def _padded(ctx: OpCall, x: Array, widths: list[int], value: float) -> Array:
    """The last axes with entries added on both sides."""
    if not any(widths):
        return x
    pairs = [static(width) for width in reversed(widths) for _ in range(2)]
    made = pad(ctx, x, ctx.tuple(pairs), static("constant"), static(value))
    assert isinstance(made, Array)
    return made


def _windows(ctx: OpCall, x: Array, sizes: list[int], strides: list[int]) -> Array:
    """Windows over the last axes, whose entries become new last axes."""
    axis = x.ndim - len(sizes)
    for place, (size, stride) in enumerate(zip(sizes, strides, strict=True)):
        made = unfold(ctx, x, static(axis + place), static(size), static(stride))
        assert isinstance(made, Array)
        x = made
    return x


@op(
    "torch",
    "F.avg_pool1d F.avg_pool2d",
    "x|input, size|kernel_size, stride=None, padding=0, ceil_mode!=False, count_include_pad=True",
)
@op(
    "torch",
    "F.max_pool1d F.max_pool2d",
    "x|input, size|kernel_size, stride=None, padding=0, dilation!=1, ceil_mode!=False, "
    "return_indices!=False",
)
def pool(
    ctx: OpCall,
    x: Value,
    size: Value,
    stride: Value,
    padding: Value,
    count_include_pad: Value | None = None,
) -> Array:
    """The mean or the largest of each window over the last axes."""
    x = _pooled(ctx, x)
    sizes = _sizes(ctx, size, "kernel_size")
    strides = sizes if ctx.is_none(stride) else _sizes(ctx, stride, "stride")
    widths = _sizes(ctx, padding, "padding")
    mean = "avg" in ctx.name
    if any(widths) and count_include_pad is not None and not ctx.bool(count_include_pad):
        raise ctx.refuse("argument", "the padding must count.", "Leave it out.")
    filled = _padded(ctx, x, widths, 0.0 if mean else -float("inf"))
    return _reduced(ctx, _windows(ctx, filled, sizes, strides), len(sizes), mean)


@op("torch", "F.adaptive_avg_pool1d F.adaptive_avg_pool2d", "x|input, size|output_size", mean=True)
@op("torch", "F.adaptive_max_pool1d F.adaptive_max_pool2d", "x|input, size|output_size", mean=False)
def adaptive_pool(ctx: OpCall, x: Value, size: Value, mean: bool) -> Array:
    """As many windows as asked for, of equal size."""
    x, counts = _pooled(ctx, x), _sizes(ctx, size, "output_size")
    wholes = [ctx.fixed_size(x, x.ndim - len(counts) + i) for i in range(len(counts))]
    if any(n < 1 or whole % n for whole, n in zip(wholes, counts, strict=True)):
        raise ctx.refuse("shape", "the windows differ in size.", "Use a divisor of the axis.")
    sizes = [whole // n for whole, n in zip(wholes, counts, strict=True)]
    return _reduced(ctx, _windows(ctx, x, sizes, sizes), len(sizes), mean)


def _pooled(ctx: OpCall, x: Value) -> Array:
    """An array of floats with a channel axis before those of the window."""
    x = ctx.array(x)
    if x.dtype != "float" or x.ndim not in (_rank(ctx) + 1, _rank(ctx) + 2):
        raise ctx.refuse(
            "shape", f"it takes floats with channels; received {describe(x)}.", "Unsqueeze them."
        )
    return x


def _reduced(ctx: OpCall, x: Array, rank: int, mean: bool) -> Array:
    """Windows reduced to one number each; of tied largest ones the first has the gradient."""
    lead = x.shape[:-rank]
    if mean:
        axes = tuple(range(-rank, 0))
        return ctx.result(lead, "float", c.method(x.code, "mean", [], {"axis": axes}), x)
    if rank > 1:
        text = ", ".join(str(-1 if isinstance(dim, Batch) else dim) for dim in lead)
        size = 1
        for axis in range(len(lead), x.ndim):
            size *= ctx.fixed_size(x, axis)
        code = c.method(x.code, "reshape", [c.Code(f"{text}, {size}")], {})
        x = ctx.result((*lead, size), "float", code, x)
    largest = picked(ctx, x, static(-1), static(False), "argmax")
    made = ctx.items(largest)[0]
    assert isinstance(made, Array)
    return made


@op(
    "torch",
    "F.conv1d F.conv2d",
    "x|input, weight, bias=None, stride=1, padding=0, dilation!=1, groups!=1",
)
def convolve(
    ctx: OpCall, x: Value, weight: Value, bias: Value, stride: Value, padding: Value
) -> Array:
    """Sums over windows and channels, weighed by kernels that the function writes itself."""
    x, kernel = _pooled(ctx, x), ctx.array(weight)
    rank = _rank(ctx)
    if kernel.ndim != rank + 2 or any(isinstance(dim, Batch) for dim in kernel.shape):
        raise ctx.refuse(
            "shape", f"{describe(kernel)} is no set of kernels.", "Give [out, in, width]."
        )
    sizes = [ctx.fixed_size(kernel, 2 + i) for i in range(rank)]
    if getattr(padding, "value", None) == "same" and all(size % 2 for size in sizes):
        widths = [size // 2 for size in sizes]
    elif getattr(padding, "value", None) == "valid":
        widths = [0] * rank
    else:
        widths = _sizes(ctx, padding, "padding")
    filled = _padded(ctx, x, widths, 0.0)
    windows = _windows(ctx, filled, sizes, _sizes(ctx, stride, "stride"))
    places, inside = "xy"[:rank], "kl"[:rank]
    batch = "b" if x.ndim == rank + 2 else ""
    equation = f"{batch}c{places}{inside},oc{inside}->{batch}o{places}"
    made = einsum(ctx, static(equation), [windows, kernel])
    assert isinstance(made, Array)
    if ctx.is_none(bias):
        return made
    shift = ctx.array(bias)
    code = c.method(ctx.atom(shift), "reshape", [-1, *[1] * rank], {})
    column = ctx.result((*shift.shape, *[1] * rank), shift.dtype, code, shift)
    return operators.binary(ctx, ast.Add, made, column)
