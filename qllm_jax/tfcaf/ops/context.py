"""What an operation's handler may ask and do: read its arguments, check axes, emit jnp.

Imports `values`, `code`, `limits` and `contract`. Made by the interpreter for each call; passed
to every handler as `ctx`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from collections.abc import Sequence as AnySequence
from typing import Any, TypeAlias

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf import limits
from qllm_jax.tfcaf.code import Code, words
from qllm_jax.tfcaf.contract import TranslationError
from qllm_jax.tfcaf.values import (
    JNP_DTYPE,
    Array,
    Batch,
    Dim,
    DType,
    Kind,
    Masked,
    Sequence,
    Shape,
    Static,
    Value,
    View,
    broadcast,
    describe,
    format_shape,
    num_elements,
    promote,
)

Int: TypeAlias = int  # the class below has methods of the plain names
Bool: TypeAlias = bool
Axes: TypeAlias = tuple[int, ...]


@dataclasses.dataclass(slots=True)
class OpCall:
    """One call of an operation.

    Attributes:
        run: The interpreter.
        dialect: Of the source.
        name: The operation as registered, such as "torch.sum" or ".sum".
        line: Of the source.
    """

    run: Any
    dialect: str
    name: str
    line: int | None

    # -- refusing ----------------------------------------------------------------------------------

    def refuse(self, rule: str, message: str, fix: str) -> TranslationError:
        """A refusal at this call; the handler raises it."""
        return TranslationError(rule, f"`{self.shown}`: {message}", fix, self.line)

    @property
    def shown(self) -> str:
        """The operation's name as the author knows it."""
        return self.name.lstrip("@").replace("torch.nn.functional.", "F.")

    @property
    def is_method(self) -> Bool:
        """Called as a method of its first argument."""
        return self.name.startswith(".")

    # -- reading arguments -------------------------------------------------------------------------

    def array(self, value: Value) -> Array:
        """An argument as an array; Python numbers and lists of them become arrays.

        Raises:
            TranslationError: Rule "type".
        """
        if isinstance(value, Array):
            if value.is_empty and self.name not in ("[]", "[]=", ".fill", ".zero", ".copy"):
                raise self.refuse(
                    "uninitialised",
                    "it reads an array that nothing was written to.",
                    "Start from `zeros`.",
                )
            if value.row_any and not self.run.single_row:
                raise self.mixes_batch("looks at a result that is already over the whole batch")
            return value if not value.wide or self.is_elementwise else self._flat(value)
        if isinstance(value, Static) and isinstance(value.value, bool | int | float):
            return Array((), kind_of(value.value), value.code, const=value.value, weak=True)
        if isinstance(value, Static) and isinstance(value.value, Batch):
            raise self.mixes_batch("computes with the batch size")
        if isinstance(value, Sequence) and value.items and self.dialect != "torch":
            return self.run.stack_display(value, self)
        raise self.refuse(
            "type", f"expected an array, received {describe(value)}.", "Pass an array."
        )

    @property
    def is_elementwise(self) -> Bool:
        """Whether the operation treats every element alike, in arrays of any layout."""
        return self.name.rsplit(".", 1)[-1] in _ELEMENTWISE

    def _flat(self, x: Array) -> Array:
        """Rows of a mask of several axes along one axis, as their shape says."""
        rest = ", ".join(str(dim) for dim in x.shape[1:])
        code = c.method(x.code, "reshape", [Code(f"-1, {rest}" if rest else "-1")], {})
        return dataclasses.replace(x, code=code, wide=False)

    def is_none(self, value: Value) -> Bool:
        """Whether an argument is None (given or by default)."""
        return isinstance(value, Static) and value.value is None

    def int(self, value: Value, what: str = "argument") -> Int:
        """A static integer argument."""
        if isinstance(value, Static) and type(value.value) is int:
            return value.value
        if isinstance(value, Array) and value.shape == () and type(value.const) is int:
            return value.const
        raise self.static_expected(value, what, "an integer")

    def bool(self, value: Value, what: str = "argument") -> Bool:
        """A static truth value argument."""
        if isinstance(value, Static) and isinstance(value.value, bool | int):
            return bool(value.value)
        raise self.static_expected(value, what, "True or False")

    def number(self, value: Value, what: str = "argument") -> float | Int:
        """A static number argument."""
        if isinstance(value, Static) and isinstance(value.value, bool | int | float):
            return value.value
        raise self.static_expected(value, what, "a number")

    def string(self, value: Value, what: str = "argument") -> str:
        """A static string argument."""
        if isinstance(value, Static) and isinstance(value.value, str):
            return value.value
        raise self.static_expected(value, what, "a string")

    def kind(self, value: Value) -> Kind | None:
        """A dtype argument; None where it is None."""
        if self.is_none(value):
            return None
        if isinstance(value, DType):
            return value.kind
        named = getattr(value, "name", None)  # the builtins float, int and bool are dtypes too
        if named in ("float", "int", "bool"):
            return named
        if isinstance(value, Static) and value.value in _DTYPE_NAMES:
            return _DTYPE_NAMES[value.value]
        raise self.static_expected(value, "dtype", "a dtype such as float32")

    def static_expected(self, value: Value, what: str, expected: str) -> TranslationError:
        """The refusal for an argument that must be known at translation."""
        return self.refuse(
            "static-argument",
            f"`{what}` must be {expected} that is known without the data; "
            f"received {describe(value)}.",
            "Pass a constant, or choose with `where`.",
        )

    def items(self, value: Value, what: str = "argument") -> list[Value]:
        """The items of a static list or tuple; a single value counts as one item."""
        if isinstance(value, Sequence):
            if value.of_batch:
                raise self.mixes_batch("takes one item per sample")
            return value.items
        return [value]

    def axis(self, x: Array, axis: Value, extra: Int = 0) -> Int:
        """A static axis of `x`, made non-negative; `extra` counts axes that are being added.

        Raises:
            TranslationError: Rule "axis": it is out of range.
        """
        number = self.int(axis, "axis")
        ndim = max(x.ndim + extra, 1)
        if not -ndim <= number < ndim:
            raise self.refuse(
                "axis",
                f"axis {number} is out of range for {describe(x)}.",
                f"Use an axis from {-ndim} to {ndim - 1}.",
            )
        return number % ndim

    def axes(self, x: Array, axis: Value) -> Axes:
        """Static axes of `x`: an int, a tuple, or None for all, made non-negative."""
        if self.is_none(axis) or (isinstance(axis, Sequence) and not axis.items):
            return tuple(range(x.ndim))
        found = tuple(self.axis(x, item) for item in self.items(axis))
        if len(set(found)) < len(found):
            raise self.refuse("axis", "an axis is named twice.", "Name each axis once.")
        return tuple(a for a in found if a < x.ndim)

    # -- the batch ---------------------------------------------------------------------------------

    def mixes_batch(self, what: str) -> TranslationError:
        """The refusal for what lets one sample of the batch see another."""
        return self.refuse(
            "mixes-batch",
            f"it {what}, so one sample would depend on the others of its batch.",
            "Work on each row by itself: reduce over the agent or feature axis (dim=1 or -1).",
        )

    def refuse_mixing(self, x: Array, axes: Iterable[Int]) -> None:
        """Refuse an operation along axes that are the batch, or rows picked by a mask."""
        for axis in axes:
            if axis < x.ndim and isinstance(x.shape[axis], Batch):
                raise self.mixes_batch("works along the batch axis")
            if axis < x.ndim and isinstance(x.shape[axis], Masked):
                raise self.dynamic_shape()

    def dynamic_shape(self) -> TranslationError:
        """The refusal for sizes that depend on the data."""
        return self.refuse(
            "dynamic-shape",
            "how many rows a mask selects is only known when the function runs.",
            "Keep all rows and use `where(mask, value, other)`.",
        )

    def fixed_size(self, x: Array, axis: Int) -> Int:
        """The size of an axis that is neither batch nor masked."""
        if axis >= x.ndim:
            raise self.refuse("axis", f"{describe(x)} has no axis.", "Add one with `[None]`.")
        self.refuse_mixing(x, [axis])
        size = x.shape[axis]
        assert isinstance(size, int)
        return size

    def iterates(self) -> TranslationError:
        """The refusal for what needs singular values or eigenvalues."""
        return self.refuse(
            "factorisation",
            "singular values, eigenvalues and QR come of iterations that may not end on a NaN, and "
            "have no gradient where two values are equal.",
            "Use the Frobenius norm, `det`, `inv` or `solve`, or sums over pairs.",
        )

    # -- results -----------------------------------------------------------------------------------

    def result(
        self,
        shape: AnySequence[Dim],
        dtype: Kind,
        code: Code,
        *sources: Value,
        grad: Bool | None = None,
    ) -> Array:
        """A new array; it depends on `agent_qs` where one of its sources does."""
        shape = tuple(shape)
        if num_elements(shape) > limits.MAX_ELEMENTS or len(shape) > limits.MAX_RANK:
            raise limits.too_big(f"An array of shape {format_shape(shape)} is too large", self.line)
        self.run.budget.text(len(code.text), self.line)
        if grad is None:
            grad = any(isinstance(s, Array) and s.grad for s in sources)
        made = Array(shape, dtype, code, grad and dtype == "float")
        made.wide = any(isinstance(s, Array) and s.wide for s in sources)
        return made

    def view(self, x: Array, shape: AnySequence[Dim], code: Code, view: View) -> Array:
        """An array that shares the memory of `x` (in torch and NumPy)."""
        made = self.result(shape, x.dtype, code, x)
        if self.dialect != "jnp":
            made.cell, made.path = x.cell, (*x.path, view)
            x.cell.shape = x.cell.shape if x.path else x.shape
        return made

    def pair(self, items: list[Value], names: tuple[str, ...]) -> Sequence:
        """A named tuple, such as (values, indices)."""
        return Sequence(items, "tuple", c.display([item.code for item in items], True), names)

    def tuple(self, items: AnySequence[Value]) -> Sequence:
        """A tuple of values."""
        return Sequence(list(items), "tuple", c.display([item.code for item in items], True))

    # -- emitting ----------------------------------------------------------------------------------

    def emit(self, x: Value, name: str, *args: Any, **kwargs: Any) -> Code:
        """`x.name(…)` where the author called a method, else `jnp.name(x, …)`.

        Arguments that are None or False are left out; they are jnp's defaults.
        """
        kept = {k: v for k, v in kwargs.items() if v is not None and v is not False}
        if self.is_method and name in _JNP_METHODS and isinstance(x, Array) and not x.weak:
            return c.method(x.code, name, list(args), kept)
        return c.call(f"jnp.{name}", [x, *args], kept)

    def call(self, function: str, *args: Any, **kwargs: Any) -> Code:
        """`function(…)`; arguments that are None or False are left out."""
        kept = {k: v for k, v in kwargs.items() if v is not None and v is not False}
        return c.call(function, list(args), kept)

    def helper(self, name: str, *args: Any, **kwargs: Any) -> Code:
        """A call of one of `prelude`'s helpers, which is then emitted above the function."""
        self.run.helpers.add(name)
        return self.call(name, *args, **kwargs)

    def spell_reduced(self, x: Array, axes: Axes, like: Value) -> Any:
        """Axes of a reduction: left out where it is over all of them."""
        if self.is_none(like) or (isinstance(like, Sequence) and not like.items):
            return None
        return like.code

    def cast(self, x: Array, kind: Kind) -> Array:
        """`x.astype(…)`, or `x` itself where it has that dtype."""
        if x.dtype == kind:
            return x
        if x.weak and isinstance(x.const, bool | int | float):
            return self._cast_number(x, kind)
        code = c.method(self.atom(x), "astype", [Code(JNP_DTYPE[kind])], {})
        return self.result(x.shape, kind, code, x)

    def _cast_number(self, x: Array, kind: Kind) -> Array:
        """A Python number as another kind of Python number."""
        number = {"float": float, "int": int, "bool": bool}[kind](x.const)
        is_literal = x.code.text.lstrip("-")[:1].isdigit() or x.code.text in ("True", "False")
        code = c.literal(number) if is_literal else c.call(kind, [x.code])
        return dataclasses.replace(x, dtype=kind, code=code, const=number)

    def atom(self, x: Array) -> Code:
        """Source on which methods and attributes exist: Python numbers become arrays."""
        is_number = x.const is not None and not isinstance(x.const, tuple) and x.shape == ()
        return c.call("jnp.asarray", [x.code]) if is_number or x.weak else x.code

    def broadcast(self, *arrays: Array) -> Shape:
        """The common shape of arrays.

        Raises:
            TranslationError: Rule "shape": they do not broadcast.
        """
        shape = broadcast(*(array.shape for array in arrays))
        if shape is None:
            shapes = " and ".join(format_shape(array.shape) for array in arrays)
            raise self.refuse(
                "shape",
                f"shapes {shapes} do not broadcast together.",
                "Add axes with `unsqueeze` or `[..., None]`, or reduce the right axis first.",
            )
        return shape

    def promote(self, *arrays: Array) -> Kind:
        """The dtype of a result of several arrays."""
        return promote(*(array.dtype for array in arrays))


_DTYPE_NAMES: dict[Any, Kind] = {
    **dict.fromkeys(("float32", "float64", "float", "float_"), "float"),
    **dict.fromkeys(("int32", "int64", "int", "long"), "int"),
    "bool": "bool",
}
_ELEMENTWISE = frozenset(
    words(
        "+ - * / // % ** < <= > >= == != & | ^ ~ []= in place add sub subtract mul multiply "
        "div divide true_divide floor_divide pow power remainder fmod neg negative abs "
        "absolute exp exp2 expm1 log log1p log2 log10 sqrt rsqrt square sin cos tan tanh sinh "
        "cosh sigmoid erf reciprocal sign floor ceil round trunc clamp clamp_min clamp_max "
        "clip relu leaky_relu elu gelu silu softplus softsign where maximum minimum eq ne lt "
        "le gt ge logical_and logical_or logical_not isnan isfinite isinf float double long "
        "int bool to astype type_as detach clone copy stop_gradient masked_fill nan_to_num "
        "lerp float32 int32"
    )
)
_JNP_METHODS = frozenset(
    words(
        "sum mean prod max min any all std var argmax argmin argsort cumsum cumprod clip dot "
        "repeat round flatten ravel reshape squeeze swapaxes transpose take diagonal astype "
        "sort"
    )
)


def kind_of(value: bool | int | float) -> Kind:
    """The dtype that a Python number has beside arrays."""
    return "bool" if isinstance(value, bool) else "int" if isinstance(value, int) else "float"
