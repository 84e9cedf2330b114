"""Python's builtins and `math`, on static values; a few of them on arrays too."""

from __future__ import annotations

import ast
from typing import Any

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf import limits
from qllm_jax.tfcaf.code import Code
from qllm_jax.tfcaf.interpreter import branches, builtin_numbers, standard_library, statics
from qllm_jax.tfcaf.interpreter.builtin_numbers import Handler, code_of, expect, varying
from qllm_jax.tfcaf.interpreter.expressions import (
    binary,
    check_items,
    compare,
    plain,
    static_key,
    truth_array,
)
from qllm_jax.tfcaf.interpreter.forms import emittable, is_static, item_of, named, static_truth
from qllm_jax.tfcaf.interpreter.iteration import iterate, rows_of
from qllm_jax.tfcaf.interpreter.standard_library import items_of
from qllm_jax.tfcaf.interpreter.state import Run
from qllm_jax.tfcaf.values import (
    ROW,
    Array,
    Batch,
    Builtin,
    Dropped,
    Mapping,
    Masked,
    Sequence,
    SliceValue,
    Static,
    Value,
    describe,
    static,
)


def call_builtin(run: Run, name: str, args: list[Value], kwargs: dict[str, Value]) -> Value:
    """Call a builtin, or a function of `math`, `itertools`, `functools` or `operator`."""
    if name.startswith("math."):
        return builtin_numbers.call_math(run, name.removeprefix("math."), args, kwargs)
    handler = _HANDLERS.get(name)
    if handler is None:
        rule = "io" if name == "print" else "builtin"
        raise run.refuse(rule, f"`{name}()` is not allowed here.", "Leave it out.")
    return handler(run, args, kwargs)


def _len(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
    expect(run, "len", args, (1,))
    value = args[0]
    code = code_of("len", args)
    match value:
        case Sequence():
            if value.of_batch:
                return Static(Batch(), code)
            return Static(len(value.items), code) if emittable(value) else static(len(value.items))
        case Mapping():
            count = len(value.entries)
            return Static(count, code) if emittable(value) else static(count)
        case Array() if value.shape:
            size = value.shape[0]
            if isinstance(size, Masked):
                raise run.context("len").dynamic_shape()
            return Static(size, code)
    raise run.refuse("type", f"`len` of {describe(value)}.", "Take it of a list or an array.")


def _range(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
    expect(run, "range", args, (1, 2, 3))
    code = code_of("range", args)
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
    return Sequence(items, "range", code, varying=varying(args))


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


def _rows(run: Run, value: Value) -> Sequence | None:
    """The samples of a batched array or list; None where it is neither."""
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
        return _over_batch(parts, code_of("zip", args), "zip")
    columns = [items_of(run, arg, "zip") for arg in args]
    rows: list[Value] = [
        Sequence(list(row), "tuple", c.display([v.code for v in row], True))
        for row in zip(*columns, strict=False)
    ]
    return Sequence(rows, "zip", code_of("zip", args))


def _enumerate(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
    expect(run, "enumerate", args, (1, 2))
    samples = _rows(run, args[0])
    if samples is not None and len(args) == 1 and not kwargs:
        numbers = Sequence([Static(ROW, Code("0"))], "range", Code("0"))
        return _over_batch([numbers, samples], code_of("enumerate", args), "enumerate")
    start = plain(run, kwargs["start"]) if "start" in kwargs else 0
    start = plain(run, args[1]) if len(args) == 2 else start
    rows: list[Value] = []
    for index, item in enumerate(items_of(run, args[0], "enumerate"), start):
        number = static(index)
        rows.append(Sequence([number, item], "tuple", c.display([number.code, item.code], True)))
    return Sequence(rows, "enumerate", code_of("enumerate", args, kwargs))


def _reversed(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
    expect(run, "reversed", args, (1,))
    items = items_of(run, args[0], "reversed")
    return Sequence(items[::-1], "reversed", code_of("reversed", args))


def sorted_items(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Sequence:
    """`sorted` by static values, or by a key that gives static values."""
    expect(run, "sorted", args, (1,))
    items = items_of(run, args[0], "sorted")
    key = kwargs.get("key")
    by = items if key is None else [standard_library.call_value(run, key, [i]) for i in items]
    if any(not is_static(item) for item in by):
        raise run.refuse("static-argument", "`sorted` of data.", "Use the library's sort.")
    reverse = "reverse" in kwargs and static_truth(run, kwargs["reverse"])
    values = [plain(run, item) for item in by]
    try:
        order = sorted(range(len(items)), key=values.__getitem__, reverse=reverse)
    except TypeError as error:
        raise run.refuse("static-error", f"`sorted` fails: {error}.", "Check it.") from None
    return standard_library.written_out(run, [items[i] for i in order])


def _make_list(kind: str) -> Handler:
    def handler(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
        expect(run, kind, args, (0, 1))
        if not args:
            return Sequence([], kind, Code("[]" if kind == "list" else "()"))
        items = items_of(run, args[0], kind)
        check_items(run, len(items))
        written = isinstance(args[0], Sequence) and args[0].code.text[0] == "["
        code = args[0].code if written and kind == "list" else code_of(kind, args)
        return Sequence(items, kind, code)

    return handler


def _dict(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
    entries: dict[Any, Value] = {}
    for argument in args[:1]:
        if isinstance(argument, Mapping):
            entries.update(argument.entries)
            continue
        for item in items_of(run, argument, "dict"):
            if not isinstance(item, Sequence) or len(item.items) != 2:
                raise run.refuse("type", "`dict` needs pairs.", "Write `{key: value}`.")
            entries[static_key(run, item_of(item, 0))] = item_of(item, 1)
    entries.update(kwargs)
    made = Mapping(entries, code_of("dict", args, kwargs))
    return made if emittable(made) else Mapping(entries, Code("{}"))  # only looked into


def sum_of(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
    """`sum(items, start)`."""
    expect(run, "sum", args, (1, 2))
    total: Value = args[1] if len(args) == 2 else kwargs.get("start", static(0))
    items = items_of(run, args[0], "sum")
    for item in items:
        total = binary(run, ast.Add, total, item)
        total = named(total, Code("total"))
    code = code_of("sum", args, kwargs)
    if isinstance(total, Static):
        return Static(total.value, code, varying(items))
    return named(total, code)


def _extreme(name: str) -> Handler:
    """`min` and `max` of static numbers, or of single numbers of the data."""

    def handler(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
        if kwargs and set(kwargs) == {"key"} and len(args) == 1:
            reverse = {"reverse": static(True)} if name == "max" else {}
            ordered = sorted_items(run, args, {**kwargs, **reverse})
            if isinstance(ordered, Sequence) and ordered.items:
                return ordered.items[0]
        if kwargs:
            raise run.refuse("argument", f"`{name}` with keywords.", "Use plain numbers.")
        items = args if len(args) > 1 else items_of(run, args[0], name) if args else []
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
            return Static(value, code_of(name, args), varying(items))
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
        expect(run, name, args, (1,))
        items = items_of(run, args[0], name)
        if all(is_static(item) for item in items):
            found = [static_truth(run, item) for item in items]
            value = any(found) if name == "any" else all(found)
            return Static(value, code_of(name, args), varying(items))
        ctx = run.context(name)
        tests = [truth_array(run, ctx.array(item)) for item in items]
        code = tests[0].code
        for test in tests[1:]:
            code = c.call(
                "jnp.logical_or" if name == "any" else "jnp.logical_and", [code, test.code]
            )
        return Array((), "bool", code, row_any=any(t.row_any for t in tests))

    return handler


def _isinstance(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
    expect(run, "isinstance", args, (2,))
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
    expect(run, "pow", args, (2,))
    return binary(run, ast.Pow, args[0], args[1])


def _slice(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
    expect(run, "slice", args, (1, 2, 3))
    if len(args) == 1:
        args = [static(None), *args]
    parts = [None if isinstance(a, Static) and a.value is None else a for a in args]
    parts += [None] * (3 - len(parts))
    texts = [p.code.within(c.TERNARY) if p is not None else "" for p in parts]
    text = f"{texts[0]}:{texts[1]}" + (f":{texts[2]}" if texts[2] else "")
    return SliceValue(parts[0], parts[1], parts[2], Code(text))


def _filter(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
    expect(run, "filter", args, (2,))
    kept = []
    for item in items_of(run, args[1], "filter"):
        test = standard_library.call_value(run, args[0], [item])
        if isinstance(test, Array):
            raise run.refuse(
                "dynamic-shape", "`filter` is decided by data.", "Keep all items and use `where`."
            )
        kept += [item] if static_truth(run, test) else []
    return standard_library.written_out(run, kept)


def _divmod(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
    expect(run, "divmod", args, (2,))
    pair: list[Value] = [binary(run, op, args[0], args[1]) for op in (ast.FloorDiv, ast.Mod)]
    return Sequence(pair, "tuple", c.display([item.code for item in pair], True))


_HANDLERS: dict[str, Handler] = {
    "len": _len,
    "range": _range,
    "zip": _zip,
    "enumerate": _enumerate,
    "reversed": _reversed,
    "sorted": sorted_items,
    "list": _make_list("list"),
    "tuple": _make_list("tuple"),
    "dict": _dict,
    "sum": sum_of,
    "min": _extreme("min"),
    "max": _extreme("max"),
    "any": _any_all("any"),
    "all": _any_all("all"),
    "abs": builtin_numbers.absolute,
    "round": builtin_numbers.rounded,
    "float": builtin_numbers.cast(float),
    "int": builtin_numbers.cast(int),
    "bool": builtin_numbers.cast(bool),
    "isinstance": _isinstance,
    "pow": _pow,
    "slice": _slice,
    "map": standard_library.map_items,
    "filter": _filter,
    "divmod": _divmod,
    **standard_library.LIBRARY,
}
