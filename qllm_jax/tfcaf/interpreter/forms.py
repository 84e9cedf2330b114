"""Questions about values: do they exist in the emitted source, how are they called there, are they
static, and do they hold too much.

Imports values and code. Used by all of the interpreter.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf import limits
from qllm_jax.tfcaf.code import Code
from qllm_jax.tfcaf.values import (
    Array,
    Batch,
    Builtin,
    Dropped,
    DType,
    Function,
    Mapping,
    Method,
    Module,
    Operation,
    Sequence,
    SliceValue,
    Static,
    Transformed,
    Value,
)

_NOT_EMITTED = (Module, Operation, Builtin, DType, Dropped, Method, Transformed, Function)


def check_weight(value: Value, line: int | None) -> None:
    """Bound what a container holds in all, with what its items hold.

    Raises:
        TranslationError: Rule "too-big"; also for a list that holds itself.
    """
    count, pending = 0, [value]
    while pending:
        item = pending.pop()
        count += 1
        if count > limits.MAX_WEIGHT:
            raise limits.too_big("Lists inside lists hold too much", line)
        if isinstance(item, Sequence):
            pending.extend(item.items)
        elif isinstance(item, Mapping):
            pending.extend(item.entries.values())


def emittable(value: Value) -> bool:
    """Whether a value exists in the emitted source."""
    if isinstance(value, Sequence):
        return value.kind in ("list", "tuple", "range") and all(map(emittable, value.items))
    if isinstance(value, Mapping):
        return all(map(emittable, value.entries.values()))
    return not isinstance(value, (*_NOT_EMITTED, SliceValue))


def named(value: Value, code: Code) -> Value:
    """The same value, computed by `code`; containers stay the same object to Python."""
    return dataclasses.replace(value, code=code)  # type: ignore[type-var]


def item_of(sequence: Sequence, index: int, code: Code | None = None) -> Value:
    """An item of a sequence, by way of the sequence's variable where it has one."""
    item = sequence.items[index]
    can_be_indexed = sequence.kind in ("list", "tuple", "array")
    if sequence.code.text[:1] in "([" or not emittable(item) or not can_be_indexed:
        return item
    return named(item, c.subscript(sequence.code, (code or c.literal(index)).text))


def is_static(value: Value) -> bool:
    """Whether control flow on a value can be resolved at translation."""
    return not isinstance(value, Array)


def static_truth(run: Any, value: Value) -> bool:
    """The truth of a static value."""
    match value:
        case Static(value=Batch()):
            return True
        case Static():
            return bool(value.value)
        case Sequence():
            if value.of_batch:
                return True
            return bool(value.items)
        case Mapping():
            return bool(value.entries)
        case _:
            return True
