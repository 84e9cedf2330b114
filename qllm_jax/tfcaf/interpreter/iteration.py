"""What a loop or an unpack goes over, and how its names are bound in a pass.

Called by `loops`, `comprehensions`, `batch_loops`, `targets` and the builtins that iterate.
"""

from __future__ import annotations

import ast
import dataclasses

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf import limits
from qllm_jax.tfcaf.code import Code
from qllm_jax.tfcaf.interpreter.forms import emittable, item_of, named
from qllm_jax.tfcaf.interpreter.state import Run
from qllm_jax.tfcaf.ops.context import OpCall
from qllm_jax.tfcaf.values import (
    Array,
    Batch,
    Mapping,
    Masked,
    Sequence,
    Shape,
    Static,
    Value,
    View,
    describe,
)


def iterate(run: Run, value: Value) -> Sequence:
    """What a loop goes over, as a sequence of known length.

    Raises:
        TranslationError: Rules "mixes-batch" (rows of the batch), "dynamic-loop".
    """
    match value:
        case Sequence():
            return value
        case Mapping():
            from qllm_jax.tfcaf.interpreter.containers import call_dict_method

            keys = call_dict_method(run, value, "keys", [], {})
            assert isinstance(keys, Sequence)
            return dataclasses.replace(keys, code=value.code)
        case Array(shape=(int() as size, *rest)):
            ctx = run.context("for")
            if size > limits.MAX_ITERATIONS:
                raise limits.too_big("A loop over an array is too long", run.line)
            items: list[Value] = []
            for i in range(size):
                row = _entry(ctx, value, tuple(rest), i)
                if isinstance(value.const, tuple):
                    row.const = value.const[i]
                items.append(row)
            return Sequence(items, "array", value.code)
        case Array(shape=(Batch(), *_)):
            return rows_of(run, value)
        case Array(shape=(Masked(), *_)):
            raise run.context("for").dynamic_shape()
    raise run.refuse(
        "dynamic-loop", f"A loop over {describe(value)}.", "Loop over a range, list or dict."
    )


def _entry(ctx: OpCall, array: Array, shape: Shape, index: int, changeable: bool = True) -> Array:
    """An entry of the first axis, which shares the array's memory."""
    place = str(index)

    def put(base: Code, new: Code) -> Code:
        return c.method(c.subscript(c.attribute(base, "at"), place), "set", [new], {})

    view = View(lambda base: c.subscript(base, place), put if changeable else None)
    return ctx.view(array, shape, c.subscript(array.code, place), view)


def rows_of(run: Run, array: Array) -> Sequence:
    """The samples of a batched array, as what a loop goes over."""
    if array.shape[0] != Batch():
        raise run.context("for").mixes_batch("goes over merged batch rows")
    row = _entry(run.context("for"), array, array.shape[1:], 0, changeable=False)
    return Sequence([row], "array", array.code, of_batch=True)


def emittable_iterable(sequence: Sequence) -> bool:
    """Whether a loop can go over it in the emitted source."""
    plain = sequence if sequence.kind in ("list", "tuple", "range") else None
    if plain is not None:
        return emittable(plain)
    return all(emittable(item) for item in sequence.items)


def target_text(run: Run, target: ast.expr) -> str:
    """The emitted names of a loop's target."""
    if isinstance(target, ast.Name):
        return "_" if target.id == "_" else run.target(target.id)
    if isinstance(target, ast.Tuple | ast.List):
        inner = []
        for part in target.elts:
            text = target_text(run, part)
            inner.append(f"({text})" if isinstance(part, ast.Tuple | ast.List) else text)
        return ", ".join(inner)
    if isinstance(target, ast.Starred):
        return f"*{target_text(run, target.value)}"
    raise run.refuse("loop-target", "A loop assigns to something odd.", "Use plain names.")


def bind_target(run: Run, target: ast.expr, value: Value) -> None:
    """Bind the names of a loop that stays: their values are only known by name."""
    target = target.value if isinstance(target, ast.Starred) else target
    if isinstance(target, ast.Name):
        if target.id == "_":
            return
        code = Code(run.target(target.id))
        if isinstance(value, Static):
            run.bind(target.id, Static(value.value, code, varying=True))
        elif isinstance(value, Sequence):
            run.bind(target.id, dataclasses.replace(value, code=code, varying=True))
        else:
            run.bind(target.id, named(value, code))
        return
    for part, item in zip(target.elts, unpacked(run, target, value), strict=True):  # type: ignore[attr-defined]
        bind_target(run, part, item)


def bind_literal(run: Run, target: ast.expr, value: Value) -> None:
    """Bind the names of an unrolled loop's pass: their values are written out."""
    target = target.value if isinstance(target, ast.Starred) else target
    if isinstance(target, ast.Name):
        if target.id == "_":
            return
        if isinstance(value, Static):
            literal = value.code
            if isinstance(value.value, bool | int | float | str):
                literal = c.literal(value.value)
            run.bind(target.id, Static(value.value, literal))
        else:
            run.bind(target.id, value)
        return
    for part, item in zip(target.elts, unpacked(run, target, value), strict=True):  # type: ignore[attr-defined]
        bind_literal(run, part, item)


def unpacked(run: Run, target: ast.expr, value: Value) -> list[Value]:
    """The items of a value for a tuple of targets; a list of them for `*rest`.

    Raises:
        TranslationError: Rule "unpack": the numbers differ, or it has no fixed number.
    """
    wanted = len(target.elts)  # type: ignore[attr-defined]
    if isinstance(value, Array) and value.shape:
        sequence = iterate(run, value)
    elif isinstance(value, Sequence):
        sequence = value
    else:
        raise run.refuse("unpack", f"{describe(value)} is unpacked.", "Unpack tuples and lists.")
    if sequence.of_batch:
        raise run.refuse("mixes-batch", "The batch is unpacked into samples.", "Treat all alike.")
    stars = [i for i, part in enumerate(target.elts) if isinstance(part, ast.Starred)]  # type: ignore[attr-defined]
    spare = len(sequence.items) - wanted
    if spare < -1 or (spare and not stars):
        raise run.refuse(
            "unpack",
            f"{len(sequence.items)} values are unpacked into {wanted} names.",
            "Use as many names as values.",
        )
    items = [item_of(sequence, i) for i in range(len(sequence.items))]
    if stars:
        at, count = stars[0], spare + 1
        rest = items[at : at + count]
        code = c.display([item.code for item in rest], False)
        items[at : at + count] = [Sequence(rest, "list", code)]
    return items
