"""Losses of torch as measures of how far apart two arrays are: elementwise, or summed in a row."""

from __future__ import annotations

import ast

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf.ops import operators
from qllm_jax.tfcaf.ops.context import OpCall
from qllm_jax.tfcaf.ops.np_reductions import reduced_shape
from qllm_jax.tfcaf.ops.registry import op
from qllm_jax.tfcaf.ops.torch_elementwise import same
from qllm_jax.tfcaf.values import Array, Batch, Value

_REDUCED = "size_average!=None, reduce!=None, reduction='mean'"


def _reduced(ctx: OpCall, loss: Array, reduction: Value) -> Array:
    """The loss as `reduction` asks; over the batch only 'none' leaves the samples apart."""
    how = ctx.string(reduction, "reduction")
    if how == "none":
        return loss
    if any(isinstance(dim, Batch) for dim in loss.shape):
        raise ctx.mixes_batch("averages over the batch")
    if how not in ("mean", "sum"):
        raise ctx.refuse("argument", f"the reduction {how!r} is unknown.", "Use 'none'.")
    if not loss.shape:
        return loss
    return ctx.result((), "float", c.call(f"jnp.{how}", [loss]), loss)


@op("torch", "F.mse_loss F.l1_loss", f"x|input, y|target, {_REDUCED}, weight!=None")
@op("torch", "F.huber_loss", "x|input, y|target, reduction='mean', delta=1.0, weight!=None")
@op("torch", "F.smooth_l1_loss", f"x|input, y|target, {_REDUCED}, delta|beta=1.0")
def loss(ctx: OpCall, x: Value, y: Value, reduction: Value, delta: Value | None = None) -> Array:
    """Losses of a difference."""
    apart = operators.binary(ctx, ast.Sub, x, y)
    name = same(ctx.name)
    if name == "mse_loss":
        code = c.call("jnp.square", [apart])
    elif name == "l1_loss":
        code = ctx.helper("_abs", apart)
    else:
        assert delta is not None
        size = ctx.number(delta)
        code = ctx.helper("_huber", apart, delta.code)
        if name == "smooth_l1_loss":
            code = c.binary(ast.Div, code, c.literal(size))
    return _reduced(ctx, ctx.result(apart.shape, "float", code, apart), reduction)


@op("torch", "F.kl_div", f"x|input, y|target, {_REDUCED}, *, log_target=False")
def kl_div(ctx: OpCall, x: Value, y: Value, reduction: Value, log_target: Value) -> Array:
    """target (log target - input), of an input that is a log already."""
    x, y = ctx.array(x), ctx.array(y)
    shape = ctx.broadcast(x, y)
    if ctx.bool(log_target, "log_target"):
        apart = operators.binary(ctx, ast.Sub, y, x)
        code = c.binary(ast.Mult, c.call("jnp.exp", [y]), apart.code)
    else:
        own = c.call("jax.scipy.special.xlogy", [y, y])
        code = c.binary(ast.Sub, own, c.binary(ast.Mult, y.code, x.code))
    return _reduced(ctx, ctx.result(shape, "float", code, x, y), reduction)


@op("torch", "F.binary_cross_entropy", f"x|input, y|target, weight!=None, {_REDUCED}")
@op(
    "torch",
    "F.binary_cross_entropy_with_logits",
    f"x|input, y|target, weight!=None, {_REDUCED}, pos_weight!=None",
)
def binary_cross_entropy(ctx: OpCall, x: Value, y: Value, reduction: Value) -> Array:
    """-(y log x + (1 - y) log(1 - x)), of x itself or of its logit."""
    x, y = ctx.array(x), ctx.array(y)
    if x.dtype != "float" or y.dtype != "float":
        raise ctx.refuse("dtype", "of ints it raises in torch.", "Add `.float()`.")
    shape = ctx.broadcast(x, y)
    if same(ctx.name) == "binary_cross_entropy_with_logits":
        linear = operators.binary(ctx, ast.Mult, x, y)
        code = c.binary(ast.Sub, c.call("jax.nn.softplus", [x]), linear.code)
    else:
        code = ctx.helper("_cross_entropy_of_two", x, y)
    return _reduced(ctx, ctx.result(shape, "float", code, x, y), reduction)


_CLASSES = "x|input, y|target, weight!=None, size_average!=None, ignore_index!=-100, reduce!=None, "
_CLASSES += "reduction='mean'"


@op("torch", "F.cross_entropy", f"{_CLASSES}, label_smoothing!=0.0")
@op("torch", "F.nll_loss", _CLASSES)
def class_loss(ctx: OpCall, x: Value, y: Value, reduction: Value) -> Array:
    """Minus the log probability of the class that the target names, or weighs."""
    x, y = ctx.array(x), ctx.array(y)
    along = 1 if x.ndim > 1 else 0
    ctx.refuse_mixing(x, [along])
    shape = reduced_shape(x, (along,), False)
    logs = x
    if same(ctx.name) == "cross_entropy":
        logs = ctx.result(x.shape, "float", c.call("jax.nn.log_softmax", [x], {"axis": along}), x)
    if y.dtype == "int" and y.shape == shape:
        made = ctx.result(shape, "float", ctx.helper("_pick", logs, y, along), logs)
    elif y.dtype == "float" and y.shape == x.shape and same(ctx.name) == "cross_entropy":
        weighed = operators.binary(ctx, ast.Mult, y, logs)
        code = c.call("jnp.sum", [weighed], {"axis": along})
        made = ctx.result(shape, "float", code, weighed)
    else:
        raise ctx.refuse("shape", "the target does not fit.", "Give one class for each row.")
    return _reduced(ctx, operators.unary(ctx, ast.USub, made), reduction)
