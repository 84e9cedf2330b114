"""Casts and copies of torch: dtypes, devices, `detach`, `clone`, `item`."""

from __future__ import annotations

import dataclasses

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf.code import Code
from qllm_jax.tfcaf.ops.context import OpCall
from qllm_jax.tfcaf.ops.registry import op
from qllm_jax.tfcaf.ops.torch_elementwise import same
from qllm_jax.tfcaf.values import Array, Cell, Dropped, DType, Kind, Sequence, Value, View

_CASTS: dict[str, Kind] = {
    **dict.fromkeys(("float", "double", "half", "bfloat16"), "float"),
    **dict.fromkeys(("long", "int", "short"), "int"),
    "bool": "bool",
}
_UNUSUAL = frozenset(("double", "half", "bfloat16", "int", "short"))  # casts to them copy


@op("torch", " ".join(f".{name}" for name in _CASTS), "x")
def cast_method(ctx: OpCall, x: Value) -> Array:
    """`.float()` and its like."""
    x, name = ctx.array(x), same(ctx.name)
    made = ctx.cast(x, _CASTS[name])
    return in_memory_of_its_own(made) if name in _UNUSUAL else made


def in_memory_of_its_own(x: Array) -> Array:
    """A copy, which changes in place do not share."""
    return dataclasses.replace(x, cell=Cell(), path=())


@op("torch", ".to .type", "x, *targets, dtype=None, device=None, non_blocking=False, copy=False")
def to(
    ctx: OpCall,
    x: Value,
    targets: list[Value],
    dtype: Value,
    device: Value,
    non_blocking: Value,
    copy: Value,
) -> Array:
    """Another dtype; devices mean nothing here."""
    x = ctx.array(x)
    if ctx.bool(copy, "copy"):
        x = in_memory_of_its_own(x)
    for target in [*targets, dtype]:
        if isinstance(target, Array):
            return ctx.cast(x, target.dtype)
        if isinstance(target, Dropped) or isinstance(getattr(target, "value", None), str | bool):
            continue
        kind = ctx.kind(target)
        if kind is not None:
            made = ctx.cast(x, kind)
            copies = isinstance(target, DType) and not target.usual
            return in_memory_of_its_own(made) if copies else made
    return x


@op("torch", ".type_as", "x, other")
def type_as(ctx: OpCall, x: Value, other: Value) -> Array:
    """The dtype of another array."""
    return ctx.cast(ctx.array(x), ctx.array(other).dtype)


@op("torch", ".contiguous", "x, *, memory_format=None")
def contiguous(ctx: OpCall, x: Value, memory_format: Value) -> Array:
    """The array itself, or a copy where its memory has gaps or another order."""
    from qllm_jax.tfcaf.interpreter.memory import copies_when

    x = ctx.array(x)
    return in_memory_of_its_own(x) if copies_when(ctx.run, x, None) else x


@op("torch", ".cpu .cuda", "x, device=None, non_blocking=False, memory_format=None")
@op("torch", ".resolve_conj .positive_definite", "x")
def same_array(ctx: OpCall, x: Value, **ignored: Value) -> Array:
    """The array itself."""
    return ctx.array(x)


@op("torch", "torch.clone .clone", "x|input, *, memory_format=None")
def clone(ctx: OpCall, x: Value, memory_format: Value) -> Array:
    """The same numbers in memory of their own."""
    x = ctx.array(x)
    made = ctx.result(x.shape, x.dtype, x.code, x)
    return dataclasses.replace(made, is_rows=x.is_rows, const=x.const)


@op("torch", "torch.detach .detach @data", "x|input")
def detach(ctx: OpCall, x: Value) -> Array:
    """The same numbers without a gradient, in the same memory."""
    x = ctx.array(x)
    if not x.grad:
        return x

    def get(base: Code) -> Code:
        return c.call("jax.lax.stop_gradient", [base])

    def put(base: Code, new: Code) -> Code:
        return ctx.helper("_with_value", base, new)

    made = ctx.view(x, x.shape, get(x.code), View(get, put))
    made.grad = False
    return made


@op("torch", ".item", "x")
@op("numpy", ".item", "x")
@op("jnp", ".item", "x")
def item(ctx: OpCall, x: Value) -> Value:
    """One number as a Python number; torch's carries no gradient."""
    from qllm_jax.tfcaf.interpreter.builtin_numbers import as_python_number

    return as_python_number(ctx.run, ctx.array(x), None)


@op("torch", ".tolist", "x")
@op("numpy", ".tolist", "x")
@op("jnp", ".tolist", "x")
def to_list(ctx: OpCall, x: Value) -> Value:
    """The entries as Python numbers, in lists of lists."""
    x = ctx.array(x)
    if not x.shape:
        return item(ctx, x)
    if not x.code.is_name and x.const is None:
        place = ctx.run.fresh("entries")
        ctx.run.emit(f"{place} = {x.code.text}")
        x = dataclasses.replace(x, code=Code(place))
    items: list[Value] = []
    for i in range(ctx.fixed_size(x, 0)):
        part = ctx.result(x.shape[1:], x.dtype, c.subscript(x.code, str(i)), x)
        part.const = None if x.const is None else x.const[i]
        items.append(to_list(ctx, part))
    return Sequence(items, "list", c.display([i.code for i in items], False))
