"""`itertools`, `functools`, `operator` and `collections`, on what is known at translation.

They order and combine static lists, whose items may be arrays; what they give is written out, so
that the emitted source needs none of them. Imports builtins' shared helpers; called through the
table of `builtin_functions`.
"""

from __future__ import annotations

import ast
import itertools
import math
from collections.abc import Callable, Iterable

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf import limits
from qllm_jax.tfcaf.code import Code
from qllm_jax.tfcaf.interpreter.builtin_numbers import Handler, expect
from qllm_jax.tfcaf.interpreter.expressions import binary, check_items, compare, plain, unary
from qllm_jax.tfcaf.interpreter.forms import item_of
from qllm_jax.tfcaf.interpreter.indexing import subscript
from qllm_jax.tfcaf.interpreter.iteration import iterate
from qllm_jax.tfcaf.interpreter.state import Run
from qllm_jax.tfcaf.values import Builtin, Mapping, Sequence, Static, Transformed, Value

MODULES = ("itertools", "functools", "operator", "collections")


def items_of(run: Run, value: Value, what: str) -> list[Value]:
    """What iterating over a value gives, with the code of each item.

    Raises:
        TranslationError: Rule "mixes-batch": it goes over the samples of the batch.
    """
    sequence = iterate(run, value)
    if sequence.of_batch:
        raise run.refuse(
            "mixes-batch", f"`{what}` goes over the samples of the batch.", "Treat all alike."
        )
    return [item_of(sequence, i) for i in range(len(sequence.items))]


def call_value(run: Run, function: Value, args: list[Value]) -> Value:
    """Call a value that was passed as a function."""
    from qllm_jax.tfcaf.interpreter.calls import call

    return call(run, function, args, {})


def written_out(run: Run, items: Iterable[Value]) -> Sequence:
    """A list of items, as its display."""
    found = list(items)
    check_items(run, len(found))
    return Sequence(found, "list", c.display([item.code for item in found], False))


def _tuples(run: Run, rows: Iterable[tuple[Value, ...]], count: int) -> Sequence:
    """A list of `count` tuples; refused before it is made where it is too long."""
    check_items(run, count)
    run.budget.step(run.line, count // 8)
    return written_out(
        run,
        [Sequence(list(r), "tuple", c.display([v.code for v in r], True)) for r in rows],
    )


def _no_keywords(run: Run, name: str, kwargs: dict[str, Value], *known: str) -> None:
    for key in kwargs:
        if key not in known:
            raise run.refuse("argument", f"`{name}` has no argument `{key}`.", "Check the call.")


def _length(run: Run, args: list[Value], kwargs: dict[str, Value], default: int) -> int:
    """The `r` of `combinations(items, r)`."""
    given = args[1] if len(args) == 2 else kwargs.get("r")
    if given is None or (isinstance(given, Static) and given.value is None):
        return default
    number = plain(run, given)
    if type(number) is not int or number < 0:
        raise run.refuse("static-error", "`r` is not a whole number ≥ 0.", "Use a small number.")
    return number


def _choosing(
    name: str, make: Callable[..., Iterable[tuple[Value, ...]]], count: Callable[[int, int], int]
) -> Handler:
    """Tuples of r items: combinations or permutations, `count(n, r)` of them."""

    def handler(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
        expect(run, name, args, (1, 2))
        _no_keywords(run, name, kwargs, "r")
        items = items_of(run, args[0], name)
        length = _length(run, args, kwargs, len(items))
        if length > limits.MAX_ITEMS:
            raise limits.too_big(f"`{name}` gives tuples that are too long", run.line)
        return _tuples(run, make(items, length), count(len(items), length))

    return handler


def _product(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
    _no_keywords(run, "product", kwargs, "repeat")
    repeat = plain(run, kwargs["repeat"]) if "repeat" in kwargs else 1
    if type(repeat) is not int or not 0 <= repeat <= limits.MAX_RANK:
        raise run.refuse("static-error", "`repeat` is not a small number.", "Use 2 or 3.")
    columns = [items_of(run, arg, "product") for arg in args] * repeat
    count = math.prod(min(len(column), limits.MAX_ITEMS + 1) for column in columns)
    return _tuples(run, itertools.product(*columns), count)


def _chain(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
    _no_keywords(run, "chain", kwargs)
    return written_out(run, [item for arg in args for item in items_of(run, arg, "chain")])


def _chain_from_iterable(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
    expect(run, "chain.from_iterable", args, (1,))
    return _chain(run, items_of(run, args[0], "chain"), kwargs)


def _pairwise(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
    expect(run, "pairwise", args, (1,))
    items = items_of(run, args[0], "pairwise")
    return _tuples(run, itertools.pairwise(items), max(len(items) - 1, 0))


def _repeat(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
    expect(run, "repeat", args, (2,))
    times = plain(run, args[1])
    if type(times) is not int:
        raise run.refuse("static-error", "`repeat` needs how many times.", "Pass a number.")
    check_items(run, times)
    return written_out(run, [args[0]] * times)


def _islice(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
    expect(run, "islice", args, (2, 3, 4))
    items, bounds = items_of(run, args[0], "islice"), [plain(run, arg) for arg in args[1:]]
    try:
        return written_out(run, itertools.islice(items, *bounds))
    except (TypeError, ValueError) as error:
        raise run.refuse("static-error", f"`islice` fails: {error}.", "Check it.") from None


def _accumulate(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
    expect(run, "accumulate", args, (1, 2))
    _no_keywords(run, "accumulate", kwargs, "func", "initial")
    function = args[1] if len(args) == 2 else kwargs.get("func")
    items = items_of(run, args[0], "accumulate")
    if "initial" in kwargs:
        items = [kwargs["initial"], *items]
    made = items[:1]
    for item in items[1:]:
        pair = [made[-1], item]
        made.append(call_value(run, function, pair) if function else binary(run, ast.Add, *pair))
    return written_out(run, made)


def _reduce(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
    expect(run, "reduce", args, (2, 3))
    _no_keywords(run, "reduce", kwargs, "initial")
    items = items_of(run, args[1], "reduce")
    first = args[2] if len(args) == 3 else kwargs.get("initial")
    items = items if first is None else [first, *items]
    if not items:
        raise run.refuse("static-error", "`reduce` of nothing.", "Give it a start.")
    total = items[0]
    for item in items[1:]:
        total = call_value(run, args[0], [total, item])
    return total


def _partial(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
    if not args:
        raise run.refuse("argument", "`partial` of nothing.", "Give it a function.")
    function, *first = args

    def apply(run: Run, more: list[Value], later: dict[str, Value]) -> Value:
        from qllm_jax.tfcaf.interpreter.calls import call

        return call(run, function, [*first, *more], {**kwargs, **later})

    return Transformed(apply, c.call("partial", list(args), dict(kwargs)))


def map_items(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
    """`map(function, *lists)`, as a list."""
    if len(args) < 2:
        raise run.refuse("argument", "`map` needs a function and a list.", "Check the call.")
    _no_keywords(run, "map", kwargs)
    columns = [items_of(run, arg, "map") for arg in args[1:]]
    rows = zip(*columns, strict=False)
    return written_out(run, [call_value(run, args[0], list(row)) for row in rows])


def _starmap(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
    expect(run, "starmap", args, (2,))
    rows = [items_of(run, row, "starmap") for row in items_of(run, args[1], "starmap")]
    return written_out(run, [call_value(run, args[0], row) for row in rows])


def _binary_operator(name: str, op: type[ast.AST]) -> Handler:
    def handler(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
        expect(run, name, args, (2,))
        return binary(run, op, args[0], args[1])

    return handler


def _comparison(name: str, op: type[ast.AST]) -> Handler:
    def handler(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
        expect(run, name, args, (2,))
        return compare(run, op, args[0], args[1])

    return handler


def _negative(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
    expect(run, "neg", args, (1,))
    return unary(run, ast.USub, args[0])


def _itemgetter(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
    expect(run, "itemgetter", args, (1,))
    index = args[0]

    def apply(run: Run, given: list[Value], keywords: dict[str, Value]) -> Value:
        expect(run, "itemgetter()", given, (1,))
        return subscript(run, given[0], index)

    return Transformed(apply, Code("itemgetter"))


def _ordered_dict(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
    """A dict keeps its order."""
    from qllm_jax.tfcaf.interpreter.calls import call

    return call(run, Builtin("dict", Code("dict")), args, kwargs)


def _default_dict(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
    """An empty dict that makes what it does not hold."""
    expect(run, "defaultdict", args, (1,))
    _no_keywords(run, "defaultdict", kwargs)
    return Mapping({}, Code("{}"), default=args[0])


def _multichoose(n: int, r: int) -> int:
    return math.comb(n + r - 1, r) if n else int(r == 0)


_ARITHMETIC: dict[str, type[ast.AST]] = {
    "add": ast.Add,
    "sub": ast.Sub,
    "mul": ast.Mult,
    "truediv": ast.Div,
    "floordiv": ast.FloorDiv,
    "mod": ast.Mod,
    "pow": ast.Pow,
    "matmul": ast.MatMult,
    "and_": ast.BitAnd,
    "or_": ast.BitOr,
    "xor": ast.BitXor,
}
_COMPARISONS: dict[str, type[ast.AST]] = {
    "lt": ast.Lt,
    "le": ast.LtE,
    "gt": ast.Gt,
    "ge": ast.GtE,
    "eq": ast.Eq,
    "ne": ast.NotEq,
}
LIBRARY: dict[str, Handler] = {
    "itertools.combinations": _choosing("combinations", itertools.combinations, math.comb),
    "itertools.permutations": _choosing("permutations", itertools.permutations, math.perm),
    "itertools.combinations_with_replacement": _choosing(
        "combinations_with_replacement", itertools.combinations_with_replacement, _multichoose
    ),
    "itertools.product": _product,
    "itertools.chain": _chain,
    "itertools.chain.from_iterable": _chain_from_iterable,
    "itertools.pairwise": _pairwise,
    "itertools.repeat": _repeat,
    "itertools.islice": _islice,
    "itertools.accumulate": _accumulate,
    "itertools.starmap": _starmap,
    "functools.reduce": _reduce,
    "functools.partial": _partial,
    "collections.OrderedDict": _ordered_dict,
    "collections.defaultdict": _default_dict,
    "operator.neg": _negative,
    "operator.itemgetter": _itemgetter,
    **{f"operator.{name}": _binary_operator(name, op) for name, op in _ARITHMETIC.items()},
    **{f"operator.{name}": _comparison(name, op) for name, op in _COMPARISONS.items()},
}


def known(module: str) -> list[str]:
    """What is known of a module, by the names its users write."""
    return [name.removeprefix(f"{module}.") for name in LIBRARY if name.startswith(f"{module}.")]
