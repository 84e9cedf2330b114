"""Loops of jax.lax with static trip counts: fori_loop, scan, associative_scan.

They stay loops in the emitted source.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf import limits
from qllm_jax.tfcaf.code import Code
from qllm_jax.tfcaf.ops.context import OpCall
from qllm_jax.tfcaf.ops.jax_control import (
    as_arrays,
    element_of,
    leaves,
    map_leaves,
    mapped_size,
    symbolic,
    with_axis,
)
from qllm_jax.tfcaf.ops.registry import op
from qllm_jax.tfcaf.values import (
    Array,
    Dim,
    Sequence,
    Value,
    describe,
    promote,
    same_shape,
    static,
)


@op("jnp", "lax.fori_loop", "lower, upper, body|body_fun, init|init_val, *, unroll=None")
def fori_loop(
    ctx: OpCall, lower: Value, upper: Value, body: Value, init: Value, unroll: Value
) -> Value:
    """A loop over a static range of integers."""
    trips = ctx.int(upper, "upper") - ctx.int(lower, "lower")
    _check_trips(ctx, trips)
    counter = ctx.result((), "int", Code("i"))
    carry, code = _fixed_point(
        ctx, as_arrays(ctx, init), lambda carry: symbolic(ctx, body, [counter, carry])
    )
    call = c.call("jax.lax.fori_loop", [lower.code, upper.code, code, _shown(ctx, init, carry)])
    return map_leaves(carry, lambda x, text: ctx.result(x.shape, x.dtype, text, x), call)


def _check_trips(ctx: OpCall, trips: int) -> None:
    if trips > limits.MAX_ITERATIONS:
        raise limits.too_big(f"A loop of {trips} rounds", ctx.line)


def _fixed_point(
    ctx: OpCall, init: Value, step: Callable[[Value], tuple[Value, Code]]
) -> tuple[Value, Code]:
    """What a loop carries, once a round gives back what it was given; and the body's source."""
    carry = init
    for _ in range(3):
        result, code = step(
            map_leaves(carry, lambda x, text: ctx.result(x.shape, x.dtype, text, x))
        )
        before, after = leaves(carry), leaves(as_arrays(ctx, result))
        if len(before) != len(after) or not all(
            same_shape(a.shape, b.shape) for a, b in zip(before, after, strict=True)
        ):
            raise ctx.refuse(
                "shape",
                f"the loop is given {_shapes(before)} and gives back {_shapes(after)}.",
                "Give back what is carried, in the same shapes.",
            )
        settled = [
            dataclasses.replace(a, dtype=promote(a.dtype, b.dtype), grad=a.grad or b.grad)
            for a, b in zip(before, after, strict=True)
        ]
        if all(
            (a.dtype, a.grad) == (b.dtype, b.grad) for a, b in zip(before, settled, strict=True)
        ):
            return carry, code
        carry = _replaced_leaves(carry, settled)
    raise ctx.refuse("dtype", "the loop's dtypes do not settle.", "Start from floats.")


def _replaced_leaves(tree: Value, arrays: list[Array]) -> Value:
    """The tree with other arrays in the places of its own."""
    pending = iter(arrays)
    return map_leaves(tree, lambda x, text: next(pending))


def _shapes(arrays: list[Array]) -> str:
    return ", ".join(describe(array) for array in arrays) or "nothing"


def _shown(ctx: OpCall, init: Value, carry: Value) -> Code:
    """The initial value as the author wrote it, cast where the loop makes floats of it."""
    same = all(
        a.dtype == b.dtype for a, b in zip(leaves(as_arrays(ctx, init)), leaves(carry), strict=True)
    )
    if same:
        return init.code
    if isinstance(init, Sequence):
        parts = zip(init.items, carry.items, strict=True)  # type: ignore[attr-defined]
        return c.display([_shown(ctx, a, b) for a, b in parts], init.kind == "tuple")
    wanted = leaves(carry)[0].dtype
    return ctx.cast(ctx.array(init), wanted).code


@op("jnp", "lax.scan", "body|f, init, xs=None, length=None, reverse=False, unroll=1")
def scan(
    ctx: OpCall, body: Value, init: Value, xs: Value, length: Value, reverse: Value, unroll: Value
) -> Value:
    """A loop over the first axis of arrays, which also stacks what each round gives."""
    size: Dim
    if leaves(as_arrays(ctx, xs)):
        size = mapped_size(ctx, [xs], [0])
        element = element_of(ctx, xs, 0)
    else:
        size, element = ctx.int(length, "length"), static(None)
    if not isinstance(size, int):
        raise ctx.mixes_batch("loops over the batch axis")
    _check_trips(ctx, size)
    output: list[Value] = []

    def step(carry: Value) -> tuple[Value, Code]:
        result, code = symbolic(ctx, body, [carry, element])
        if not isinstance(result, Sequence) or len(result.items) != 2:
            raise ctx.refuse("type", "its body returns no pair.", "Return (carry, output).")
        output[:] = [result.items[1]]
        return result.items[0], code

    carry, code = _fixed_point(ctx, as_arrays(ctx, init), step)
    options: dict[str, Any] = {"reverse": True} if ctx.bool(reverse) else {}
    if not ctx.is_none(length):
        options["length"] = length.code
    call = c.call("jax.lax.scan", [code, _shown(ctx, init, carry), xs.code], options)
    final = map_leaves(
        carry, lambda x, text: ctx.result(x.shape, x.dtype, text, x), c.subscript(call, "0")
    )
    stacked = output[0]
    if not ctx.is_none(stacked):
        stacked = with_axis(ctx, stacked, c.subscript(call, "1"), size)
    return Sequence([final, stacked], "tuple", call)


@op("jnp", "lax.associative_scan", "function|fn, x|elems, reverse=False, axis=0")
def associative_scan(ctx: OpCall, function: Value, x: Value, reverse: Value, axis: Value) -> Value:
    """Running results of an associative function."""
    x = ctx.array(x)
    place = ctx.axis(x, axis)
    ctx.refuse_mixing(x, [place])
    result, code = symbolic(ctx, function, [x, x])
    made = ctx.array(result)
    if not same_shape(made.shape, x.shape):
        raise ctx.refuse("shape", "the function changes the shape.", "Use one like jnp.add.")
    options: dict[str, Any] = {"reverse": True} if ctx.bool(reverse) else {}
    if place:
        options["axis"] = place
    call = c.call("jax.lax.associative_scan", [code, x], options)
    return ctx.result(x.shape, made.dtype, call, made)
