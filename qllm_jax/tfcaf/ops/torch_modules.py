"""torch.nn's modules without parameters, as functions; and what else has no better place.

`nn.Softmax(dim=-1)(x)` is `F.softmax(x, dim=-1)`. Modules with parameters are refused by name.
"""

from __future__ import annotations

from typing import Any

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf import limits
from qllm_jax.tfcaf.ops.context import OpCall
from qllm_jax.tfcaf.ops.registry import lookup, op
from qllm_jax.tfcaf.values import Sequence, Static, Transformed, Value, View, format_shape

_FUNCTIONS = {
    "Softmax": "F.softmax",
    "LogSoftmax": "F.log_softmax",
    "Softmin": "F.softmin",
    "ReLU": "F.relu",
    "ReLU6": "F.relu6",
    "Sigmoid": "torch.sigmoid",
    "Tanh": "torch.tanh",
    "Softplus": "F.softplus",
    "GELU": "F.gelu",
    "ELU": "F.elu",
    "LeakyReLU": "F.leaky_relu",
    "SiLU": "F.silu",
    "Hardtanh": "F.hardtanh",
    "LogSigmoid": "F.logsigmoid",
    "Softsign": "F.softsign",
    "CosineSimilarity": "F.cosine_similarity",
    "PairwiseDistance": "F.pairwise_distance",
}


@op("torch", "torch.nn.Softmax torch.nn.LogSoftmax torch.nn.Softmin", "dim=None")
@op("torch", "torch.nn.ReLU torch.nn.ReLU6 torch.nn.SiLU", "inplace=False")
@op("torch", "torch.nn.Sigmoid torch.nn.Tanh torch.nn.LogSigmoid torch.nn.Softsign", "")
@op("torch", "torch.nn.Softplus", "beta=1.0, threshold=20.0")
@op("torch", "torch.nn.GELU", "approximate='none'")
@op("torch", "torch.nn.ELU", "alpha=1.0, inplace=False")
@op("torch", "torch.nn.LeakyReLU", "negative_slope=0.01, inplace=False")
@op("torch", "torch.nn.Hardtanh", "min_val=-1.0, max_val=1.0, inplace=False")
@op("torch", "torch.nn.CosineSimilarity", "dim=1, eps=1e-08")
@op("torch", "torch.nn.PairwiseDistance", "p=2.0, eps=1e-06, keepdim=False")
def module(ctx: OpCall, **options: Value) -> Value:
    """A module without parameters; calling it calls the function."""
    path = _FUNCTIONS[ctx.name.rsplit(".", 1)[-1]].replace("F.", "torch.nn.functional.")
    operation = lookup("torch", path)
    assert operation is not None, path

    def apply(run: Any, args: list[Value], kwargs: dict[str, Value]) -> Value:
        from qllm_jax.tfcaf.interpreter.calls import call_operation

        return call_operation(run, operation, args, {**kwargs, **options})

    return Transformed(apply, c.Code(ctx.name))


@op("torch", "torch.nn.Identity", "*unused")
def identity(ctx: OpCall, unused: list[Value]) -> Value:
    """A module that gives back its input."""
    return Transformed(lambda run, args, kwargs: args[0], c.Code(ctx.name))


@op("torch", "F.layer_norm", "x|input, shape|normalized_shape, weight!=None, bias!=None, eps=1e-05")
def layer_norm(ctx: OpCall, x: Value, shape: Value, eps: Value) -> Value:
    """Zero mean and unit variance over the last axes; without weights."""
    x = ctx.array(x)
    sizes = tuple(ctx.int(item, "normalized_shape") for item in ctx.items(shape))
    if not sizes or x.shape[-len(sizes) :] != sizes:
        raise ctx.refuse(
            "shape", f"{format_shape(x.shape)} does not end in {sizes}.", "Give its last sizes."
        )
    axes = tuple(range(-len(sizes), 0))
    options = {"axis": axes[0] if len(axes) == 1 else axes, "epsilon": eps.code}
    return ctx.result(x.shape, "float", c.call("jax.nn.standardize", [x], options), x)


@op("torch", "torch.nn.LayerNorm", "normalized_shape, eps=1e-05, elementwise_affine=True")
def layer_norm_module(
    ctx: OpCall, normalized_shape: Value, eps: Value, elementwise_affine: Value
) -> Value:
    """`nn.LayerNorm(width, elementwise_affine=False)`; without that it has weights."""
    if ctx.bool(elementwise_affine, "elementwise_affine"):
        raise ctx.refuse(
            "learnable",
            "it has learned parameters; a TFCAF has none.",
            "Write `elementwise_affine=False`.",
        )

    shape = normalized_shape
    if isinstance(shape, Static):
        shape = Sequence([shape], "tuple", c.display([shape.code], True))
    operation = lookup("torch", "torch.nn.functional.layer_norm")
    assert operation is not None

    def apply(run: Any, args: list[Value], kwargs: dict[str, Value]) -> Value:
        from qllm_jax.tfcaf.interpreter.calls import call_operation

        return call_operation(run, operation, args, {**kwargs, "shape": shape, "eps": eps})

    return Transformed(apply, c.Code(ctx.name))


@op("torch", ".unfold", "x, axis|dimension, size, step")
def unfold(ctx: OpCall, x: Value, axis: Value, size: Value, step: Value) -> Value:
    """Windows along an axis; their entries become the last axis."""
    x = ctx.array(x)
    place, width, stride = ctx.axis(x, axis), ctx.int(size, "size"), ctx.int(step, "step")
    whole = ctx.fixed_size(x, place)
    if not 0 < width <= whole or stride < 1:
        raise ctx.refuse("shape", f"windows of {width} do not fit {whole}.", "Check size and step.")
    starts = range(0, whole - width + 1, stride)
    if len(starts) > limits.MAX_ITERATIONS // 16:
        raise limits.too_big("So many windows", ctx.line)
    lead = ":, " * place

    def get(base: c.Code) -> c.Code:
        windows = [c.subscript(base, f"{lead}{start}:{start + width}") for start in starts]
        code = c.call("jnp.stack", [c.display(windows, False)], {"axis": place})
        return c.call("jnp.moveaxis", [code, place + 1, -1]) if place + 1 < x.ndim else code

    shape = (*x.shape[:place], len(starts), *x.shape[place + 1 :], width)
    return ctx.view(x, shape, get(x.code), View(get, None))


@op("torch", ".is_contiguous .is_leaf", "x")
def always(ctx: OpCall, x: Value) -> Value:
    """True: memory layout means nothing here."""
    return Static(True, c.Code("True"))
