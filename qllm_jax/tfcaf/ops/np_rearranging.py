"""Splitting, rolling, flipping and diagonals of NumPy and jnp. In NumPy most are views."""

from __future__ import annotations

import itertools

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf.code import Code
from qllm_jax.tfcaf.ops.context import OpCall
from qllm_jax.tfcaf.ops.numpy_like import both, inferred, last_name, numbers
from qllm_jax.tfcaf.ops.registry import op
from qllm_jax.tfcaf.values import (
    Array,
    Sequence,
    Value,
    View,
    static,
)


@both("split array_split", "x|ary, sections|indices_or_sections, axis=0")
@both("hsplit vsplit", "x|ary, sections|indices_or_sections")
@both("unstack", "x, *, axis=0, sections=None")
def split(ctx: OpCall, x: Value, sections: Value, axis: Value | None = None) -> Value:
    """Parts along an axis, as views."""
    x = ctx.array(x)
    name = last_name(ctx)
    side = {"hsplit": 0 if x.ndim == 1 else 1, "vsplit": 0}.get(name)
    along = side if side is not None else ctx.axis(x, axis or static(0))
    size = ctx.fixed_size(x, along)
    if name == "unstack":
        sections = static(size)
    bounds = split_bounds(ctx, size, sections, name)
    parts = []
    for start, stop in bounds:
        index = ", ".join([":"] * along + [f"{start}:{stop}" if name != "unstack" else str(start)])
        shape = (*x.shape[:along], *([stop - start] * (name != "unstack")), *x.shape[along + 1 :])
        parts.append(
            ctx.view(
                x,
                shape,
                c.subscript(x.code, index),
                View(
                    lambda base, index=index: c.subscript(base, index),  # type: ignore[misc]
                    lambda base, new, index=index: c.method(  # type: ignore[misc]
                        c.subscript(c.attribute(base, "at"), index), "set", [new], {}
                    ),
                ),
            )
        )
    return Sequence(list(parts), "list", c.display([part.code for part in parts], False))


def split_bounds(ctx: OpCall, size: int, sections: Value, name: str) -> list[tuple[int, int]]:
    """Where each part starts and stops."""
    if isinstance(sections, Sequence):
        cuts = [ctx.int(item) for item in ctx.items(sections)]
        cuts = [min(max(cut + size if cut < 0 else cut, 0), size) for cut in cuts]
        edges = [0, *cuts, size]
    else:
        count = ctx.int(sections, "sections")
        if count < 1 or (size % count and name != "array_split") or count > max(size, 1):
            raise ctx.refuse("shape", f"{size} does not split into {count}.", "Use array_split.")
        edges = [i * (size // count) + min(i, size % count) for i in range(count + 1)]
    return [(start, max(start, stop)) for start, stop in itertools.pairwise(edges)]


@both("roll", "x|a, shift, axis=None")
def roll(ctx: OpCall, x: Value, shift: Value, axis: Value) -> Value:
    """Elements moved along axes, around the end."""
    x = ctx.array(x)
    axes = ctx.axes(x, axis)
    ctx.refuse_mixing(x, axes)
    numbers(ctx, shift, "shift")
    shown = {} if ctx.is_none(axis) else {"axis": axis.code}
    return ctx.result(x.shape, x.dtype, c.call("jnp.roll", [x, shift.code], shown), x)


@both("flip", "x|m, axis=None")
@both("fliplr flipud", "x|m")
@op("jnp", "lax.rev", "x|operand, axis|dimensions")
def flip(ctx: OpCall, x: Value, axis: Value | None = None) -> Value:
    """Elements in reverse along axes."""
    x = ctx.array(x)
    name = last_name(ctx)
    axes = (
        (1,) if name == "fliplr" else (0,) if name == "flipud" else ctx.axes(x, axis or static(0))
    )
    ctx.refuse_mixing(x, axes)
    where = axes[0] if len(axes) == 1 else axes
    turned = lambda base: c.call("jnp.flip", [base], {"axis": where})  # noqa: E731
    return ctx.view(x, x.shape, turned(x.code), View(turned, lambda base, new: turned(new)))


@both("rot90", "x|m, k=1, axes=None")
def rot90(ctx: OpCall, x: Value, k: Value, axes: Value) -> Value:
    """A quarter turn in a plane."""
    x = ctx.array(x)
    plane = (0, 1) if ctx.is_none(axes) else ctx.axes(x, axes)
    ctx.refuse_mixing(x, plane)
    options = {"k": ctx.int(k), "axes": plane}
    made = inferred(ctx, "jax.numpy.rot90", [x], options=options)
    assert isinstance(made, Array)
    if ctx.dialect == "torch":
        return made
    turn = View(lambda base: c.call("jnp.rot90", [base], options), None)
    return ctx.view(x, made.shape, made.code, turn)


@both("diagonal .diagonal", "x|a, offset=0, axis1=0, axis2=1")
def diagonal(ctx: OpCall, x: Value, offset: Value, axis1: Value, axis2: Value) -> Value:
    """The diagonal of two axes, as the last axis."""
    x = ctx.array(x)
    first, second = ctx.axis(x, axis1), ctx.axis(x, axis2)
    ctx.refuse_mixing(x, [first, second])
    options = {"offset": ctx.int(offset), "axis1": first, "axis2": second}
    kept = {k: v for k, v in options.items() if v != {"offset": 0, "axis1": 0, "axis2": 1}[k]}
    made = inferred(ctx, "jax.numpy.diagonal", [x], options=kept)
    assert isinstance(made, Array)
    put = None
    at_the_end = {first, second} == {x.ndim - 2, x.ndim - 1} and not options["offset"]
    if at_the_end and x.shape[first] == x.shape[second] and ctx.dialect == "torch":
        mask = c.call("jnp.eye", [x.shape[first]], {"dtype": Code("jnp.bool_")})

        def put(base: Code, new: Code) -> Code:
            return c.call("jnp.where", [mask, c.subscript(new, "..., None"), base])

    view = View(lambda base: c.call("jnp.diagonal", [base], kept), put)
    return ctx.view(x, made.shape, made.code, view)
