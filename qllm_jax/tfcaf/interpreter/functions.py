"""Functions and lambdas of the source: how they are called, and how they are emitted.

A function is interpreted at every call with the values it gets there. Where all calls emit the
same text the function is kept as it is; where they differ, it is emitted once for each text.
"""

from __future__ import annotations

import ast
import dataclasses
from typing import Any

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf import limits
from qllm_jax.tfcaf.code import Code
from qllm_jax.tfcaf.emit import Define, Variant, merge
from qllm_jax.tfcaf.interpreter import branches
from qllm_jax.tfcaf.interpreter.definitions import (
    Definition,
    last_reads,
    parameters,
    positional_parameters,
    star_parameters,
)
from qllm_jax.tfcaf.interpreter.factories import call_factory, makes_functions
from qllm_jax.tfcaf.interpreter.forms import emittable, item_of, named
from qllm_jax.tfcaf.interpreter.state import Frame, Leave, Run, Scope
from qllm_jax.tfcaf.lifting import origin
from qllm_jax.tfcaf.values import (
    Array,
    Function,
    Mapping,
    Sequence,
    Static,
    Value,
    describe,
    static,
)


def call_function(
    run: Run, function: Function, args: list[Value], kwargs: dict[str, Value]
) -> Value:
    """Call a function of the source.

    Raises:
        TranslationError: Rules "recursion", "too-big", "argument", and any of the body.
    """
    definition: Definition = function.definition
    line = run.line
    _check_depth(run, definition)
    bound = bind(run, definition, args, kwargs)
    if definition.define is None:
        return _call_inline(run, definition, bound)
    if makes_functions(definition.node):
        return call_factory(run, definition, bound)
    given = set(positional_parameters(definition.node)[: len(args)]) | set(kwargs)
    local = {name: _as_parameter(run, name, value) for name, value in bound.items()}
    result, variant = interpret(run, definition, local)
    run.line = line
    if definition.name in run.ours:
        run.helpers.add(definition.name)
    code = _call_code(run, definition, variant, bound, given, args)
    return returned(run, result, code, list(bound.values()), definition.no_grad)


def _check_depth(run: Run, definition: Definition) -> None:
    if any(frame.node is definition.node for frame in run.frames):
        raise run.refuse(
            "recursion", f"`{definition.name}` calls itself.", "Use a loop over a fixed range."
        )
    if len(run.frames) > limits.MAX_CALL_DEPTH:
        raise limits.too_big("Helpers call helpers too deeply", run.line)


def bind(
    run: Run, definition: Definition, args: list[Value], kwargs: dict[str, Value]
) -> dict[str, Value]:
    """Match arguments to the parameters of a function of the source."""
    names = parameters(definition.node)
    positional = positional_parameters(definition.node)
    shown = definition.name or "lambda"
    rest, others = star_parameters(definition.node)
    if len(args) > len(positional) and not rest:
        raise _argument(run, shown, f"takes {len(positional)} arguments, received {len(args)}")
    bound = dict(zip(positional, args, strict=False))
    more: dict[Any, Value] = {}
    for name, value in kwargs.items():
        if others and name not in names:
            more[name] = value
            continue
        if name not in names or name in bound:
            problem = "got it twice" if name in bound else "has no such argument"
            raise _argument(run, shown, f"was given `{name}` but {problem}")
        bound[name] = value
    for name in names:
        if name not in bound:
            if name not in definition.defaults:
                raise _argument(run, shown, f"was not given `{name}`")
            default = definition.defaults[name]
            if isinstance(default, Sequence):  # one list for all calls: it may only be read
                default = dataclasses.replace(default, kind="tuple")
            bound[name] = default
    made = {name: bound[name] for name in names}
    collected = [*args[len(positional) :], *more.values()]
    if not all(map(emittable, collected)):
        raise _argument(run, shown, "collects what is no array or number")
    if rest:
        items = args[len(positional) :]
        made[rest] = Sequence(list(items), "tuple", c.display([i.code for i in items], True))
    if others:
        made[others] = Mapping(more, c.call("dict", [], more))
    return made


def _argument(run: Run, name: str, what: str) -> Exception:
    return run.refuse("argument", f"`{name}` {what}.", "Call it as it is defined.")


def _as_parameter(run: Run, name: str, value: Value) -> Value:
    """A value as the function's body sees it: by the parameter's name."""
    if not emittable(value):
        return value
    code = Code(run.spell(name))
    if isinstance(value, Static):
        return Static(value.value, code, varying=True)
    if isinstance(value, Array) and value.row_any and not run.single_row:
        raise run.refuse(
            "mixes-batch",
            "A result over the whole batch is passed to a function.",
            "Use `.any()` and `.all()` over the batch only in an `if`.",
        )
    return named(value, code)


def interpret(
    run: Run, definition: Definition, local: dict[str, Value]
) -> tuple[Value, Variant | None]:
    """Run a function's body on its parameters; returns its value and its emitted form."""
    node = definition.node
    assert isinstance(node, ast.FunctionDef)
    scope = Scope(definition.scope, "function", values=dict(local))
    outer, outer_no_grad = run.scope, run.no_grad
    run.frames.append(Frame(node, scope, last_reads=last_reads(node)))
    run.scope, run.no_grad = scope, False
    try:
        with run.capture() as body:
            leave = run.execute(node.body)
            if leave is None:
                leave = Leave("return", branches.finish_return(run, static(None)))
    finally:
        run.frames.pop()
        run.scope, run.no_grad = outer, outer_no_grad
    assert leave.value is not None
    _name_fields(leave.value, node)
    header = _header(run, definition, local)
    assert definition.define is not None
    return leave.value, _add_variant(run, definition.define, definition.name, header, body)


def _name_fields(result: Value, node: ast.FunctionDef) -> None:
    """What makes a record or an object gives its fields their names."""
    made = origin(node)
    if made is not None and made.fields and isinstance(result, Sequence):
        result.names = made.fields
    if made is not None and made.kind == "object" and isinstance(result, Sequence):
        result.owner = made.owner


def _header(run: Run, definition: Definition, local: dict[str, Value]) -> str:
    """The emitted parameters, with the author's defaults."""
    parts: list[str] = []
    keywords: list[str] = []
    keyword_only = [p.arg for p in definition.node.args.kwonlyargs]
    rest, others = star_parameters(definition.node)
    for name, value in local.items():
        if not emittable(value) or name in (rest, others):
            continue
        default = definition.defaults.get(name)
        text = f"={default.code.text}" if default is not None and emittable(default) else ""
        (keywords if name in keyword_only else parts).append(run.spell(name) + text)
    if rest or keywords:
        parts.append(f"*{run.spell(rest)}" if rest else "*")
    parts += [*keywords, f"**{run.spell(others)}"] if others else keywords
    return f"({', '.join(parts)})"


def _add_variant(run: Run, define: Define, name: str, header: str, body: list) -> Variant:
    """The emitted form for this call: one that is there and merges, or a new one."""
    for variant in define.variants:
        if variant.header == header:
            both = merge(variant.body, body)
            if both is not None:
                variant.body = both
                return variant
    spelled = run.spell(name) if not define.variants else run.fresh(f"{run.spell(name)}_2")
    if name in run.ours:
        spelled = name
    variant = Variant(spelled, header, body)
    define.variants.append(variant)
    return variant


def _call_code(
    run: Run,
    definition: Definition,
    variant: Variant | None,
    bound: dict[str, Value],
    given: set[str],
    args: list[Value],
) -> Code:
    """The call as the author wrote it, without what does not exist in the emitted source."""
    assert variant is not None
    positional: list[Code] = []
    keywords: dict[str, Code] = {}
    rest, others = star_parameters(definition.node)
    first = positional_parameters(definition.node)[: len(args)]
    for name, value in bound.items():
        if name == rest:
            assert isinstance(value, Sequence)
            positional += [item.code for item in value.items]
            continue
        if name == others:
            assert isinstance(value, Mapping)
            keywords |= {key: item.code for key, item in value.entries.items()}
            continue
        if name not in given or not emittable(value):
            continue
        if name in first and not keywords:
            positional.append(value.code)
        else:
            keywords[run.spell(name)] = value.code
    return c.call(variant.name, list(positional), dict(keywords))


def returned(
    run: Run, result: Value, code: Code, arguments: list[Value], no_grad: bool = False
) -> Value:
    """What a call gives: the value of the body, computed by the call's source."""
    varying = any(isinstance(a, Static) and a.varying for a in arguments)
    match result:
        case Static():
            return Static(result.value, code, varying)
        case Array():
            return stopped(named(result, code)) if no_grad else named(result, code)  # type: ignore[arg-type]
        case Sequence(kind="tuple" | "list"):
            inner = [
                returned(run, item_of(result, i), c.subscript(code, str(i)), arguments, no_grad)
                for i in range(len(result.items))
            ]
            if result.kind == "list":
                return dataclasses.replace(result, code=code)
            return Sequence(inner, "tuple", code, result.names, owner=result.owner)
        case Mapping() if emittable(result):
            return dataclasses.replace(result, code=code)
        case Mapping() if not any(map(emittable, result.entries.values())):
            return result
    if emittable(result):
        return named(result, code)
    raise run.refuse(
        "return-type",
        f"A helper returns {describe(result)}.",
        "Return arrays, numbers, tuples, lists or dicts.",
    )


def stopped(array: Array) -> Array:
    """`stop_gradient(array)`, where a gradient could flow."""
    if not array.grad:
        return array
    code = c.call("jax.lax.stop_gradient", [array.code])
    return dataclasses.replace(array, code=code, grad=False)


def _call_inline(run: Run, definition: Definition, bound: dict[str, Value]) -> Value:
    """A lambda's body with the arguments in the place of its parameters."""
    node = definition.node
    assert isinstance(node, ast.Lambda)
    scope = Scope(definition.scope, "comprehension", values=dict(bound))
    run.frames.append(Frame(node, run.frames[-1].scope if run.frames else scope))
    try:
        with run.inside(scope):
            return run.evaluate(node.body)
    finally:
        run.frames.pop()


def call_symbolic(run: Run, function: Value, args: list[Value], what: str) -> tuple[Value, Code]:
    """Call a function that an operation such as `vmap` is given, and say how to write it.

    Args:
        run: The interpreter.
        function: A function of the source, an operation, or a transformed function.
        args: What the operation passes to it.
        what: The operation, for messages.

    Returns:
        Its value, and source of the function itself: a name or a lambda.
    """
    from qllm_jax.tfcaf.interpreter.calls import call

    if isinstance(function, Function) and isinstance(function.definition.node, ast.Lambda):
        definition: Definition = function.definition
        names = parameters(definition.node)
        if len(names) != len(args):
            raise _argument(run, what, f"passes {len(args)} arguments to a lambda of {len(names)}")
        local = {n: _as_parameter(run, n, v) for n, v in zip(names, args, strict=True)}
        result = _call_inline(run, definition, local)
        text = ", ".join(run.spell(n) for n in names)
        return result, Code(
            f"lambda {text}: {result.code.text}" if text else f"lambda: {result.code.text}",
            c.LAMBDA,
        )
    if isinstance(function, Function) and not function.definition.no_grad:
        result = call_function(run, function, args, {})
        return result, Code(result.code.text.split("(", 1)[0])
    places = [run.fresh(f"arg{i}") for i in range(len(args))]
    for place in places:
        run.identifiers.discard(place)
    local_args = [named(v, Code(p)) for v, p in zip(args, places, strict=True)]
    result = call(run, function, local_args, {})
    text = result.code.text
    plain = f"({', '.join(places)})"
    if text.endswith(plain) and text[: -len(plain)].replace(".", "").isidentifier():
        return result, Code(text[: -len(plain)])
    return result, Code(f"lambda {', '.join(places)}: {text}", c.LAMBDA)
