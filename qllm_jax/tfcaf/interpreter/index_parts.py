"""What an index is made of (ints, slices, new axes, arrays, masks), and the shape it selects.

Any mix that torch and NumPy order alike. Called by `indexing`.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf.code import Code
from qllm_jax.tfcaf.interpreter.batch_loops import is_row
from qllm_jax.tfcaf.interpreter.constants import known_entries
from qllm_jax.tfcaf.interpreter.state import Run
from qllm_jax.tfcaf.ops.context import OpCall
from qllm_jax.tfcaf.values import (
    Array,
    Batch,
    Dim,
    Masked,
    Sequence,
    Shape,
    SliceValue,
    Static,
    Value,
    broadcast,
    describe,
    format_shape,
    same_shape,
)


@dataclasses.dataclass(slots=True)
class Index:
    """A resolved subscript of an array.

    Attributes:
        text: Emitted index of everything but the mask; the mask's axes are `:` in it.
        is_plain: `text` selects everything.
        frozen: Like `text`, with constants instead of variables.
        shape: Shape of what is selected before the mask.
        mask: The boolean array of the index, if one is there.
        mask_axis: First axis of `shape` that the mask covers.
        has_arrays: Integer arrays take part, so that it is a copy and entries may repeat.
    """

    text: str
    is_plain: bool
    frozen: str
    shape: Shape
    mask: Array | None = None
    mask_axis: int = 0
    has_arrays: bool = False
    rows: bool = False


def static_int(run: Run, value: Value | None) -> int | None:
    """A static integer of an index; None for None."""
    if value is None or (isinstance(value, Static) and value.value is None):
        return None
    if isinstance(value, Static) and isinstance(value.value, int):
        return int(value.value)
    if isinstance(value, Array) and value.shape == () and type(value.const) is int:
        return value.const
    raise run.refuse(
        "static-argument",
        f"An index or slice bound must be a constant here; received {describe(value)}.",
        "Use a constant, or `take_along_axis` / `where` on arrays.",
    )


def resolve(run: Run, array: Array, index: Value) -> Index:
    """Work out what `array[index]` selects.

    Raises:
        TranslationError: Rules "index-range", "index", "mixes-batch", "dynamic-shape".
    """
    ctx = run.context("[]")
    array = ctx.array(array)
    if array.wide:
        raise ctx.dynamic_shape()
    given = [index]
    if isinstance(index, Sequence) and index.kind == "tuple":
        given = index.items
    parts = [part for item in given for part in _parts(run, item)]
    parts = _expand(run, ctx, array, parts)
    builder = _Builder(run, ctx, array)
    for part in parts:
        builder.add(part)
    return builder.finish()


def _parts(run: Run, value: Value) -> list[Value]:
    """A part of an index; lists become arrays, and masks of constants the numbers they select."""
    if isinstance(value, Sequence):
        value = run.stack_display(value, run.context("[]"))
    if isinstance(value, Array) and value.dtype == "bool" and value.ndim:
        entries = known_entries(run, value)
        if entries is not None and entries.any():
            return [_numbers(run, numbers.tolist()) for numbers in np.nonzero(entries)]
    return [value]


def _numbers(run: Run, numbers: list[int]) -> Array:
    code = c.call("jnp.array", [c.literal(numbers)])
    made = run.context("[]").result((len(numbers),), "int", code)
    made.const = tuple(numbers)
    return made


def _is_mask(part: Value) -> bool:
    return isinstance(part, Array) and part.dtype == "bool"


def _is_none(part: Value) -> bool:
    return isinstance(part, Static) and part.value is None


def _consumed(part: Value) -> int:
    if _is_none(part):
        return 0
    return part.ndim if _is_mask(part) else 1  # type: ignore[attr-defined]


def _expand(run: Run, ctx: OpCall, array: Array, parts: list[Value]) -> list[Value]:
    """Replace an ellipsis, and fill up with full slices to the array's rank."""
    dots = [i for i, p in enumerate(parts) if isinstance(p, Static) and p.value is Ellipsis]
    missing = array.ndim - sum(_consumed(p) for i, p in enumerate(parts) if i not in dots[:1])
    if len(dots) > 1 or missing < 0:
        raise ctx.refuse(
            "index",
            f"too many indices for {describe(array)}.",
            "Index at most as many axes as it has.",
        )
    full: list[Value] = [SliceValue(None, None, None, Code(":")) for _ in range(missing)]
    if dots:
        marked: list[Value] = [parts[dots[0]]] if missing else []
        if missing:
            marked = [_Dots(full)]  # type: ignore[list-item]
        return parts[: dots[0]] + marked + parts[dots[0] + 1 :]
    return [*parts, _Rest(full)] if missing else parts  # type: ignore[list-item]


@dataclasses.dataclass(slots=True)
class _Dots:
    """An ellipsis that stands for these slices."""

    full: list[Value]


class _Rest(_Dots):
    """Axes after the index, of which nothing is written."""


class _Builder:
    """Collects the parts of an index: emitted text, resulting axes, arrays and the mask."""

    def __init__(self, run: Run, ctx: OpCall, array: Array):
        self.run, self.ctx, self.array = run, ctx, array
        self.axis = 0
        self.texts: list[str] = []
        self.frozen: list[str] = []
        self.dims: list[Dim | None] = []  # None stands where integer arrays were
        self.arrays: list[Array] = []
        self.on_batch: list[Array] = []
        self.mask: Array | None = None
        self.mask_position = 0
        self.has_int = False

    def add(self, part: Value | _Dots) -> None:
        """Take one part."""
        if isinstance(part, _Dots):
            self.dims += self.array.shape[self.axis : self.axis + len(part.full)]
            self.axis += len(part.full)
            if not isinstance(part, _Rest):
                self.texts.append("...")
                self.frozen.append("...")
        elif _is_none(part):
            self._write("None", "None", [1])
        elif isinstance(part, SliceValue):
            self._add_slice(part)
        elif isinstance(part, Static):
            self._add_int(part)
        elif isinstance(part, Array) and part.dtype == "bool":
            self._add_mask(part)
        elif isinstance(part, Array):
            self._add_array(part)
        else:
            raise self._refuse(f"an index cannot be {describe(part)}")

    def _refuse(self, message: str) -> Exception:
        return self.ctx.refuse("index", f"{message}.", "Use ints, slices, `None`, `...` or arrays.")

    def _write(self, text: str, frozen: str, dims: list[Dim | None]) -> None:
        self.texts.append(text)
        self.frozen.append(frozen)
        self.dims += dims

    def _add_int(self, part: Static) -> None:
        size = self.array.shape[self.axis]
        self.axis += 1
        if is_row(part):
            if size != Batch():
                raise self.ctx.mixes_batch("picks by the number of a sample")
            self.has_int = True
            self._write(part.code.text, part.code.text, [])
            return
        if type(part.value) is not int:
            raise self._refuse(f"an index cannot be {describe(part)}")
        if isinstance(size, Batch):
            raise self.ctx.mixes_batch("picks one sample of the batch")
        if isinstance(size, Masked):
            raise self.ctx.dynamic_shape()
        if not -size <= part.value < size:
            raise self.ctx.refuse(
                "index-range",
                f"index {part.value} is out of range for an axis of size {size}.",
                f"Use an index below {size}.",
            )
        self.has_int = True
        self._write(part.code.within(c.TERNARY), str(part.value), [])

    def _add_slice(self, part: SliceValue) -> None:
        size = self.array.shape[self.axis]
        self.axis += 1
        if not isinstance(size, int):
            if not _covers(part, size):
                if isinstance(size, Batch):
                    raise self.ctx.mixes_batch("slices the batch axis")
                raise self.ctx.dynamic_shape()
            self._write(":", ":", [size])
            return
        start, stop, step = (
            static_int(self.run, bound) for bound in (part.start, part.stop, part.step)
        )
        if step == 0 or (step is not None and step < 0 and self.run.dialect == "torch"):
            raise self._refuse("a slice needs a positive step; `flip` reverses")
        length = len(range(size)[start:stop:step])
        reached = [b for b in (start, stop) if b is not None and b > size]
        if reached and (self.array.cell.is_argument or (start or 0) > size):
            raise self.ctx.refuse(
                "index-range",
                f"the slice {part.code.text} reaches {max(reached)}, past the end of an axis "
                f"of size {size}.",
                "Check the stride and the number of agents; stop at the axis's size.",
            )
        texts = ["" if bound is None else str(bound) for bound in (start, stop, step)]
        frozen = f"{texts[0]}:{texts[1]}" + (f":{texts[2]}" if texts[2] else "")
        self._write(part.code.text, frozen, [length])

    def _add_mask(self, part: Array) -> None:
        span = self.array.shape[self.axis : self.axis + part.ndim]
        if self.mask is not None:
            raise self._refuse("two boolean masks in one index are not supported")
        if not same_shape(span, part.shape) or not part.ndim:
            raise self.ctx.refuse(
                "shape",
                f"a mask of shape {format_shape(part.shape)} does not fit {describe(self.array)}.",
                "Give the mask the shape of the axes that it selects from.",
            )
        self.axis += part.ndim
        self.mask, self.mask_position = part, len(self.dims)
        for dim in span:
            self._write(":", ":", [dim])

    def _add_array(self, part: Array) -> None:
        if part.dtype != "int":
            raise self._refuse("an index cannot be an array of floats")
        size = self.array.shape[self.axis]
        self.axis += 1
        if isinstance(size, Masked):
            raise self.ctx.dynamic_shape()
        if isinstance(size, Batch):
            if not part.is_rows or size.factor != 1:
                raise self.ctx.mixes_batch("picks samples of the batch by number")
            self.on_batch.append(part)
        elif part.const is not None:
            _check_range(self.ctx, part.const, size)
        if any(isinstance(dim, Masked) for dim in part.shape):
            raise self.ctx.dynamic_shape()
        self.arrays.append(part)
        text = part.code.within(c.TERNARY)
        self._write(text, text, [None])

    def finish(self) -> Index:
        """The whole index."""
        texts, frozen = list(self.texts), list(self.frozen)
        for written in (texts, frozen):
            while written and written[-1] == ":" and "..." not in written:
                written.pop()
            if written[-1:] == ["..."]:
                written.pop()
        shape = self._gathered()
        text = ", ".join(texts) if texts else "..."
        fixed = ", ".join(frozen) if frozen else "..."
        return Index(
            text=text,
            is_plain=not texts,
            frozen=fixed,
            shape=shape,
            mask=self.mask,
            mask_axis=self.mask_position,
            has_arrays=bool(self.arrays),
            rows=bool(self.on_batch),
        )

    def _gathered(self) -> Shape:
        """Resulting axes; those of integer arrays go where the first stood, or to the front."""
        if not self.arrays:
            return tuple(d for d in self.dims if d is not None)
        if self.mask is not None:
            raise self._refuse("a boolean mask beside integer arrays is not supported")
        common = broadcast(*(a.shape for a in self.arrays))
        if common is None:
            raise self.ctx.refuse(
                "shape", "the index arrays do not broadcast together.", "Give them equal shapes."
            )
        positions = [i for i, dim in enumerate(self.dims) if dim is None]
        adjacent = positions[-1] - positions[0] + 1 == len(positions)
        if self.has_int and len(self.arrays) + 1 and not self._ints_adjacent():
            raise self._refuse(
                "an int and an array with a slice between them are ordered unclearly"
            )
        rest = [d for d in self.dims if d is not None]
        where = positions[0] if adjacent else 0
        shape = (*rest[:where], *common, *rest[where:])
        if sum(isinstance(dim, Batch) for dim in shape) > 1:
            raise self.ctx.mixes_batch("pairs each sample with every other")
        return shape

    def _ints_adjacent(self) -> bool:
        """Whether ints and arrays stand side by side, as NumPy and torch order them alike."""
        kinds = ["s" if t in ("...", "None") or ":" in t else "i" for t in self.texts]
        joined = "".join(kinds).strip("s")
        return "s" not in joined


def _covers(part: SliceValue, size: Dim) -> bool:
    """Whether a slice takes all of a batch or masked axis."""
    start_ok = part.start is None or (isinstance(part.start, Static) and part.start.value == 0)
    stop_ok = part.stop is None or (
        isinstance(part.stop, Static)
        and (part.stop.value is None or (isinstance(size, Batch) and part.stop.value == size))
    )
    step_ok = part.step is None or (isinstance(part.step, Static) and part.step.value in (None, 1))
    return start_ok and stop_ok and step_ok


def _check_range(ctx: OpCall, const: object, size: int) -> None:
    if isinstance(const, tuple):
        for item in const:
            _check_range(ctx, item, size)
    elif isinstance(const, int) and not -size <= const < size:
        raise ctx.refuse(
            "index-range",
            f"index {const} is out of range for an axis of size {size}.",
            f"Use indices below {size}.",
        )
