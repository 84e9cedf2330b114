"""What the interpreter computes with: static Python values, and arrays of known shape and dtype.

A value knows the source that computes it (`code`); binding it to a variable replaces that source
by the variable's name. Imports only `code` and `contract`. Used by the interpreter and by every
operation.

Axes. A shape is a tuple of sizes: an `int`, the symbolic batch size of a batched source (`Batch`,
neither 1 nor N, so nothing broadcasts against it by accident), or the unknown number of rows that
a boolean mask selects (`Masked`).
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import Any, Literal

from qllm_jax.tfcaf.code import Code, literal

Kind = Literal["bool", "int", "float"]  # each in its 32-bit form
RANK: dict[str, int] = {"bool": 0, "int": 1, "float": 2}
JNP_DTYPE: dict[str, str] = {"bool": "jnp.bool_", "int": "jnp.int32", "float": "jnp.float32"}


@dataclasses.dataclass(frozen=True, slots=True)
class Batch:
    """`factor` rows for each sample: the axis holds sample after sample."""

    factor: int = 1

    def __str__(self) -> str:
        return "B" if self.factor == 1 else f"B*{self.factor}"


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Masked:
    """The rows of a full axis that a mask selects; emitted code keeps the full axis.

    Attributes:
        mask: Variable that holds the mask, of the full axis (or axes, flattened).
        full: Size of the full axis, in `Batch` or `int`.
        shape: Shape of the mask as the author wrote it.
    """

    mask: Code
    full: int | Batch
    shape: tuple[Any, ...]

    def __str__(self) -> str:
        return f"rows where {self.mask.text}"


class Row:
    """The number of the sample that a loop over the batch is at."""

    def __repr__(self) -> str:
        return "the sample's number"


ROW = Row()
Dim = int | Batch | Masked
Shape = tuple[Dim, ...]


class Cell:
    """Identity of a piece of memory: arrays that share one alias each other.

    Attributes:
        is_argument: The parameter that it came by, or "".
        shape: Sizes of the whole, once something views it.
    """

    __slots__ = ("is_argument", "shape")

    def __init__(self, is_argument: str = ""):
        self.is_argument = is_argument
        self.shape: Shape | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class View:
    """One step from memory to a view of it.

    Attributes:
        get: Source of the view, from the source of what it views.
        put: Source of the viewed after the view became a new value; None where that cannot be
            said (an expanded view, or a reshape that may copy).
    """

    get: Callable[[Code], Code]
    put: Callable[[Code, Code], Code] | None


class Value:
    """Anything an expression can evaluate to."""

    __slots__ = ()
    code: Code


@dataclasses.dataclass(slots=True)
class Array(Value):
    """An array that exists only when the emitted source runs.

    Attributes:
        shape: Sizes of its axes.
        dtype: Its kind of number.
        code: Source that computes it.
        grad: Depends differentiably on `agent_qs`.
        cell: The memory it lives in, shared by its views.
        path: How it views that memory; empty for the memory as a whole.
        const: Its entries as nested tuples, where they are known and few.
        row_any: It is an `any` or `all` over the batch: only an `if` may look at it.
        weak: It came from a Python number by way of the data (`float(x)`, `x.item()`).
        wide: Its first axis is the rows of a mask of several axes, and the emitted array has all
            of these axes.
        is_empty: Nothing was written to it yet, as after `torch.empty`.
        is_rows: Every entry is the number of its own sample: `arange(B)`, maybe with more axes.
    """

    shape: Shape
    dtype: Kind
    code: Code
    grad: bool = False
    cell: Cell = dataclasses.field(default_factory=Cell)
    path: tuple[View, ...] = ()
    const: Any = None
    row_any: bool = False
    weak: bool = False
    wide: bool = False
    is_rows: bool = False
    is_empty: bool = False

    @property
    def ndim(self) -> int:
        return len(self.shape)


@dataclasses.dataclass(slots=True)
class Static(Value):
    """A Python value known at translation: number, bool, None, str, `Batch`, ellipsis.

    `varying` marks one whose value the emitted text leaves open (a variable of a loop that is
    kept, or a parameter of a helper): control flow on it is emitted, not only resolved.
    """

    value: Any
    code: Code
    varying: bool = False


@dataclasses.dataclass(slots=True)
class SliceValue(Value):
    """`start:stop:step`, each a `Static` or None."""

    start: Value | None
    stop: Value | None
    step: Value | None
    code: Code


@dataclasses.dataclass(slots=True)
class Sequence(Value):
    """A list, tuple or range. Bound names share `items`, as Python's do.

    Attributes:
        kind: "list", "tuple" or "range" ("zip", "enumerate", "generator" for what is iterated).
        names: Field names, as of torch's (values, indices) pairs.
        of_batch: One item stands for one sample of the batch, however many there are.
        owner: The class whose object this is, by its attributes in order.
    """

    items: list[Value]
    kind: str
    code: Code
    names: tuple[str, ...] = ()
    of_batch: bool = False
    varying: bool = False
    owner: str = ""


@dataclasses.dataclass(slots=True)
class Mapping(Value):
    """A dict with static keys; `default` makes what it does not hold."""

    entries: dict[Any, Value]
    code: Code
    default: Value | None = None


@dataclasses.dataclass(slots=True)
class DType(Value):
    """A dtype such as `torch.float32`.

    `usual` says that arrays of its kind have it, so that a cast to it may give the array itself.
    """

    kind: Kind
    code: Code
    usual: bool = True


@dataclasses.dataclass(slots=True)
class Dropped(Value):
    """What has no meaning in jnp and may only be handed on: devices, layouts, generators."""

    what: str
    code: Code = dataclasses.field(default_factory=lambda: Code("None"))


@dataclasses.dataclass(slots=True)
class Module(Value):
    """An imported module, by its dotted name; a table look-up key and nothing more."""

    path: str
    code: Code


@dataclasses.dataclass(slots=True)
class Operation(Value):
    """A function of a registered dialect, not yet called."""

    op: Any
    code: Code


@dataclasses.dataclass(slots=True)
class Method(Value):
    """A method of a value, not yet called."""

    receiver: Value
    name: str
    code: Code


@dataclasses.dataclass(slots=True)
class AtIndex(Value):
    """`x.at[index]`, before one of its updates is called."""

    array: Array
    index: Any
    code: Code


@dataclasses.dataclass(slots=True)
class Stale(Value):
    """An array that a helper changed in place, so that its variable no longer says what it is."""

    name: str
    code: Code


@dataclasses.dataclass(slots=True)
class Builtin(Value):
    """A Python builtin or a function of `math`."""

    name: str
    code: Code


@dataclasses.dataclass(slots=True)
class Function(Value):
    """A function or lambda of the source, with the scope it was defined in."""

    definition: Any
    code: Code


@dataclasses.dataclass(slots=True)
class Transformed(Value):
    """A function made by a function, such as `jax.vmap(fn)`: `apply(ctx, args)` calls it."""

    apply: Callable[..., Value]
    code: Code


def static(value: Any) -> Static:
    """A static value as its literal."""
    return Static(value, literal(value))


def describe(value: Value) -> str:
    """A value in a few words, for messages."""
    match value:
        case Array():
            return f"an array of shape {format_shape(value.shape)}"
        case Static(value=v):
            return "the batch size" if isinstance(v, Batch) else f"{type(v).__name__} {v!r}"[:60]
        case Sequence():
            return f"a {value.kind} of {len(value.items)} items"
        case Mapping():
            return "a dict"
        case DType():
            return f"the dtype {value.kind}"
        case Module():
            return f"the module {value.path}"
        case Dropped():
            return value.what
        case _:
            return "a function"


def format_shape(shape: Shape) -> str:
    """`(B, 3)` as text."""
    inner = ", ".join(str(dim) for dim in shape)
    return f"({inner},)" if len(shape) == 1 else f"({inner})"


def same_dim(a: Dim, b: Dim) -> bool:
    """Whether two sizes are surely equal."""
    return a is b if isinstance(a, Masked) or isinstance(b, Masked) else a == b


def same_shape(a: Shape, b: Shape) -> bool:
    """Whether two shapes are surely equal."""
    return len(a) == len(b) and all(map(same_dim, a, b))


def broadcast(*shapes: Shape) -> Shape | None:
    """The broadcast of shapes, or None where they do not fit."""
    result: list[Dim] = []
    for dims in itertools.zip_longest(*(reversed(shape) for shape in shapes), fillvalue=1):
        size: Dim = 1
        for dim in dims:
            if isinstance(dim, int) and dim == 1:
                continue
            if isinstance(size, int) and size == 1:
                size = dim
            elif not same_dim(size, dim):
                return None
        result.append(size)
    return tuple(reversed(result))


def num_elements(shape: Shape) -> int:
    """Elements of one sample: batch and mask axes count as the rows of one sample."""
    return math.prod(static_size(dim) for dim in shape)


def static_size(dim: Dim) -> int:
    """A size at B = 1."""
    if isinstance(dim, Masked):
        return static_size(dim.full)
    return dim.factor if isinstance(dim, Batch) else dim


def product(dims: Shape) -> tuple[int, int, tuple[Masked, ...]]:
    """A product of sizes as (static factor, power of B, masked axes)."""
    factor, power, masks = 1, 0, []
    for dim in dims:
        if isinstance(dim, Masked):
            masks.append(dim)
        elif isinstance(dim, Batch):
            factor, power = factor * dim.factor, power + 1
        else:
            factor *= dim
    return factor, power, tuple(masks)


def promote(*kinds: Kind) -> Kind:
    """The widest of the kinds."""
    return max(kinds, key=RANK.__getitem__)
