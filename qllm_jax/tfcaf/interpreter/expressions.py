"""How expressions are evaluated: names, constants, displays, operators, conditions, attributes.

Calls, subscripts and comprehensions have modules of their own. Fills `state.EXPRESSIONS`.
"""

from __future__ import annotations

import ast
from typing import Any

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf import limits
from qllm_jax.tfcaf.code import Code
from qllm_jax.tfcaf.contract import TranslationError
from qllm_jax.tfcaf.interpreter import statics
from qllm_jax.tfcaf.interpreter.definitions import make_function
from qllm_jax.tfcaf.interpreter.forms import is_static, item_of, named, static_truth
from qllm_jax.tfcaf.interpreter.state import Run, expression
from qllm_jax.tfcaf.ops import operators
from qllm_jax.tfcaf.values import (
    Array,
    Batch,
    Builtin,
    Dropped,
    DType,
    Function,
    Mapping,
    Operation,
    Sequence,
    SliceValue,
    Static,
    Value,
    describe,
    static,
)


@expression(ast.Constant)
def _constant(run: Run, node: ast.Constant) -> Value:
    return static_or_ellipsis(node.value)


def static_or_ellipsis(value: Any) -> Static:
    """A constant of the source."""
    return Static(value, Code("...")) if value is Ellipsis else static(value)


@expression(ast.List, ast.Tuple)
def _display(run: Run, node: ast.List | ast.Tuple) -> Value:
    kind = "tuple" if isinstance(node, ast.Tuple) else "list"
    items: list[Value] = []
    codes: list[Code] = []
    for element in node.elts:
        if isinstance(element, ast.Starred):
            spread = run.evaluate(element.value)
            if not isinstance(spread, Sequence) or spread.of_batch:
                raise run.refuse("star-arguments", "Only shapes and lists are spread.", "Index it.")
            items += [item_of(spread, i) for i in range(len(spread.items))]
            codes.append(Code(f"*{spread.code.within(c.BIT_OR)}"))
        else:
            value = run.evaluate(element)
            items.append(value)
            codes.append(value.code)
    check_items(run, len(items))
    varying = any(isinstance(item, Static) and item.varying for item in items)
    return Sequence(items, kind, c.display(codes, kind == "tuple"), varying=varying)


def check_items(run: Run, count: int) -> None:
    """Bound the size of a static container."""
    if count > limits.MAX_ITEMS:
        raise limits.too_big("A list grows too long", run.line)


@expression(ast.Set)
def _set(run: Run, node: ast.Set) -> Value:
    items = [run.evaluate(element) for element in node.elts]
    if not all(isinstance(item, Static) for item in items):
        raise run.refuse("set", "A set of arrays is not allowed.", "Use a list.")
    inner = ", ".join(item.code.within(c.TERNARY) for item in items)
    return Sequence(items, "set", Code(f"{{{inner}}}"))


@expression(ast.Dict)
def _dict(run: Run, node: ast.Dict) -> Value:
    entries: dict[Any, Value] = {}
    parts = []
    for key_node, value_node in zip(node.keys, node.values, strict=True):
        if key_node is None:
            spread = run.evaluate(value_node)
            if not isinstance(spread, Mapping):
                raise run.refuse("star-arguments", "Only a dict is spread.", "List the entries.")
            entries |= spread.entries
            parts.append(f"**{spread.code.within(c.BIT_OR)}")
            continue
        key, value = run.evaluate(key_node), run.evaluate(value_node)
        entries[static_key(run, key)] = value
        parts.append(f"{key.code.within(c.TERNARY)}: {value.code.within(c.TERNARY)}")
    return Mapping(entries, Code("{" + ", ".join(parts) + "}"))


def static_key(run: Run, key: Value) -> Any:
    """A dict key: a static number or string, or a tuple of them."""
    if isinstance(key, Static) and not isinstance(key.value, Batch):
        return key.value
    if isinstance(key, Sequence) and key.kind == "tuple":
        return tuple(static_key(run, item) for item in key.items)
    raise run.refuse(
        "static-argument",
        f"A dict key must be a constant; received {describe(key)}.",
        "Use numbers or strings as keys.",
    )


@expression(ast.BinOp)
def _binop(run: Run, node: ast.BinOp) -> Value:
    left, right = run.evaluate(node.left), run.evaluate(node.right)
    return binary(run, type(node.op), left, right)


def binary(run: Run, op: type[ast.AST], left: Value, right: Value) -> Value:
    """`left op right` of any values."""
    if isinstance(left, Static) and isinstance(right, Static):
        value = statics.binary(run, op, left.value, right.value)
        return Static(value, c.binary(op, left.code, right.code), left.varying or right.varying)
    if isinstance(left, Sequence) or isinstance(right, Sequence):
        joined = _sequence_arithmetic(run, op, left, right)
        if joined is not None:
            return joined
    return operators.binary(run.context(operators.symbol(op)), op, left, right)


def _sequence_arithmetic(run: Run, op: type[ast.AST], left: Value, right: Value) -> Sequence | None:
    """`list + list` and `list * n`; None where it is arithmetic with an array."""
    if isinstance(left, Sequence) and isinstance(right, Sequence):
        if op is ast.Add and left.kind == right.kind and left.kind in ("list", "tuple"):
            items = [item_of(s, i) for s in (left, right) for i in range(len(s.items))]
            return Sequence(items, left.kind, c.binary(op, left.code, right.code))
        raise run.refuse("type", "Lists are only added.", "Make arrays of them first.")
    sequence, other = (left, right) if isinstance(left, Sequence) else (right, left)
    assert isinstance(sequence, Sequence)
    if isinstance(other, Array):
        return None
    if op is ast.Mult and isinstance(other, Static) and type(other.value) is int:
        count = max(other.value, 0) if other.value.bit_length() < 32 else limits.MAX_ITEMS + 1
        check_items(run, len(sequence.items) * count)
        items = [item_of(sequence, i) for i in range(len(sequence.items))] * count
        return Sequence(items, sequence.kind, c.binary(op, left.code, right.code))
    if op is ast.Mult and isinstance(other, Static) and isinstance(other.value, Batch):
        return Sequence(
            list(sequence.items), sequence.kind, c.binary(op, left.code, right.code), of_batch=True
        )
    raise run.refuse(
        "type", f"A {sequence.kind} cannot be computed with.", "Make an array of it first."
    )


@expression(ast.UnaryOp)
def _unaryop(run: Run, node: ast.UnaryOp) -> Value:
    operand = run.evaluate(node.operand)
    op = type(node.op)
    return negate(run, operand) if op is ast.Not else unary(run, op, operand)


def unary(run: Run, op: type[ast.AST], operand: Value) -> Value:
    """`-x`, `+x` or `~x`."""
    if isinstance(operand, Static):
        value = operand.value
        if isinstance(value, Batch) or not isinstance(value, bool | int | float):
            raise run.refuse("type", f"`-` of {describe(operand)} makes no sense.", "Use numbers.")
        if op is ast.Invert and isinstance(value, float):
            raise run.refuse("static-error", "`~` of a float.", "Use an int or a bool.")
        result = -value if op is ast.USub else ~value if op is ast.Invert else +value  # type: ignore[operator]
        return Static(result, c.unary(op, operand.code), operand.varying)
    return operators.unary(run.context(operators.symbol(op)), op, operand)


def negate(run: Run, operand: Value) -> Value:
    """`not operand`: static, or a logical not of one truth value."""
    if not isinstance(operand, Array):
        varying = isinstance(operand, Static) and operand.varying
        return Static(not static_truth(run, operand), c.unary(ast.Not, operand.code), varying)
    condition = truth_array(run, operand)
    code = c.call("jnp.logical_not", [condition.code])
    return Array((), "bool", code, row_any=condition.row_any)


def truth_array(run: Run, value: Array) -> Array:
    """An array used as one truth value.

    Raises:
        TranslationError: Rule "ambiguous-condition": it has several elements.
    """
    if value.shape == () or all(dim == 1 for dim in value.shape):
        code = value.code
        if value.shape:
            code = c.method(code, "reshape", [()], {})
        if value.dtype != "bool":
            zero = static(0.0 if value.dtype == "float" else 0)
            code = c.compare(code, [ast.NotEq], [zero.code])
        return Array((), "bool", code, row_any=value.row_any)
    raise run.refuse(
        "ambiguous-condition",
        f"A condition on {describe(value)} has no single truth value.",
        "Use `where(condition, a, b)` to choose per element, or `.any()` / `.all()`.",
    )


@expression(ast.BoolOp)
def _boolop(run: Run, node: ast.BoolOp) -> Value:
    is_and = isinstance(node.op, ast.And)
    kept: list[Value] = []
    for part in node.values:
        value = run.evaluate(part)
        kept.append(value)
        if is_static(value) and static_truth(run, value) != is_and:
            if any(isinstance(item, Array) for item in kept[:-1]):
                return static(not is_and)
            break
    arrays = [item for item in kept if isinstance(item, Array)]
    if arrays:
        conditions = [truth_array(run, item) for item in arrays]
        code = conditions[0].code
        for item in conditions[1:]:
            code = c.call("jnp.logical_and" if is_and else "jnp.logical_or", [code, item.code])
        return Array((), "bool", code, row_any=any(item.row_any for item in conditions))
    varying = any(isinstance(item, Static) and item.varying for item in kept)
    last = kept[-1]
    if varying and isinstance(last, Static):
        return Static(last.value, c.boolean(is_and, [item.code for item in kept]), True)
    return last


@expression(ast.Compare)
def _compare(run: Run, node: ast.Compare) -> Value:
    left = run.evaluate(node.left)
    parts: list[Value] = []
    for op, right_node in zip(node.ops, node.comparators, strict=True):
        right = run.evaluate(right_node)
        parts.append(compare(run, type(op), left, right))
        left = right
    if len(parts) == 1:
        return parts[0]
    result = parts[0]
    for part in parts[1:]:
        if isinstance(result, Array) and isinstance(part, Array):
            a, b = truth_array(run, result), truth_array(run, part)
            result = Array((), "bool", c.call("jnp.logical_and", [a.code, b.code]))
        elif is_static(part) and is_static(result):
            both = static_truth(run, result) and static_truth(run, part)
            varying = any(isinstance(p, Static) and p.varying for p in (result, part))
            result = Static(both, c.boolean(True, [result.code, part.code]), varying)
        else:
            fixed = result if is_static(result) else part
            result = (part if is_static(result) else result) if static_truth(run, fixed) else fixed
    return result


def compare(run: Run, op: type[ast.AST], left: Value, right: Value) -> Value:
    """One comparison of any values."""
    varying = any(isinstance(v, Static | Sequence) and v.varying for v in (left, right))
    code = c.compare(left.code, [op], [right.code])
    if op in (ast.In, ast.NotIn):
        return Static(_contains(run, left, right) == (op is ast.In), code, varying)
    if op in (ast.Is, ast.IsNot):
        same = (
            isinstance(left, Static)
            and isinstance(right, Static)
            and left.value is None
            and right.value is None
        ) or (isinstance(left, Static) and isinstance(right, Static) and left.value is right.value)
        return Static(same == (op is ast.Is), code, varying)
    if isinstance(left, Array) or isinstance(right, Array):
        other = right if isinstance(left, Array) else left
        if isinstance(other, Static) and (other.value is None or isinstance(other.value, str)):
            return Static(op is ast.NotEq, code)
        return operators.compare(run.context(operators.symbol(op)), op, left, right)
    return Static(statics.compare(run, op, plain(run, left), plain(run, right)), code, varying)


def _contains(run: Run, item: Value, container: Value) -> bool:
    if isinstance(container, Mapping):
        return static_key(run, item) in container.entries
    if isinstance(container, Sequence) and not isinstance(item, Array):
        wanted = plain(run, item)
        return any(not isinstance(v, Array) and plain(run, v) == wanted for v in container.items)
    raise run.refuse(
        "static-argument", "`in` needs a static list and item.", "Compare with `==` and `.any()`."
    )


def plain(run: Run, value: Value) -> Any:
    """A static value as Python data, to compare or print."""
    match value:
        case Static():
            return value.value
        case Sequence():
            items = [plain(run, item) for item in value.items]
            return tuple(items) if value.kind == "tuple" else items
        case DType():
            return value.kind
        case Builtin(name="float" | "int" | "bool" as name):
            return name
        case Dropped():
            return value.what
    raise run.refuse(
        "static-argument", f"Expected a constant, received {describe(value)}.", "Use a constant."
    )


@expression(ast.IfExp)
def _ternary(run: Run, node: ast.IfExp) -> Value:
    test = run.evaluate(node.test)
    if isinstance(test, Array):
        from qllm_jax.tfcaf.interpreter.branches import select_expression

        return select_expression(run, truth_array(run, test), node)
    taken = static_truth(run, test)
    value = run.evaluate(node.body if taken else node.orelse)
    if not (isinstance(test, Static) and test.varying):
        return value
    try:
        other = run.evaluate(node.orelse if taken else node.body)
    except TranslationError as error:
        if error.rule == "too-big":
            raise
        return value
    body, orelse = (value, other) if taken else (other, value)
    if isinstance(value, Function | Operation | Builtin | Dropped | DType):
        return value
    kept = named(value, c.ternary(test.code, body.code, orelse.code))
    if isinstance(kept, Static):
        kept.varying = True
    return kept


@expression(ast.Slice)
def _slice(run: Run, node: ast.Slice) -> Value:
    parts = [
        run.evaluate(p) if p is not None else None for p in (node.lower, node.upper, node.step)
    ]
    texts = [p.code.within(c.TERNARY) if p is not None else "" for p in parts]
    text = f"{texts[0]}:{texts[1]}" + (f":{texts[2]}" if texts[2] else "")
    return SliceValue(parts[0], parts[1], parts[2], Code(text))


@expression(ast.Lambda)
def _lambda(run: Run, node: ast.Lambda) -> Value:
    return make_function(run, node)


@expression(ast.Starred)
def _starred(run: Run, node: ast.Starred) -> Value:
    raise run.refuse("star-arguments", "A starred expression is not allowed here.", "Name them.")
