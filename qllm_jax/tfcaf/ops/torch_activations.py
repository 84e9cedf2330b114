"""Activations of torch, and the softmax family."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf.ops.context import OpCall
from qllm_jax.tfcaf.ops.registry import op
from qllm_jax.tfcaf.ops.torch_elementwise import same
from qllm_jax.tfcaf.values import Array, Value

_ArrayHandler = Callable[..., Array]


def _of_floats(ctx: OpCall, x: Value) -> Array:
    x = ctx.array(x)
    if x.dtype != "float":
        raise ctx.refuse("dtype", f"of {x.dtype}s it raises in torch.", "Add `.float()`.")
    return x


def _activation(names: str, signature: str) -> Callable[[_ArrayHandler], _ArrayHandler]:
    """Register an activation with torch's `inplace`: where it is true, its argument changes."""

    def register(handler: _ArrayHandler) -> _ArrayHandler:
        def apply(ctx: OpCall, x: Value, inplace: Value, **given: Value) -> Array:
            from qllm_jax.tfcaf.interpreter.calls import in_place_result

            x = ctx.array(x)
            made = handler(ctx, x, **given)
            return in_place_result(ctx.run, x, made) if ctx.bool(inplace) else made

        op("torch", names, f"{signature}, inplace=False")(apply)
        return handler

    return register


@_activation("torch.relu F.relu .relu", "x|input")
def relu(ctx: OpCall, x: Value) -> Array:
    """max(x, 0), with gradient 0 at 0."""
    x = ctx.array(x)
    return ctx.result(x.shape, x.dtype, c.call("jax.nn.relu", [x]), x)


_PLAIN = {
    "silu": "jax.nn.silu",
    "softsign": "jax.nn.soft_sign",
    "selu": "jax.nn.selu",
    "hardswish": "jax.nn.hard_swish",
    "mish": "jax.nn.mish",
    "relu6": "_relu6",
    "logsigmoid": "jax.nn.log_sigmoid",
    "hardsigmoid": "_hardsigmoid",
}


@_activation("F.silu F.softsign F.hardswish F.mish torch.selu F.selu F.logsigmoid", "x|input")
@_activation("F.relu6 F.hardsigmoid", "x|input")
def plain(ctx: OpCall, x: Value) -> Array:
    """An activation without parameters."""
    x = _of_floats(ctx, x)
    name = _PLAIN[same(ctx.name)]
    code = ctx.helper(name, x) if name[0] == "_" else c.call(name, [x])
    return ctx.result(x.shape, "float", code, x)


@op("torch", "F.tanhshrink", "x|input")
def tanhshrink(ctx: OpCall, x: Value) -> Array:
    """x - tanh(x)."""
    x = _of_floats(ctx, x)
    return ctx.result(x.shape, "float", c.binary(ast.Sub, x.code, c.call("jnp.tanh", [x])), x)


@op("torch", "F.softshrink F.hardshrink", "x|input, bound|lambd=0.5")
def shrink(ctx: OpCall, x: Value, bound: Value) -> Array:
    """0 between -bound and bound; outside x, for the soft one nearer to 0 by the bound."""
    x = _of_floats(ctx, x)
    limit = ctx.number(bound, "lambd")
    nearer = c.call("jnp.clip", [x, -limit, limit])
    if x.grad:
        nearer = c.call("jax.lax.stop_gradient", [nearer])
    inside = c.compare(c.call("jnp.abs", [x]), [ast.LtE], [c.literal(limit)])
    kept = x.code if same(ctx.name) == "hardshrink" else c.binary(ast.Sub, x.code, nearer)
    return ctx.result(x.shape, "float", c.call("jnp.where", [inside, 0.0, kept]), x)


@op("torch", "F.prelu torch.prelu .prelu", "x|input, weight")
def prelu(ctx: OpCall, x: Value, weight: Value) -> Array:
    """x above 0, a weight times x elsewhere; several weights are for the entries of axis 1."""
    x, slope = _of_floats(ctx, x), ctx.array(weight)
    code = slope.code
    if slope.ndim == 1 and slope.shape != (1,):
        if x.ndim < 2 or x.shape[1] != slope.shape[0]:
            raise ctx.refuse("shape", "there are not as many weights.", "Give one weight.")
        code = c.method(ctx.atom(slope), "reshape", [-1, *[1] * (x.ndim - 2)], {})
    return ctx.result(x.shape, "float", ctx.helper("_leaky_relu", x, code), x, slope)


@_activation("F.leaky_relu", "x|input, slope|negative_slope=0.01")
def leaky_relu(ctx: OpCall, x: Value, slope: Value) -> Array:
    """x above 0, slope x elsewhere."""
    x = _of_floats(ctx, x)
    options = {} if ctx.number(slope) == 0.01 else {"negative_slope": slope.code}
    code = (
        ctx.helper("_leaky_relu", x, slope.code)
        if x.grad
        else c.call("jax.nn.leaky_relu", [x], options)
    )
    return ctx.result(x.shape, "float", code, x)


@_activation("F.elu F.celu torch.celu", "x|input, alpha=1.0")
def elu(ctx: OpCall, x: Value, alpha: Value) -> Array:
    """x above 0, alpha (exp(x) - 1) below."""
    x = _of_floats(ctx, x)
    options = {} if ctx.number(alpha) == 1 else {"alpha": alpha.code}
    return ctx.result(x.shape, "float", c.call(f"jax.nn.{same(ctx.name)}", [x], options), x)


@op("torch", "F.gelu", "x|input, *, approximate='none'")
def gelu(ctx: OpCall, x: Value, approximate: Value) -> Array:
    """x Φ(x), exact unless the tanh form is asked for."""
    x = _of_floats(ctx, x)
    code = c.call("jax.nn.gelu", [x], {"approximate": ctx.string(approximate) == "tanh"})
    return ctx.result(x.shape, "float", code, x)


@op("torch", "F.softplus", "x|input, beta=1.0, threshold=20.0")
def softplus(ctx: OpCall, x: Value, beta: Value, threshold: Value) -> Array:
    """log(1 + exp(beta x)) / beta, linear above the threshold."""
    x = _of_floats(ctx, x)
    factor, limit = ctx.number(beta), ctx.number(threshold)
    if factor == 1 and limit == 20:
        return ctx.result(x.shape, "float", c.call("jax.nn.softplus", [x]), x)
    scaled = c.binary(ast.Mult, beta.code, x.code)
    curve = c.binary(ast.Div, c.call("jax.nn.softplus", [scaled]), beta.code)
    if limit >= 15:
        return ctx.result(x.shape, "float", curve, x)
    linear = c.compare(scaled, [ast.Gt], [threshold.code])
    return ctx.result(x.shape, "float", c.call("jnp.where", [linear, x, curve]), x)


@_activation("F.hardtanh", "x|input, low|min_val=-1.0, high|max_val=1.0")
def hardtanh(ctx: OpCall, x: Value, low: Value, high: Value) -> Array:
    """x between two bounds; outside and at the bounds the gradient is 0."""
    x = _of_floats(ctx, x)
    return ctx.result(x.shape, "float", ctx.helper("_hardtanh", x, low.code, high.code), x)


@_activation("F.threshold", "x|input, threshold, value")
def threshold(ctx: OpCall, x: Value, threshold: Value, value: Value) -> Array:
    """x above a threshold, a value elsewhere."""
    x = _of_floats(ctx, x)
    above = c.compare(x.code, [ast.Gt], [threshold.code])
    return ctx.result(x.shape, "float", c.call("jnp.where", [above, x, value.code]), x)


_SOFTMAX = "x|input, axis|dim=None, dtype=None, stacklevel|_stacklevel=3"


@op("torch", "torch.softmax F.softmax .softmax torch.special.softmax", _SOFTMAX)
@op(
    "torch",
    "torch.log_softmax F.log_softmax .log_softmax F.softmin torch.special.log_softmax",
    _SOFTMAX,
)
def softmax(ctx: OpCall, x: Value, axis: Value, dtype: Value, stacklevel: Value) -> Array:
    """Softmax, its log, or softmax of -x, along one axis."""
    x = ctx.array(x)
    kind = ctx.kind(dtype)
    x = ctx.cast(x, kind) if kind else _of_floats(ctx, x)
    if ctx.is_none(axis):
        raise ctx.refuse("axis", "the axis is not given.", "Pass `dim=-1`.")
    number = ctx.axis(x, axis)
    if x.ndim:
        ctx.refuse_mixing(x, [number])
    name = same(ctx.name)
    options: dict[str, Any] = {} if ctx.int(axis) == -1 else {"axis": axis.code}
    given = c.unary(ast.USub, x.code) if name == "softmin" else x.code
    function = "log_softmax" if name == "log_softmax" else "softmax"
    if not x.ndim:
        given = c.call("jnp.atleast_1d", [given])
        code = c.subscript(c.call(f"jax.nn.{function}", [given]), "0")
        return ctx.result((), "float", code, x)
    return ctx.result(x.shape, "float", c.call(f"jax.nn.{function}", [given], options), x)


@op("torch", "F.glu", "x|input, axis|dim=-1")
def glu(ctx: OpCall, x: Value, axis: Value) -> Array:
    """The first half times the sigmoid of the second."""
    x = _of_floats(ctx, x)
    along = ctx.axis(x, axis)
    size = ctx.fixed_size(x, along)
    if size % 2:
        raise ctx.refuse("shape", "the axis is odd.", "Halve an even axis.")
    shape = tuple(size // 2 if a == along else d for a, d in enumerate(x.shape))
    return ctx.result(shape, "float", c.call("jax.nn.glu", [x], {"axis": axis.code}), x)


@op("torch", "F.dropout", "x|input, p=0.5, training=True, inplace=False")
def dropout(ctx: OpCall, x: Value, p: Value, training: Value, inplace: Value) -> Array:
    """Nothing outside of training; random in it, and refused."""
    if ctx.bool(training) and ctx.number(p) != 0:
        raise ctx.refuse("random", "dropout is random.", "Leave it out.")
    return ctx.array(x)
