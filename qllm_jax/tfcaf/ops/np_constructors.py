"""Arrays that NumPy and jnp make from numbers, shapes and lists; their constants and dtypes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf import limits
from qllm_jax.tfcaf.ops.context import OpCall
from qllm_jax.tfcaf.ops.np_shapes import sizes_of
from qllm_jax.tfcaf.ops.numpy_like import both, last_name
from qllm_jax.tfcaf.ops.registry import constant, dropped, dtype, op
from qllm_jax.tfcaf.values import (
    JNP_DTYPE,
    Array,
    Batch,
    Dropped,
    Kind,
    Sequence,
    Static,
    Value,
    static,
)

_KINDS: dict[str, Kind] = {
    **dict.fromkeys(
        ["float16", "float32", "float64", "float_", "double", "single", "half", "floating"], "float"
    ),
    **dict.fromkeys(
        ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "int_", "intp", "integer"],
        "int",
    ),
    **dict.fromkeys(("bool_", "bool"), "bool"),
}
_USUAL = ("float64", "float_", "double", "int64", "int_", "bool_")  # of NumPy's own arrays
for _module in ("np", "jnp"):
    for _name, _value in (("pi", math.pi), ("e", math.e), ("inf", math.inf), ("nan", math.nan)):
        constant(f"{_module}.{_name}", _value)
    constant(f"{_module}.newaxis", static(None))
    constant(f"{_module}.euler_gamma", 0.5772156649015329)
    for _name in ("ndarray", "generic", "number", "dtype", "typing"):
        dropped(f"{_module}.{_name}", f"the type {_name}")
    for _name, _kind in _KINDS.items():
        dtype(f"{_module}.{_name}", _kind, usual=_name in _USUAL or _module == "jnp")
dtype("jnp.bfloat16", "float")
for _name in ("Array", "typing.ArrayLike", "ShapeDtypeStruct"):
    dropped(f"jax.{_name}", f"the type {_name}")


def _typed(kind: Kind, dtype: Value) -> dict[str, Any]:
    """The `dtype=` to emit: none for float32, which is the default."""
    return {} if kind == "float" else {"dtype": c.Code(JNP_DTYPE[kind])}


@both("zeros ones empty", "shape, dtype=None, order!='C', *, device!=None, like!=None")
def filled(ctx: OpCall, shape: Value, dtype: Value) -> Value:
    """Zeros or ones; `empty` gives zeros, since it has no defined content."""
    kind = ctx.kind(dtype) or "float"
    name = last_name(ctx).replace("empty", "zeros")
    code = c.call(f"jnp.{name}", [shape.code], _typed(kind, dtype))
    return ctx.result(sizes_of(ctx, shape), kind, code)


@both("full", "shape, value|fill_value, dtype=None, order!='C', *, device!=None, like!=None")
@op("jnp", "lax.full", "shape, value|fill_value, dtype=None")
def full(ctx: OpCall, shape: Value, value: Value, dtype: Value) -> Value:
    """One value everywhere."""
    fill = ctx.array(value)
    kind = ctx.kind(dtype) or fill.dtype
    sizes = sizes_of(ctx, shape)
    options = {} if kind == fill.dtype else {"dtype": c.Code(JNP_DTYPE[kind])}
    ctx.broadcast(fill, ctx.result(sizes, kind, fill.code))
    return ctx.result(sizes, kind, c.call("jnp.full", [shape.code, fill], options), fill)


_LIKE = "x|a|prototype, dtype=None, order!='K', subok!=True, shape=None, *, device!=None"


@both("zeros_like ones_like empty_like", _LIKE)
def filled_like(ctx: OpCall, x: Value, dtype: Value, shape: Value) -> Value:
    """Zeros or ones of another array's shape and dtype."""
    x = ctx.array(x)
    kind = ctx.kind(dtype) or x.dtype
    sizes = x.shape if ctx.is_none(shape) else sizes_of(ctx, shape)
    options: dict[str, Any] = {} if kind == x.dtype else {"dtype": c.Code(JNP_DTYPE[kind])}
    if not ctx.is_none(shape):
        options["shape"] = shape.code
    name = last_name(ctx).replace("empty", "zeros")
    return ctx.result(sizes, kind, c.call(f"jnp.{name}", [x], options))


@both("full_like", "x|a, value|fill_value, dtype=None, order!='K', subok!=True, shape!=None")
@op("jnp", "lax.full_like", "x, value|fill_value, dtype=None, shape!=None")
def full_like(ctx: OpCall, x: Value, value: Value, dtype: Value) -> Value:
    """One value in another array's shape and dtype."""
    x, fill = ctx.array(x), ctx.array(value)
    kind = ctx.kind(dtype) or x.dtype
    options = {} if kind == x.dtype else {"dtype": c.Code(JNP_DTYPE[kind])}
    ctx.broadcast(fill, x)
    return ctx.result(x.shape, kind, c.call("jnp.full_like", [x, fill], options), fill)


@both("eye", "n|N, m|M=None, k=0, dtype=None, order!='C'")
@both("identity", "n, dtype=None, m=None, k=0")
@both("tri", "n|N, m|M=None, k=0, dtype=None")
def eye(ctx: OpCall, n: Value, m: Value, k: Value, dtype: Value) -> Value:
    """Ones on a diagonal, or on and below it."""
    rows = ctx.int(n, "N")
    columns = rows if ctx.is_none(m) else ctx.int(m, "M")
    kind = ctx.kind(dtype) or "float"
    given = [n.code] if ctx.is_none(m) else [n.code, m.code]
    options: dict[str, Any] = {"k": ctx.int(k)} if ctx.int(k) else {}
    name = last_name(ctx).replace("identity", "eye")
    code = c.call(f"jnp.{name}", given, options | _typed(kind, dtype))
    return ctx.result((rows, columns), kind, code)


@both("arange", "start, stop=None, step=None, dtype=None, *, device!=None, like!=None")
def arange(ctx: OpCall, start: Value, stop: Value, step: Value, dtype: Value) -> Value:
    """Evenly spaced numbers, by step; `arange(B)` counts the samples."""
    bounds = [value for value in (start, stop, step) if not ctx.is_none(value)]
    if len(bounds) == 1 and isinstance(start, Static) and isinstance(start.value, Batch):
        made = ctx.result((start.value,), "int", c.call("jnp.arange", [start.code]))
        made.is_rows = start.value.factor == 1
        return made
    numbers = [ctx.number(value, "arange") for value in bounds]
    floats = any(isinstance(number, float) for number in numbers)
    kind: Kind = ctx.kind(dtype) or ("float" if floats else "int")
    first, last = (0, numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[1])
    by = numbers[2] if len(numbers) > 2 else 1
    if by == 0 or not all(math.isfinite(number) for number in numbers):
        raise ctx.refuse("argument", "it never ends.", "Use finite bounds and a step.")
    size = max(0, math.ceil((last - first) / by))
    if size > limits.MAX_ELEMENTS:
        raise limits.too_big(f"A range of {size} numbers", ctx.line)
    options = {} if kind == ("float" if floats else "int") else {"dtype": c.Code(JNP_DTYPE[kind])}
    made = ctx.result((size,), kind, c.call("jnp.arange", [v.code for v in bounds], options))
    if size <= limits.MAX_ITEMS and kind == "int" and not floats:
        made.const = tuple(first + by * i for i in range(size))
    return made


@both(
    "linspace geomspace",
    "start, stop, num=50, endpoint=True, retstep!=False, dtype!=None, axis!=0",
)
@both("logspace", "start, stop, num=50, endpoint=True, base=10.0, dtype!=None, axis!=0")
def linspace(
    ctx: OpCall,
    start: Value,
    stop: Value,
    num: Value,
    endpoint: Value,
    base: Value | None = None,
) -> Value:
    """Evenly spaced numbers, by count; powers of the base with evenly spaced exponents."""
    low, high, size = ctx.array(start), ctx.array(stop), ctx.int(num, "num")
    if low.shape or high.shape:
        raise ctx.refuse("shape", "the bounds must be single numbers.", "Index them first.")
    if not 0 <= size <= limits.MAX_ELEMENTS:
        raise limits.too_big(f"A range of {size} numbers", ctx.line)
    options: dict[str, Any] = {} if ctx.bool(endpoint) else {"endpoint": False}
    if base is not None and ctx.number(base, "base") != 10:
        options["base"] = base.code
    given = [low, high, *([] if size == 50 else [num.code])]
    code = c.call(f"jnp.{last_name(ctx)}", given, options)
    return ctx.result((size,), "float", code, low, high)


@op("jnp", "lax.iota", "dtype, size")
def iota(ctx: OpCall, dtype: Value, size: Value) -> Value:
    """0, 1, … as an array of a dtype."""
    kind, count = ctx.kind(dtype) or "int", ctx.int(size, "size")
    options = {} if kind == "int" else {"dtype": c.Code(JNP_DTYPE[kind])}
    return ctx.result((count,), kind, c.call("jnp.arange", [size.code], options))


@both("array asarray", "x|a|object, dtype=None, *, copy=None, order!=None, ndmin!=0, subok!=False")
@both("ascontiguousarray asanyarray asfarray", "x|a, dtype=None, copy=None")
@both("float32 float64 float16 float_ double", "x=0.0, *, dtype=None, copy=None", force="float")
@both("int32 int64 int_ int8 uint8 int16", "x=0, *, dtype=None, copy=None", force="int")
@both("bool_", "x=False, *, dtype=None, copy=None", force="bool")
def array(ctx: OpCall, x: Value, dtype: Value, copy: Value, force: Kind | None = None) -> Value:
    """Numbers, lists and arrays as an array."""
    asked = force or ctx.kind(dtype)
    if isinstance(x, Sequence):
        made = ctx.run.stack_display(x, ctx)
        return made if asked in (None, made.dtype) else ctx.cast(made, asked)
    given = ctx.array(x)
    kind = asked or given.dtype
    if not isinstance(x, Array):  # a number
        options = {} if kind == given.dtype else {"dtype": c.Code(JNP_DTYPE[kind])}
        code = (
            c.call(f"jnp.{JNP_DTYPE[kind][4:]}", [x])
            if force
            else c.call("jnp.array", [x], options)
        )
        made = ctx.result((), kind, code)
        number = given.const
        made.const = float(number) if kind == "float" else int(number) if kind == "int" else number
        return made
    if last_name(ctx).startswith("as") and kind == given.dtype and not force:
        return given
    made = given if kind == given.dtype else ctx.cast(given, kind)
    return ctx.result(made.shape, made.dtype, made.code, given)


@both("meshgrid", "*arrays, indexing='xy', sparse!=False, copy!=True")
def meshgrid(ctx: OpCall, arrays: list[Value], indexing: Value) -> Value:
    """Coordinate arrays from coordinate vectors."""
    vectors = [ctx.array(a) for a in arrays]
    sizes = [ctx.fixed_size(v, 0) if v.ndim else 1 for v in vectors]
    if any(v.ndim > 1 for v in vectors):
        raise ctx.refuse("shape", "it takes vectors.", "Flatten them first.")
    order = ctx.string(indexing, "indexing")
    if order not in ("xy", "ij"):
        raise ctx.refuse("argument", "indexing is 'xy' or 'ij'.", "Use one of them.")
    shape = tuple(sizes)
    if order == "xy" and len(shape) > 1:
        shape = (shape[1], shape[0], *shape[2:])
    options = {"indexing": "ij"} if order == "ij" else {}
    code = c.call("jnp.meshgrid", list(vectors), options)
    items = [
        ctx.result(shape, v.dtype, c.subscript(code, str(i)), v) for i, v in enumerate(vectors)
    ]
    return Sequence(list(items), "list", code)


@both("indices", "dimensions, dtype!=None, sparse!=False")
def indices(ctx: OpCall, dimensions: Value) -> Value:
    """The index of every place of a grid."""
    sizes = sizes_of(ctx, dimensions)
    code = c.call("jnp.indices", [dimensions.code])
    return ctx.result((len(sizes), *sizes), "int", code)


@both("triu_indices tril_indices", "n, k=0, m=None")
@both("diag_indices", "n, ndim!=2, k=0, m=None")
def triangle_indices(ctx: OpCall, n: Value, k: Value, m: Value) -> Value:
    """Row and column numbers of a triangle or diagonal, as constants."""
    rows = ctx.int(n, "n")
    columns = rows if ctx.is_none(m) else ctx.int(m, "m")
    if not 0 <= rows * columns <= limits.MAX_ITEMS:
        raise limits.too_big("So many indices", ctx.line)
    name, offset = last_name(ctx), ctx.int(k, "k")
    found = {
        "triu_indices": lambda: np.triu_indices(rows, offset, columns),
        "tril_indices": lambda: np.tril_indices(rows, offset, columns),
        "diag_indices": lambda: np.diag_indices(rows),
    }[name]()
    given = [n.code] + ([c.literal(offset)] if offset or columns != rows else [])
    given += [m.code] if columns != rows else []
    code = c.call(f"jnp.{name}", given)
    items: list[Value] = []
    for axis, numbers in enumerate(found):
        made = ctx.result((len(numbers),), "int", c.subscript(code, str(axis)))
        made.const = tuple(int(i) for i in numbers)
        items.append(made)
    return Sequence(items, "tuple", code)


@both("finfo iinfo", "kind")
@op("torch", "torch.finfo torch.iinfo", "kind|type")
def machine_limits(ctx: OpCall, kind: Value) -> Value:
    """`finfo(float32).eps` and the like, as constants."""
    integral = last_name(ctx) == "iinfo"
    facts: Any = np.iinfo(np.int32) if integral else np.finfo(np.float32)
    names = ("max", "min") if integral else ("eps", "tiny", "max", "min")
    number = int if integral else float
    items: list[Value] = [static(number(getattr(facts, name))) for name in names]
    return Sequence(items, "tuple", c.display([item.code for item in items], True), names)


@op("numpy", "@flags @device", "x")
def meaningless(ctx: OpCall, x: Value) -> Value:
    """Where an array lives means nothing here."""
    return Dropped("a device")
