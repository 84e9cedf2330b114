"""Functions of functions in jax: vmap, cond, switch, jit, tree_map.

`cond` and `switch` on data become choices by `where`, which is what they are under `vmap`.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Callable
from typing import Any

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf.code import Code
from qllm_jax.tfcaf.ops.context import OpCall
from qllm_jax.tfcaf.ops.numpy_like import both
from qllm_jax.tfcaf.ops.registry import op
from qllm_jax.tfcaf.values import (
    Array,
    Batch,
    Dim,
    Mapping,
    Sequence,
    Static,
    Transformed,
    Value,
    describe,
    same_dim,
)


def map_leaves(
    value: Value, change: Callable[[Array, Code], Value], code: Code | None = None
) -> Value:
    """A tuple (of tuples) of arrays with each array replaced by `change(array, its source)`."""
    code = code or value.code
    if isinstance(value, Sequence):
        items = [
            map_leaves(item, change, c.subscript(code, str(i)))
            for i, item in enumerate(value.items)
        ]
        return Sequence(items, value.kind, code, value.names)
    if isinstance(value, Mapping):
        entries = {
            key: map_leaves(item, change, c.subscript(code, c.literal(key).text))
            for key, item in value.entries.items()
        }
        return Mapping(entries, code)
    return change(value, code) if isinstance(value, Array) else value


def as_arrays(ctx: OpCall, value: Value) -> Value:
    """Numbers in a tree as arrays; what a loop carries is data."""
    if isinstance(value, Sequence):
        return dataclasses.replace(value, items=[as_arrays(ctx, item) for item in value.items])
    if isinstance(value, Mapping):
        entries = {key: as_arrays(ctx, item) for key, item in value.entries.items()}
        return dataclasses.replace(value, entries=entries)
    return value if ctx.is_none(value) else dataclasses.replace(ctx.array(value), const=None)


def leaves(value: Value) -> list[Array]:
    """The arrays of a tree."""
    found: list[Array] = []
    map_leaves(value, lambda array, code: found.append(array) or array)  # type: ignore[func-returns-value]
    return found


def symbolic(ctx: OpCall, function: Value, args: list[Value]) -> tuple[Value, Code]:
    from qllm_jax.tfcaf.interpreter.functions import call_symbolic

    return call_symbolic(ctx.run, function, args, ctx.shown)


def call(ctx: OpCall, function: Value, args: list[Value]) -> Value:
    from qllm_jax.tfcaf.interpreter.calls import call

    return call(ctx.run, function, args, {})


def _choose(ctx: OpCall, test: Array, body: Value, orelse: Value) -> Value:
    from qllm_jax.tfcaf.interpreter.branches import choose

    return choose(ctx.run, test, body, orelse)


# -- vmap -------------------------------------------------------------------------------------


@op("jnp", "jax.vmap", "function|fun, in_axes=0, out_axes=0, axis_name!=None, axis_size=None")
@op(
    "torch",
    "torch.vmap torch.func.vmap",
    "function|func, in_axes|in_dims=0, out_axes|out_dims=0, randomness!='error', chunk_size=None",
)
def vmap(ctx: OpCall, function: Value, in_axes: Value, out_axes: Value, **sizes: Value) -> Value:
    """The function mapped over an axis of its arguments."""
    place = ctx.int(out_axes, "out_axes")

    def apply(run: Any, args: list[Value], kwargs: dict[str, Value]) -> Value:
        if kwargs:
            raise ctx.refuse("argument", "mapped functions take no keywords.", "Pass in order.")
        axes = _axes_of(ctx, in_axes, len(args))
        size = mapped_size(ctx, args, axes)
        given = [element_of(ctx, arg, axis) for arg, axis in zip(args, axes, strict=True)]
        result, code = symbolic(ctx, function, given)
        options: dict[str, Any] = {}
        if any(axis != 0 for axis in axes):
            options["in_axes"] = in_axes.code
        if place:
            options["out_axes"] = place
        call = c.call(c.call("jax.vmap", [code], options).text, list(args))
        return with_axis(ctx, result, call, size, place)

    return Transformed(apply, c.call("jax.vmap", [function.code]))


@both("vectorize", "function|pyfunc, *, excluded!=None, signature!=None, otypes=None")
def vectorize(ctx: OpCall, function: Value, otypes: Value) -> Value:
    """The function of single numbers on every element, broadcasting."""

    def apply(run: Any, args: list[Value], kwargs: dict[str, Value]) -> Value:
        if kwargs or not args:
            raise ctx.refuse("argument", "vectorized functions take arrays.", "Pass in order.")
        arrays = [ctx.array(arg) for arg in args]
        shape = ctx.broadcast(*arrays)
        singles: list[Value] = [ctx.result((), x.dtype, x.code, x) for x in arrays]
        result, code = symbolic(ctx, function, singles)
        made = ctx.array(result)
        if made.shape != ():
            raise ctx.refuse("shape", "the function gives an array.", "Return one number.")
        call = c.call(c.call("jnp.vectorize", [code]).text, [x.code for x in arrays])
        return ctx.result(shape, made.dtype, call, made)

    return Transformed(apply, c.call("jnp.vectorize", [function.code]))


def _axes_of(ctx: OpCall, in_axes: Value, count: int) -> list[int | None]:
    items = in_axes.items if isinstance(in_axes, Sequence) else [in_axes] * count
    if len(items) != count:
        raise ctx.refuse("argument", "in_axes needs one entry per argument.", "Count them.")
    return [None if ctx.is_none(item) else ctx.int(item, "in_axes") for item in items]


def mapped_size(ctx: OpCall, args: list[Value], axes: list[int | None]) -> Dim:
    """The common size of the mapped axes."""
    sizes: list[Dim] = []
    for arg, axis in zip(args, axes, strict=True):
        if axis is None:
            continue
        for leaf in leaves(as_arrays(ctx, arg)):
            if not -leaf.ndim <= axis < leaf.ndim:
                raise ctx.refuse("axis", f"axis {axis} of {describe(leaf)}.", "Use an axis it has.")
            sizes.append(leaf.shape[axis])
    if not sizes or not all(same_dim(size, sizes[0]) for size in sizes):
        raise ctx.refuse("shape", "the mapped axes differ in size.", "Map axes of one size.")
    return sizes[0]


def element_of(ctx: OpCall, arg: Value, axis: int | None) -> Value:
    """What the function gets: the argument without its mapped axis."""
    if axis is None:
        return arg
    return map_leaves(
        as_arrays(ctx, arg),
        lambda x, code: ctx.result(
            tuple(d for a, d in enumerate(x.shape) if a != axis % x.ndim), x.dtype, code, x
        ),
    )


def with_axis(ctx: OpCall, result: Value, call: Code, size: Dim, place: int = 0) -> Value:
    """The results of all elements, along a new axis."""

    def widen(x: Array, code: Code) -> Array:
        at = place % (x.ndim + 1)
        shape = (*x.shape[:at], size, *x.shape[at:])
        if sum(isinstance(dim, Batch) for dim in shape) > 1:
            raise ctx.mixes_batch("pairs each sample with every other")
        return ctx.result(shape, x.dtype, code, x)

    return map_leaves(as_arrays(ctx, result), widen, call)


@op("jnp", "lax.map", "function|f, xs, *, batch_size!=None")
def lax_map(ctx: OpCall, function: Value, xs: Value) -> Value:
    """The function on each entry of the first axis, one after the other."""
    size = mapped_size(ctx, [xs], [0])
    result, code = symbolic(ctx, function, [element_of(ctx, xs, 0)])
    return with_axis(ctx, result, c.call("jax.lax.map", [code, xs.code]), size)


@both("apply_along_axis", "function|func1d, axis, x|arr")
def apply_along_axis(ctx: OpCall, function: Value, axis: Value, x: Value) -> Value:
    """The function on each one-dimensional slice along an axis."""
    x = ctx.array(x)
    place = ctx.axis(x, axis)
    ctx.refuse_mixing(x, [place])
    result, code = symbolic(ctx, function, [ctx.result((x.shape[place],), x.dtype, x.code, x)])
    made = ctx.array(result)
    shape = (*x.shape[:place], *made.shape, *x.shape[place + 1 :])
    return ctx.result(shape, made.dtype, c.call("jnp.apply_along_axis", [code, place, x]), made)


@op(
    "jnp",
    "jax.jit jax.checkpoint jax.remat",
    "function|fun, *, static_argnums=None, static_argnames=None",
)
def jit(ctx: OpCall, function: Value, static_argnums: Value, static_argnames: Value) -> Value:
    """The function itself: all of the emitted source is compiled by its caller."""
    return function


@op("jnp", "jax.tree_util.tree_map jax.tree.map jax.tree_map", "function|f, tree, *rest")
def tree_map(ctx: OpCall, function: Value, tree: Value, rest: list[Value]) -> Value:
    """The function on each leaf."""
    if isinstance(tree, Sequence):
        items = [
            tree_map(ctx, function, item, [r.items[i] for r in rest if isinstance(r, Sequence)])
            for i, item in enumerate(tree.items)
        ]
        return Sequence(items, tree.kind, c.display([i.code for i in items], tree.kind == "tuple"))
    if isinstance(tree, Mapping):
        raise ctx.refuse("type", "maps over dicts are not supported.", "Use a tuple.")
    return call(ctx, function, [tree, *rest])


# -- choices ----------------------------------------------------------------------------------


@op("jnp", "lax.cond", "test|pred, body|true_fun, orelse|false_fun, *operands")
def cond(ctx: OpCall, test: Value, body: Value, orelse: Value, operands: list[Value]) -> Value:
    """One of two functions; on data both run and `where` chooses."""
    if isinstance(test, Static):
        return call(ctx, body if test.value else orelse, operands)
    condition = _scalar(ctx, test)
    return _choose(ctx, condition, call(ctx, body, operands), call(ctx, orelse, operands))


def _scalar(ctx: OpCall, test: Value) -> Array:
    from qllm_jax.tfcaf.interpreter.expressions import truth_array

    array = ctx.array(test)
    if array.shape != ():
        raise ctx.refuse("shape", "the condition is not a scalar.", "Use `.any()` or `where`.")
    made = truth_array(ctx.run, array)
    if made.code.is_name:
        return made
    name = ctx.run.fresh("condition")
    ctx.run.emit(f"{name} = {made.code.text}")
    return dataclasses.replace(made, code=Code(name))


@op("jnp", "lax.switch", "index, functions|branches, *operands")
def switch(ctx: OpCall, index: Value, functions: Value, operands: list[Value]) -> Value:
    """One of several functions, by an index that is clamped into range."""
    choices = ctx.items(functions, "branches")
    if not choices:
        raise ctx.refuse("argument", "there is no branch.", "Pass at least one function.")
    if isinstance(index, Static):
        return call(ctx, choices[min(max(ctx.int(index), 0), len(choices) - 1)], operands)
    number = ctx.array(index)
    if number.shape != ():
        raise ctx.refuse("shape", "the index is not a scalar.", "Index with one number.")
    results = [call(ctx, function, operands) for function in choices]
    chosen = results[-1]
    for position in reversed(range(len(results) - 1)):
        code = c.compare(number.code, [ast.LtE], [c.literal(position)])
        chosen = _choose(ctx, Array((), "bool", code), results[position], chosen)
    return chosen


# -- loops ------------------------------------------------------------------------------------
