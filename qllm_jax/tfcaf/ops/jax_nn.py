"""`jax.nn` and `jax.scipy.special`."""

from __future__ import annotations

from typing import Any

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf import limits
from qllm_jax.tfcaf.code import words
from qllm_jax.tfcaf.ops.context import OpCall
from qllm_jax.tfcaf.ops.np_reductions import reduced_shape
from qllm_jax.tfcaf.ops.numpy_like import emitted_name, last_name
from qllm_jax.tfcaf.ops.registry import op
from qllm_jax.tfcaf.values import Static, Value

_NN = "jax.nn."
_ACTIVATIONS = words(
    "relu sigmoid softplus silu swish relu6 soft_sign tanh hard_tanh hard_sigmoid hard_silu "
    "hard_swish log_sigmoid mish selu sparse_plus sparse_sigmoid identity"
)
_SPECIAL = words("expit erf erfc gammaln digamma entr ndtr log_ndtr logit erfinv")


@op("jnp", " ".join(_NN + name for name in _ACTIVATIONS), "x")
@op("jnp", " ".join(f"jax.scipy.special.{name}" for name in _SPECIAL), "x")
@op("numpy", " ".join(f"scipy.special.{name}" for name in _SPECIAL), "x")
def activation(ctx: OpCall, x: Value) -> Value:
    """An activation of each element."""
    x = ctx.cast(ctx.array(x), "float")
    return ctx.result(x.shape, "float", c.call(emitted_name(ctx), [x]), x)


@op("jnp", "jax.nn.gelu", "x, option|approximate=True")
@op("jnp", "jax.nn.elu jax.nn.celu", "x, option|alpha=1.0")
@op("jnp", "jax.nn.leaky_relu", "x, option|negative_slope=0.01")
@op("jnp", "jax.nn.squareplus", "x, option|b=4")
def activation_with_option(ctx: OpCall, x: Value, option: Value) -> Value:
    """An activation with one static option."""
    x = ctx.cast(ctx.array(x), "float")
    name = last_name(ctx)
    keyword = {"gelu": "approximate", "leaky_relu": "negative_slope", "squareplus": "b"}.get(
        name, "alpha"
    )
    default: Any = {"gelu": True, "leaky_relu": 0.01, "squareplus": 4}.get(name, 1.0)
    value = ctx.bool(option) if name == "gelu" else ctx.number(option, keyword)
    options = {} if value == default else {keyword: option.code}
    return ctx.result(x.shape, "float", c.call(emitted_name(ctx), [x], options), x)


@op("jnp", "jax.nn.softmax jax.nn.log_softmax", "x, axis=-1, where=None, initial!=None")
@op("jnp", "jax.scipy.special.softmax jax.scipy.special.log_softmax", "x, axis=None, *, where=None")
@op("numpy", "scipy.special.softmax scipy.special.log_softmax", "x, axis=None, *, where=None")
def softmax(ctx: OpCall, x: Value, axis: Value, where: Value) -> Value:
    """Softmax over axes; never over the batch."""
    x = ctx.cast(ctx.array(x), "float")
    ctx.refuse_mixing(x, ctx.axes(x, axis))
    nn = "scipy" not in ctx.name
    default = nn and not ctx.is_none(axis) and isinstance(axis, Static) and axis.value == -1
    options: dict[str, Any] = {} if default else {"axis": axis.code}
    sources = [x]
    if not ctx.is_none(where):
        mask = ctx.array(where)
        ctx.broadcast(x, mask)
        options["where"] = mask.code
        sources.append(mask)
    code = c.call(f"jax.nn.{last_name(ctx)}", [x], options)
    return ctx.result(x.shape, "float", code, *sources)


@op("numpy", "scipy.special.logsumexp", "x|a, axis=None, b=None, keepdims=False, where=None")
@op(
    "jnp",
    "jax.nn.logsumexp jax.scipy.special.logsumexp",
    "x|a, axis=None, b=None, keepdims=False, return_sign!=False, where=None",
)
def logsumexp(ctx: OpCall, x: Value, axis: Value, b: Value, keepdims: Value, where: Value) -> Value:
    """log Σ b·exp(x)."""
    x = ctx.cast(ctx.array(x), "float")
    axes, keep = ctx.axes(x, axis), ctx.bool(keepdims)
    ctx.refuse_mixing(x, axes)
    options: dict[str, Any] = {} if ctx.is_none(axis) else {"axis": axis.code}
    sources = [x]
    for name, value in (("b", b), ("where", where)):
        if not ctx.is_none(value):
            given = ctx.array(value)
            ctx.broadcast(x, given)
            options[name] = given.code
            sources.append(given)
    if keep:
        options["keepdims"] = True
    code = c.call("jax.nn.logsumexp", [x], options)
    return ctx.result(reduced_shape(x, axes, keep), "float", code, *sources)


@op(
    "jnp",
    "jax.nn.standardize",
    "x, axis=-1, mean!=None, variance!=None, epsilon=1e-05, where!=None",
)
def standardize(ctx: OpCall, x: Value, axis: Value, epsilon: Value) -> Value:
    """Zero mean and unit variance over axes."""
    x = ctx.cast(ctx.array(x), "float")
    ctx.refuse_mixing(x, ctx.axes(x, axis))
    options: dict[str, Any] = {"axis": axis.code, "epsilon": epsilon.code}
    return ctx.result(x.shape, "float", c.call("jax.nn.standardize", [x], options), x)


@op("jnp", "jax.nn.one_hot", "x, num_classes, *, dtype=None, axis=-1")
def one_hot(ctx: OpCall, x: Value, num_classes: Value, dtype: Value, axis: Value) -> Value:
    """A new axis with one 1; out of range gives zeros."""
    x, size = ctx.array(x), ctx.int(num_classes, "num_classes")
    if not 0 <= size <= limits.MAX_ELEMENTS:
        raise limits.too_big(f"A one-hot of {size} classes", ctx.line)
    place = ctx.axis(x, axis, extra=1)
    shape = (*x.shape[:place], size, *x.shape[place:])
    kind = ctx.kind(dtype) or "float"
    options: dict[str, Any] = {} if ctx.int(axis) == -1 else {"axis": axis.code}
    if not ctx.is_none(dtype) and kind != "float":
        options["dtype"] = dtype.code
    return ctx.result(shape, kind, c.call("jax.nn.one_hot", [x, num_classes.code], options), x)


@op("jnp", "jax.nn.glu", "x, axis=-1")
def glu(ctx: OpCall, x: Value, axis: Value) -> Value:
    """Half of the axis gated by the other half."""
    x = ctx.array(x)
    place = ctx.axis(x, axis)
    size = ctx.fixed_size(x, place)
    if size % 2:
        raise ctx.refuse("shape", f"{size} cannot be halved.", "Use an even size.")
    shape = (*x.shape[:place], size // 2, *x.shape[place + 1 :])
    return ctx.result(shape, "float", c.call("jax.nn.glu", [x], {"axis": place}), x)


_OF_TWO = words("xlogy xlog1py rel_entr kl_div")


@op("jnp", " ".join(f"jax.scipy.special.{name}" for name in _OF_TWO), "x, y")
@op("numpy", " ".join(f"scipy.special.{name}" for name in _OF_TWO), "x, y")
def special_binary(ctx: OpCall, x: Value, y: Value) -> Value:
    """x·log(y) and its kin."""
    x, y = ctx.array(x), ctx.array(y)
    return ctx.result(ctx.broadcast(x, y), "float", c.call(emitted_name(ctx), [x, y]), x, y)
