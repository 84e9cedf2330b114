"""Calls: of operations, methods, builtins and functions of the source. Fills `EXPRESSIONS`."""

from __future__ import annotations

import ast
import dataclasses

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf.code import words
from qllm_jax.tfcaf.interpreter import builtin_functions, builtin_numbers, containers, mutation
from qllm_jax.tfcaf.interpreter.forms import item_of
from qllm_jax.tfcaf.interpreter.functions import call_function
from qllm_jax.tfcaf.interpreter.indexing import subscript
from qllm_jax.tfcaf.interpreter.names import refuse_dangerous
from qllm_jax.tfcaf.interpreter.program import load_module_name
from qllm_jax.tfcaf.interpreter.state import Run, expression
from qllm_jax.tfcaf.lifting import origin
from qllm_jax.tfcaf.ops import registry
from qllm_jax.tfcaf.ops.context import OpCall
from qllm_jax.tfcaf.values import (
    Array,
    AtIndex,
    Builtin,
    Cell,
    Dropped,
    DType,
    Function,
    Mapping,
    Method,
    Operation,
    Sequence,
    Static,
    Transformed,
    Value,
    describe,
    static,
)


@expression(ast.Call)
def _call(run: Run, node: ast.Call) -> Value:
    function = run.evaluate(node.func)
    if isinstance(function, Builtin) and function.name == "print" and _only_looks(run, node):
        return static(None)
    args: list[Value] = []
    for argument in node.args:
        if isinstance(argument, ast.Starred):
            spread = run.evaluate(argument.value)
            if not isinstance(spread, Sequence) or spread.of_batch:
                raise run.refuse(
                    "star-arguments", "Only shapes and lists are spread.", "Name the arguments."
                )
            args += [item_of(spread, i) for i in range(len(spread.items))]
        else:
            args.append(run.evaluate(argument))
    kwargs = _keywords(run, node)
    run.line = node.lineno
    return call(run, function, args, kwargs)


def _keywords(run: Run, node: ast.Call) -> dict[str, Value]:
    """Keyword arguments; of `**settings`, a dict of names, one by one."""
    kwargs: dict[str, Value] = {}
    for keyword in node.keywords:
        value = run.evaluate(keyword.value)
        if keyword.arg is not None:
            kwargs[keyword.arg] = value
            continue
        names = list(value.entries) if isinstance(value, Mapping) else []
        plain = all(isinstance(n, str) and n.isidentifier() and n[:1] != "_" for n in names)
        if not isinstance(value, Mapping) or not plain or kwargs.keys() & set(names):
            raise run.refuse(
                "star-arguments", "Only a dict of argument names is spread.", "Name the arguments."
            )
        kwargs |= {name: subscript(run, value, static(name)) for name in names}
    return kwargs


def _only_looks(run: Run, node: ast.Call) -> bool:
    """Whether printing these arguments changes nothing: then they are not even read."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Attribute):
            refuse_dangerous(run, inner.attr)
        if isinstance(inner, ast.keyword) and inner.arg not in ("sep", "end", "flush", "dim"):
            return False
        if isinstance(inner, ast.Call) and inner is not node:
            called = inner.func
            if not isinstance(called, ast.Attribute) or called.attr not in _LOOKS:
                return False
    return True


_LOOKS = frozenset(
    words("mean sum max min std item tolist size dim detach cpu numpy abs norm shape keys values")
)


def call(run: Run, function: Value, args: list[Value], kwargs: dict[str, Value]) -> Value:
    """Call any value."""
    run.budget.step(run.line)
    match function:
        case Operation():
            return call_operation(run, function.op, args, kwargs)
        case Method():
            return _call_method(run, function, args, kwargs)
        case Function():
            return call_function(run, function, args, kwargs)
        case Transformed():
            return function.apply(run, args, kwargs)
        case Builtin():
            return builtin_functions.call_builtin(run, function.name, args, kwargs)
        case DType():
            return _cast_call(run, function, args)
        case Sequence(owner=owner) if owner:
            name = "forward" if f"{owner}_forward" in run.module_nodes else "call"
            return call_object(run, function, name, args, kwargs)
        case Dropped():
            return _call_dropped(run, function, args, kwargs)
    raise run.refuse("type", f"{describe(function)} is called.", "Call functions only.")


def _call_dropped(
    run: Run, function: Dropped, args: list[Value], kwargs: dict[str, Value]
) -> Value:
    """A call of what means nothing in jnp; types of tensors make them."""
    if function.what.startswith("`."):
        refuse_dangerous(run, function.what.strip("`").split("`")[0])
    made = registry.lookup("torch", f"torch.{function.what.removeprefix('the type ')}")
    if made is not None:
        return call_operation(run, made, args, kwargs)
    if any(isinstance(value, Array) for value in [*args, *kwargs.values()]):
        raise run.refuse(
            "type", f"{function.what} is called with an array.", "Call a function of the library."
        )
    return Dropped(f"a call of {function.what}")


def call_object(
    run: Run, receiver: Sequence, name: str, args: list[Value], kwargs: dict[str, Value]
) -> Value:
    """Call a method of an object whose class the source defines."""
    found = run.module_nodes.get(f"{receiver.owner}_{name}")
    made = origin(found) if found is not None else None
    if made is None:
        raise run.refuse(
            "attribute", f"`{receiver.owner}` has no `{name}`.", "Call a method that it defines."
        )
    method = load_module_name(run, f"{receiver.owner}_{name}")
    given = args if made.kind == "static" else [receiver, *args]
    return call(run, method, given, kwargs)


def call_operation(
    run: Run, operation: registry.Op, args: list[Value], kwargs: dict[str, Value]
) -> Value:
    """Call an entry of the registry."""
    root = "jnp" if operation.dialect == "jnp" else operation.dialect
    if root != run.dialect and any(_holds_array(v) for v in [*args, *kwargs.values()]):
        raise run.refuse(
            "mixed-dialect",
            f"`{operation.name}` is called on a {run.dialect} array.",
            f"Stay with {run.dialect}, or write the whole function with another library.",
        )
    bound = registry.bind(operation, args, kwargs, run.line)
    ctx = OpCall(run, operation.dialect, operation.name, run.line)
    result = operation.handler(ctx, **bound, **operation.extra)
    if isinstance(result, Array) and operation.dialect != "jnp":
        result.is_empty = operation.name.rsplit(".", 1)[-1] in ("empty", "empty_like", "new_empty")
    return result


def _holds_array(value: Value) -> bool:
    if isinstance(value, Sequence):
        return any(_holds_array(item) for item in value.items)
    return isinstance(value, Array) and value.const is None


def _call_method(run: Run, method: Method, args: list[Value], kwargs: dict[str, Value]) -> Value:
    receiver, name = method.receiver, method.name
    match receiver:
        case Sequence(owner=owner) if owner:
            return call_object(run, receiver, name, args, kwargs)
        case Sequence():
            return containers.call_list_method(run, receiver, name, args, kwargs)
        case Mapping():
            return containers.call_dict_method(run, receiver, name, args, kwargs)
        case AtIndex():
            operation = registry.lookup(run.dialect, f".at.{name}")
            if operation is None:
                raise registry.unknown(run.dialect, f".at.{name}", run.line)
            return call_operation(run, operation, [receiver, *args], kwargs)
        case Static():
            return dataclasses.replace(receiver)
        case Array():
            return _call_array_method(run, receiver, name, args, kwargs)
    raise run.refuse("type", f"`.{name}` of {describe(receiver)} is called.", "Use arrays.")


def _call_array_method(
    run: Run, receiver: Array, name: str, args: list[Value], kwargs: dict[str, Value]
) -> Value:
    operation = registry.lookup(run.dialect, f".{name}")
    if operation is not None and not operation.extra.get("in_place"):
        return call_operation(run, operation, [receiver, *args], kwargs)
    if operation is None:
        operation = registry.lookup(run.dialect, f".{name.removesuffix('_')}")
    assert operation is not None
    extra = {k: v for k, v in operation.extra.items() if k != "in_place"}
    bound = registry.bind(operation, [receiver, *args], kwargs, run.line)
    ctx = OpCall(run, run.dialect, operation.name, run.line)
    result = operation.handler(ctx, **bound, **extra)
    if not isinstance(result, Array):
        raise run.refuse("type", f"`.{name}` gives no array.", "Write it without the underscore.")
    return in_place_result(run, receiver, result)


def in_place_result(run: Run, receiver: Array, result: Array) -> Array:
    """Update the receiver in place; returns it as it is called afterwards."""
    if receiver.dtype == "float" and result.dtype != "float":
        result = run.context("in place").cast(result, "float")
    mutation.update(run, receiver, result)
    if receiver.code.is_name:
        found = [
            v
            for s in run.every_scope()
            for v in s.values.values()
            if isinstance(v, Array) and v.cell is receiver.cell and v.path == receiver.path
        ]
        if found:
            return found[0]
    return dataclasses.replace(result, cell=receiver.cell, path=receiver.path)


def _cast_call(run: Run, dtype: DType, args: list[Value]) -> Value:
    """`np.float32(x)`, `jnp.int32(x)`."""
    ctx = run.context("dtype")
    if len(args) != 1:
        raise run.refuse("argument", "A dtype is called with one value.", "Pass one value.")
    value = args[0]
    if isinstance(value, Static) and isinstance(value.value, bool | int | float):
        cast = {"float": float, "int": int, "bool": bool}[dtype.kind]
        made = builtin_numbers.cast_static(run, cast, value)
        return dataclasses.replace(made, code=c.literal(made.value))
    array = ctx.cast(ctx.array(value), dtype.kind)
    return array if dtype.usual else dataclasses.replace(array, cell=Cell(), path=())
