"""Arrays that torch makes from numbers, shapes and lists."""

from __future__ import annotations

import dataclasses
from typing import Any

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf.ops import np_constructors
from qllm_jax.tfcaf.ops.common import array_of
from qllm_jax.tfcaf.ops.context import OpCall
from qllm_jax.tfcaf.ops.np_shapes import sizes_of
from qllm_jax.tfcaf.ops.registry import dropped, op
from qllm_jax.tfcaf.ops.torch_elementwise import same
from qllm_jax.tfcaf.values import (
    JNP_DTYPE,
    Array,
    Batch,
    Cell,
    Kind,
    Sequence,
    Static,
    Value,
    static,
)

_OPTIONS = "dtype=None, device=None, requires_grad=False, layout=None, pin_memory=False"
dropped("torch.device", "a device")
dropped("torch.cuda", "a device")
dropped("torch.get_default_dtype", "a default")


def _typed(kind: Kind, natural: Kind) -> dict[str, Any]:
    return {} if kind == natural else {"dtype": c.Code(JNP_DTYPE[kind])}


def _shape_code(sizes: list[Value]) -> Any:
    """A shape as one argument: the author's tuple where there is one."""
    if len(sizes) == 1:
        return sizes[0].code
    return c.display([size.code for size in sizes], True)


def _sizes(ctx: OpCall, sizes: list[Value]) -> Any:
    whole = sizes[0] if len(sizes) == 1 else ctx.tuple(sizes)
    return sizes_of(ctx, whole)


@op("torch", "torch.zeros torch.ones torch.empty", f"*sizes|size, out!=None, {_OPTIONS}")
def filled(ctx: OpCall, sizes: list[Value], dtype: Value, **ignored: Value) -> Array:
    """Zeros or ones; `empty` gives zeros, since it has no defined content."""
    kind = ctx.kind(dtype) or "float"
    name = same(ctx.name).replace("empty", "zeros")
    code = c.call(f"jnp.{name}", [_shape_code(sizes)], _typed(kind, "float"))
    return ctx.result(_sizes(ctx, sizes), kind, code)


@op("torch", ".new_zeros .new_ones .new_empty", f"x, *sizes|size, {_OPTIONS}")
def new_filled(ctx: OpCall, x: Value, sizes: list[Value], dtype: Value, **ignored: Value) -> Array:
    """Zeros or ones of an array's dtype."""
    kind = ctx.kind(dtype) or ctx.array(x).dtype
    name = same(ctx.name).removeprefix("new_").replace("empty", "zeros")
    code = c.call(f"jnp.{name}", [_shape_code(sizes)], _typed(kind, "float"))
    return ctx.result(_sizes(ctx, sizes), kind, code)


@op("torch", "torch.full", f"size, value|fill_value, *, out!=None, {_OPTIONS}")
@op("torch", ".new_full", f"x, size, value|fill_value, *, {_OPTIONS}")
def full(
    ctx: OpCall,
    size: Value,
    value: Value,
    dtype: Value,
    x: Value | None = None,
    **ignored: Value,
) -> Array:
    """One value everywhere."""
    fill = ctx.array(value)
    if fill.ndim:
        raise ctx.refuse("shape", "the value must be one number.", "Use `expand`.")
    kind = ctx.kind(dtype) or (ctx.array(x).dtype if x is not None else fill.dtype)
    code = c.call("jnp.full", [size.code, fill], _typed(kind, fill.dtype))
    return ctx.result(sizes_of(ctx, size), kind, code, fill)


@op(
    "torch",
    "torch.zeros_like torch.ones_like torch.empty_like",
    f"x|input, *, {_OPTIONS}, memory_format=None",
)
def filled_like(ctx: OpCall, x: Value, dtype: Value, **ignored: Value) -> Array:
    """Zeros or ones of an array's shape and dtype."""
    x = ctx.array(x)
    kind = ctx.kind(dtype) or x.dtype
    name = same(ctx.name).replace("empty", "zeros")
    return ctx.result(x.shape, kind, c.call(f"jnp.{name}", [x], _typed(kind, x.dtype)), grad=False)


@op("torch", "torch.full_like", f"x|input, value|fill_value, *, {_OPTIONS}, memory_format=None")
def full_like(ctx: OpCall, x: Value, value: Value, dtype: Value, **ignored: Value) -> Array:
    """One value in an array's shape and dtype."""
    x, fill = ctx.array(x), ctx.array(value)
    kind = ctx.kind(dtype) or x.dtype
    code = c.call("jnp.full_like", [x, fill], _typed(kind, x.dtype))
    return ctx.result(x.shape, kind, code, fill)


@op("torch", "torch.eye", f"n, m=None, *, out!=None, {_OPTIONS}")
def eye(ctx: OpCall, n: Value, m: Value, dtype: Value, **ignored: Value) -> Array:
    """Ones on the diagonal."""
    rows = ctx.int(n, "n")
    columns = rows if ctx.is_none(m) else ctx.int(m, "m")
    kind = ctx.kind(dtype) or "float"
    given = [n.code] if ctx.is_none(m) else [n.code, m.code]
    return ctx.result((rows, columns), kind, c.call("jnp.eye", given, _typed(kind, "float")))


@op("torch", "torch.arange", f"start|end, stop|end=None, step=None, *, out!=None, {_OPTIONS}")
def arange(
    ctx: OpCall, start: Value, stop: Value, step: Value, dtype: Value, **ignored: Value
) -> Value:
    """Evenly spaced numbers, by step; `arange(B)` counts the samples."""
    made = np_constructors.arange(ctx, start, stop, step, static(None))
    assert isinstance(made, Array)
    kind = ctx.kind(dtype)
    if kind and kind != made.dtype:
        const, rows = made.const, made.is_rows
        bounds = [v.code for v in (start, stop, step) if not ctx.is_none(v)]
        code = c.call("jnp.arange", bounds, {"dtype": c.Code(JNP_DTYPE[kind])})
        made = ctx.result(made.shape, kind, code)
        made.is_rows = rows and kind == "int"
        made.const = const if kind == "int" else None
    return made


@op(
    "torch",
    "torch.linspace",
    f"start, stop|end, num|steps, *, out!=None, {_OPTIONS}",
)
@op(
    "torch",
    "torch.logspace",
    f"start, stop|end, num|steps, base=10.0, *, out!=None, {_OPTIONS}",
)
def linspace(
    ctx: OpCall,
    start: Value,
    stop: Value,
    num: Value,
    dtype: Value,
    base: Value | None = None,
    **ignored: Value,
) -> Value:
    """Evenly spaced numbers, by count; powers of the base with evenly spaced exponents."""
    inner = dataclasses.replace(ctx, name=f"jax.numpy.{same(ctx.name)}")
    return np_constructors.linspace(inner, start, stop, num, static(True), base)


@op(
    "torch",
    "torch.tensor torch.as_tensor torch.asarray torch.scalar_tensor",
    "data, dtype=None, device=None, *, requires_grad=False, pin_memory=False, copy=None",
)
@op("torch", "torch.Tensor torch.FloatTensor", "data", force="float")
@op("torch", "torch.LongTensor torch.IntTensor", "data", force="int")
@op("torch", "torch.BoolTensor", "data", force="bool")
@op("torch", ".new_tensor", f"x, data, *, {_OPTIONS}")
def tensor(
    ctx: OpCall,
    data: Value,
    dtype: Value | None = None,
    force: Kind | None = None,
    **ignored: Any,
) -> Array:
    """Numbers and lists of numbers as an array; of arrays of the data a detached copy."""
    kind = force or (ctx.kind(dtype) if dtype is not None else None)
    if isinstance(data, Sequence):
        made = array_of(ctx, data)
        if kind and kind != made.dtype:
            const = made.const if kind == "int" and made.dtype == "int" else None
            code = c.call("jnp.array", [data.code], {"dtype": c.Code(JNP_DTYPE[kind])})
            made = ctx.result(made.shape, kind, code, made)
            made.const = const
        return _detached(ctx, made)
    if isinstance(data, Static) and isinstance(data.value, Batch):
        raise ctx.mixes_batch("makes an array of the batch size")
    given = ctx.array(data)
    if not isinstance(data, Array):
        natural = given.dtype
        code = c.call("jnp.array", [data], _typed(kind or natural, natural))
        made = ctx.result((), kind or natural, code)
        made.const = given.const if made.dtype == natural else None
        return made
    made = ctx.cast(given, kind) if kind else given
    if same(ctx.name) in ("as_tensor", "asarray"):
        return made
    return _detached(ctx, made)


def _detached(ctx: OpCall, made: Array) -> Array:
    """`torch.tensor` copies numbers, without their gradient."""
    if not made.grad:
        return dataclasses.replace(made, cell=Cell(), path=())
    return ctx.result(made.shape, made.dtype, c.call("jax.lax.stop_gradient", [made]), grad=False)


@op("torch", ".fill", "x, value", in_place=True)
def fill(ctx: OpCall, x: Value, value: Value) -> Array:
    """One value everywhere, in place."""
    return full_like(ctx, x, value, static(None))


@op("torch", ".zero", "x", in_place=True)
def zero(ctx: OpCall, x: Value) -> Array:
    """Zeros everywhere, in place."""
    return filled_like(dataclasses.replace(ctx, name="torch.zeros_like"), x, static(None))


@op("torch", ".copy", "x, source|src, non_blocking=False", in_place=True)
def copy(ctx: OpCall, x: Value, source: Value, non_blocking: Value) -> Array:
    """Another array's numbers, in place."""
    x, source = ctx.array(x), ctx.array(source)
    source = ctx.cast(source, x.dtype)
    if ctx.broadcast(x, source) != x.shape:
        raise ctx.refuse("shape", "the source is larger.", "Give both the same shape.")
    if source.shape == x.shape:
        return ctx.result(x.shape, x.dtype, source.code, source)
    code = c.call("jnp.broadcast_to", [source, c.attribute(x.code, "shape")])
    return ctx.result(x.shape, x.dtype, code, source)
