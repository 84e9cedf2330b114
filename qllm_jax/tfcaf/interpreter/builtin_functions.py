"""Python's builtins and `math`, on static values; a few of them on arrays too."""

from __future__ import annotations

import ast
import dataclasses
import math
from collections.abc import Callable
from typing import Any

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf import limits
from qllm_jax.tfcaf.code import Code, words
from qllm_jax.tfcaf.interpreter import branches, statics
from qllm_jax.tfcaf.interpreter.expressions import binary, check_items, compare, plain
from qllm_jax.tfcaf.interpreter.state import Run, is_static, item_of, named, static_truth
from qllm_jax.tfcaf.ops import registry
from qllm_jax.tfcaf.values import (
    ROW,
    Array,
    Batch,
    Builtin,
    Dropped,
    Mapping,
    Masked,
    Sequence,
    Static,
    Value,
    describe,
    static,
)

_MATH = frozenset(
    words(
        "sqrt exp log log2 log10 log1p expm1 sin cos tan asin acos atan atan2 sinh cosh tanh "
        "pow floor ceil trunc fabs hypot copysign erf isnan isinf isfinite degrees radians "
        "prod comb factorial gcd isclose fmod dist fsum perm cbrt"
    )
)
Handler = Callable[[Run, list[Value], dict[str, Value]], Value]


def call_builtin(run: Run, name: str, args: list[Value], kwargs: dict[str, Value]) -> Value:
    """Call a builtin or a function of `math`."""
    if name.startswith("math."):
        return _call_math(run, name.removeprefix("math."), args, kwargs)
    handler = _HANDLERS.get(name)
    if handler is None:
        rule = "io" if name == "print" else "builtin"
        raise run.refuse(rule, f"`{name}()` is not allowed here.", "Leave it out.")
    return handler(run, args, kwargs)


def _code(name: str, args: list[Value], kwargs: dict[str, Value] | None = None) -> Code:
    return c.call(name, list(args), dict(kwargs or {}))


def _varying(values: list[Value]) -> bool:
    return any(isinstance(v, Static | Sequence) and v.varying for v in values)


def _expect(run: Run, name: str, args: list[Value], counts: tuple[int, ...]) -> None:
    if len(args) not in counts:
        raise run.refuse("argument", f"`{name}()` got {len(args)} arguments.", "Check the call.")


def _call_math(run: Run, name: str, args: list[Value], kwargs: dict[str, Value]) -> Value:
    if any(isinstance(arg, Array) and arg.const is None for arg in args):
        return _math_on_array(run, name, args)
    if name not in _MATH or kwargs:
        raise run.refuse("unknown-operation", f"`math.{name}` is not known.", "Use torch or jnp.")
    values = [plain(run, arg) for arg in args]
    if any(isinstance(value, Batch) for value in values):
        raise run.refuse(
            "mixes-batch", "The batch size enters a computation.", "Use it only as a shape."
        )
    if name in ("factorial", "comb", "perm", "pow") and any(abs(v) > 64 for v in values):
        raise limits.too_big("A static number grows too large", run.line)
    try:
        result = getattr(math, name)(*values)  # a name of `_MATH` only
    except (ValueError, TypeError, ArithmeticError) as error:
        raise run.refuse("static-error", f"`math.{name}` fails: {error}.", "Check it.") from None
    result = statics.checked(run, result)
    return Static(result, c.literal(result), _varying(args))


def _math_on_array(run: Run, name: str, args: list[Value]) -> Value:
    """`math.sqrt(x)` on one number of the data: the array library's function of that name."""
    prefix = {"torch": "torch", "numpy": "numpy", "jnp": "jax.numpy"}[run.dialect]
    operation = registry.lookup(run.dialect, f"{prefix}.{name}")
    arrays = [a for a in args if isinstance(a, Array)]
    plain_numbers = all(a.shape == () and a.weak for a in arrays)
    if operation is None or not (plain_numbers or run.dialect == "numpy"):
        raise run.refuse(
            "math-on-array",
            f"`math.{name}` takes a Python number, not {describe(arrays[0])}.",
            f"Use the array function `{prefix}.{name}`.",
        )
    from qllm_jax.tfcaf.interpreter.calls import call_operation

    return call_operation(run, operation, args, {})


def _len(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
    _expect(run, "len", args, (1,))
    value = args[0]
    code = _code("len", args)
    match value:
        case Sequence():
            if value.of_batch:
                return Static(Batch(), code)
            return Static(len(value.items), code)
        case Mapping():
            return Static(len(value.entries), code)
        case Array() if value.shape:
            size = value.shape[0]
            if isinstance(size, Masked):
                raise run.context("len").dynamic_shape()
            return Static(size, code)
    raise run.refuse("type", f"`len` of {describe(value)}.", "Take it of a list or an array.")


def _range(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
    _expect(run, "range", args, (1, 2, 3))
    code = _code("range", args)
    numbers = []
    for arg in args:
        if isinstance(arg, Static) and isinstance(arg.value, Batch):
            return _batch_range(run, args, code)
        if isinstance(arg, Array) and type(arg.const) is int:
            numbers.append(arg.const)
        elif isinstance(arg, Static) and type(arg.value) is int:
            numbers.append(arg.value)
        else:
            raise run.refuse(
                "dynamic-loop",
                f"A loop over `range` of {describe(arg)}.",
                "Loop over a fixed number, such as the number of agents.",
            )
    if len(numbers) == 3 and numbers[2] == 0:
        raise run.refuse("static-error", "`range` with step zero.", "Use another step.")
    try:
        count = len(range(*numbers))
    except OverflowError:
        count = limits.MAX_ITERATIONS + 1
    if count > limits.MAX_ITERATIONS:
        raise limits.too_big(f"A loop over {code.text} is too long", run.line)
    run.budget.step(run.line, count // 8)
    items: list[Value] = [static(i) for i in range(*numbers)]
    return Sequence(items, "range", code, varying=_varying(args))


def _batch_range(run: Run, args: list[Value], code: Code) -> Value:
    """`range(batch_size)`: one pass stands for every sample."""
    starts_at_zero = len(args) == 1 or (
        len(args) == 2 and isinstance(args[0], Static) and args[0].value == 0
    )
    last = args[-1]
    one_each = isinstance(last, Static) and last.value == Batch()
    if not starts_at_zero or not one_each:
        raise run.refuse(
            "mixes-batch", "A loop takes some samples of the batch only.", "Treat all alike."
        )
    return Sequence([Static(ROW, Code("0"))], "range", code, of_batch=True)


def _items(run: Run, value: Value, what: str) -> list[Value]:
    """What iterating gives, with the code of each item."""
    from qllm_jax.tfcaf.interpreter.loops import iterate

    sequence = iterate(run, value)
    if sequence.of_batch:
        raise run.refuse(
            "mixes-batch", f"`{what}` goes over the samples of the batch.", "Treat all alike."
        )
    return [item_of(sequence, i) for i in range(len(sequence.items))]


def _rows(run: Run, value: Value) -> Sequence | None:
    """The samples of a batched array or list; None where it is neither."""
    from qllm_jax.tfcaf.interpreter.batch_loops import rows_of

    if isinstance(value, Array) and value.shape[:1] == (Batch(),):
        return rows_of(run, value)
    return value if isinstance(value, Sequence) and value.of_batch else None


def _over_batch(parts: list[Sequence], code: Code, kind: str) -> Sequence:
    """One tuple that stands for those of all samples."""
    items = [part.items[0] for part in parts]
    row = Sequence(list(items), "tuple", c.display([item.code for item in items], True))
    return Sequence([row], kind, code, of_batch=True)


def _zip(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
    rows_or_none = [_rows(run, arg) for arg in args]
    parts = [part for part in rows_or_none if part is not None]
    if args and len(parts) == len(args):
        return _over_batch(parts, _code("zip", args), "zip")
    columns = [_items(run, arg, "zip") for arg in args]
    rows: list[Value] = [
        Sequence(list(row), "tuple", c.display([v.code for v in row], True))
        for row in zip(*columns, strict=False)
    ]
    return Sequence(rows, "zip", _code("zip", args))


def _enumerate(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
    _expect(run, "enumerate", args, (1, 2))
    samples = _rows(run, args[0])
    if samples is not None and len(args) == 1 and not kwargs:
        numbers = Sequence([Static(ROW, Code("0"))], "range", Code("0"))
        return _over_batch([numbers, samples], _code("enumerate", args), "enumerate")
    start = plain(run, kwargs["start"]) if "start" in kwargs else 0
    start = plain(run, args[1]) if len(args) == 2 else start
    rows: list[Value] = []
    for index, item in enumerate(_items(run, args[0], "enumerate"), start):
        number = static(index)
        rows.append(Sequence([number, item], "tuple", c.display([number.code, item.code], True)))
    return Sequence(rows, "enumerate", _code("enumerate", args, kwargs))


def _reversed(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
    _expect(run, "reversed", args, (1,))
    items = _items(run, args[0], "reversed")
    return Sequence(items[::-1], "reversed", _code("reversed", args))


def _sorted(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
    _expect(run, "sorted", args, (1,))
    if "key" in kwargs or any(not is_static(item) for item in _items(run, args[0], "sorted")):
        raise run.refuse("static-argument", "`sorted` of data.", "Use the library's sort.")
    reverse = "reverse" in kwargs and static_truth(run, kwargs["reverse"])
    values = [plain(run, item) for item in _items(run, args[0], "sorted")]
    try:
        ordered = sorted(values, reverse=reverse)
    except TypeError as error:
        raise run.refuse("static-error", f"`sorted` fails: {error}.", "Check it.") from None
    return Sequence([_as_value(v) for v in ordered], "list", _code("sorted", args, kwargs))


def _as_value(value: Any) -> Value:
    if isinstance(value, tuple | list):
        items = [_as_value(v) for v in value]
        is_tuple = isinstance(value, tuple)
        code = c.display([i.code for i in items], is_tuple)
        return Sequence(items, "tuple" if is_tuple else "list", code)
    return static(value)


def _make_list(kind: str) -> Handler:
    def handler(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
        _expect(run, kind, args, (0, 1))
        if not args:
            return Sequence([], kind, Code("[]" if kind == "list" else "()"))
        items = _items(run, args[0], kind)
        check_items(run, len(items))
        code = _code(kind, args)
        return Sequence(items, kind, code)

    return handler


def _dict(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
    from qllm_jax.tfcaf.interpreter.expressions import static_key

    entries: dict[Any, Value] = {}
    for argument in args[:1]:
        if isinstance(argument, Mapping):
            entries.update(argument.entries)
            continue
        for item in _items(run, argument, "dict"):
            if not isinstance(item, Sequence) or len(item.items) != 2:
                raise run.refuse("type", "`dict` needs pairs.", "Write `{key: value}`.")
            entries[static_key(run, item_of(item, 0))] = item_of(item, 1)
    entries.update(kwargs)
    return Mapping(entries, _code("dict", args, kwargs))


def _sum(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
    _expect(run, "sum", args, (1, 2))
    total: Value = args[1] if len(args) == 2 else kwargs.get("start", static(0))
    items = _items(run, args[0], "sum")
    for item in items:
        total = binary(run, ast.Add, total, item)
        total = named(total, Code("total"))
    code = _code("sum", args, kwargs)
    if isinstance(total, Static):
        return Static(total.value, code, _varying(items))
    return named(total, code)


def _extreme(name: str) -> Handler:
    """`min` and `max` of static numbers, or of single numbers of the data."""

    def handler(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
        from qllm_jax.tfcaf.interpreter.loops import iterate

        if kwargs:
            raise run.refuse("argument", f"`{name}` with keywords.", "Use plain numbers.")
        items = args if len(args) > 1 else _items(run, args[0], name) if args else []
        if not items:
            raise run.refuse("static-error", f"`{name}` of nothing.", "Give it numbers.")
        op = ast.Gt if name == "max" else ast.Lt
        if all(is_static(item) for item in items):
            best = items[0]
            for item in items[1:]:
                left, right = plain(run, item), plain(run, best)
                if (
                    name == "max" and isinstance(right, int) and isinstance(left, Batch)
                ) or statics.compare(run, op, left, right):
                    best = item
            value = plain(run, best)
            return Static(value, _code(name, args), _varying(items))
        if len(args) == 1 and isinstance(args[0], Array):
            iterate(run, args[0])
        best = items[0]
        for item in items[1:]:
            test = compare(run, op, item, best)
            if isinstance(test, Array) and test.shape != ():
                raise run.refuse(
                    "ambiguous-condition",
                    f"`{name}` of arrays compares them as wholes.",
                    f"Use `{name}imum` elementwise, or stack them and reduce.",
                )
            assert isinstance(test, Array)
            best = branches.choose(run, test, item, best)
        return best

    return handler


def _any_all(name: str) -> Handler:
    def handler(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
        _expect(run, name, args, (1,))
        items = _items(run, args[0], name)
        if all(is_static(item) for item in items):
            found = [static_truth(run, item) for item in items]
            value = any(found) if name == "any" else all(found)
            return Static(value, _code(name, args), _varying(items))
        from qllm_jax.tfcaf.interpreter.expressions import truth_array

        ctx = run.context(name)
        tests = [truth_array(run, ctx.array(item)) for item in items]
        code = tests[0].code
        for test in tests[1:]:
            code = c.call(
                "jnp.logical_or" if name == "any" else "jnp.logical_and", [code, test.code]
            )
        return Array((), "bool", code, row_any=any(t.row_any for t in tests))

    return handler


def _abs(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
    _expect(run, "abs", args, (1,))
    value = args[0]
    if isinstance(value, Static) and isinstance(value.value, bool | int | float):
        return Static(abs(value.value), _code("abs", args), value.varying)
    from qllm_jax.tfcaf.interpreter.calls import call_operation

    prefix = {"torch": "torch", "numpy": "numpy", "jnp": "jax.numpy"}[run.dialect]
    operation = registry.lookup(run.dialect, f"{prefix}.abs")
    assert operation is not None
    return call_operation(run, operation, args, {})


def _round(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
    values = [plain(run, a) for a in args if is_static(a)]
    if len(values) == len(args) and all(isinstance(v, int | float) for v in values):
        return Static(round(*values), _code("round", args), _varying(args))
    ctx = run.context("round")
    x = ctx.array(args[0])
    if x.shape != ():
        raise run.refuse("type", "`round` of an array.", "Use the library's round.")
    rounded = ctx.result((), "float", c.call("jnp.round", [x.code]), x)
    return ctx.cast(rounded, "int") if len(args) == 1 else rounded


def cast_static(run: Run, cast: type, value: Static) -> Static:
    """`float(n)` of a static number, within bounds."""
    if isinstance(value.value, Batch):
        if cast is int:
            return value
        raise run.refuse(
            "mixes-batch",
            "The batch size enters a computation, so q_tot would depend on how many samples "
            "there are.",
            "Use the batch size only as a shape.",
        )
    if isinstance(value.value, str) and cast is float and value.value.strip("+-") in ("inf", "nan"):
        return static(float(value.value))
    if not isinstance(value.value, bool | int | float):
        raise run.refuse("type", f"`{cast.__name__}` of {describe(value)}.", "Use a number.")
    try:
        made = cast(value.value)
    except (ValueError, OverflowError) as error:
        raise run.refuse("static-error", f"{error}.", "Check the number.") from None
    return Static(statics.checked(run, made), c.call(cast.__name__, [value]), value.varying)


def _cast(cast: type) -> Handler:
    """`float(x)`, `int(x)`, `bool(x)` of a static number or of one number of the data."""

    def handler(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
        _expect(run, cast.__name__, args, (0, 1))
        if not args:
            return static(cast())
        value = args[0]
        if cast is bool and is_static(value) and not isinstance(value, Static):
            return static(static_truth(run, value))
        if isinstance(value, Static):
            return cast_static(run, cast, value)
        if cast is bool and isinstance(value, Array):
            from qllm_jax.tfcaf.interpreter.expressions import truth_array

            return truth_array(run, value)
        return as_python_number(run, run.context(cast.__name__).array(value), cast.__name__)

    return handler


def as_python_number(run: Run, x: Array, kind: str | None) -> Value:
    """`x.item()`: one number, cut off from the gradient as Python numbers are."""
    ctx = run.context("item")
    if type(x.const) in (int, float, bool) and x.shape == ():
        return static(x.const)
    if any(isinstance(dim, Batch) for dim in x.shape):
        raise ctx.mixes_batch("takes one number out of the whole batch")
    if any(dim != 1 for dim in x.shape):
        raise ctx.refuse("type", f"{describe(x)} is not one number.", "Reduce it first.")
    code = x.code if not x.shape else c.method(x.code, "reshape", [()], {})
    if x.grad and run.dialect != "jnp":
        code = c.call("jax.lax.stop_gradient", [code])
    made = ctx.result((), x.dtype, code, x, grad=x.grad and run.dialect == "jnp")
    if kind in ("int", "float") and made.dtype != kind:
        made = ctx.cast(made, kind)  # type: ignore[arg-type]
    return dataclasses.replace(made, weak=run.dialect != "jnp")


def _isinstance(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
    _expect(run, "isinstance", args, (2,))
    value, kinds = args
    wanted = kinds.items if isinstance(kinds, Sequence) else [kinds]
    return Static(any(_is_kind(run, value, kind) for kind in wanted), Code("True"))


def _is_kind(run: Run, value: Value, kind: Value) -> bool:
    if isinstance(kind, Builtin):
        if isinstance(value, Static):
            types = {"float": float, "int": int, "bool": bool, "str": str}
            return kind.name in types and isinstance(value.value, types[kind.name])
        if isinstance(value, Sequence):
            return kind.name == value.kind
        return kind.name == "dict" and isinstance(value, Mapping)
    if isinstance(kind, Dropped) and "type" in kind.what:
        return isinstance(value, Array)
    raise run.refuse("static-argument", "This `isinstance` cannot be decided.", "Leave it out.")


def _pow(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
    _expect(run, "pow", args, (2,))
    return binary(run, ast.Pow, args[0], args[1])


def _slice(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
    from qllm_jax.tfcaf.values import SliceValue

    _expect(run, "slice", args, (1, 2, 3))
    if len(args) == 1:
        args = [static(None), *args]
    parts = [None if isinstance(a, Static) and a.value is None else a for a in args]
    parts += [None] * (3 - len(parts))
    texts = [p.code.within(c.TERNARY) if p is not None else "" for p in parts]
    text = f"{texts[0]}:{texts[1]}" + (f":{texts[2]}" if texts[2] else "")
    return SliceValue(parts[0], parts[1], parts[2], Code(text))


_HANDLERS: dict[str, Handler] = {
    "len": _len,
    "range": _range,
    "zip": _zip,
    "enumerate": _enumerate,
    "reversed": _reversed,
    "sorted": _sorted,
    "list": _make_list("list"),
    "tuple": _make_list("tuple"),
    "dict": _dict,
    "sum": _sum,
    "min": _extreme("min"),
    "max": _extreme("max"),
    "any": _any_all("any"),
    "all": _any_all("all"),
    "abs": _abs,
    "round": _round,
    "float": _cast(float),
    "int": _cast(int),
    "bool": _cast(bool),
    "isinstance": _isinstance,
    "pow": _pow,
    "slice": _slice,
}
