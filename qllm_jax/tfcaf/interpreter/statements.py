"""How statements are executed: assignments, conditions, returns. Fills `state.STATEMENTS`.

Loops have a module of their own.
"""

from __future__ import annotations

import ast
import dataclasses

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf.code import Code
from qllm_jax.tfcaf.emit import Branch, Define, Doc, Line
from qllm_jax.tfcaf.interpreter import branches, indexing, mutation
from qllm_jax.tfcaf.interpreter.containers import refuse_global_change
from qllm_jax.tfcaf.interpreter.definitions import make_function
from qllm_jax.tfcaf.interpreter.expressions import binary, static_key, truth_array
from qllm_jax.tfcaf.interpreter.forms import emittable, named, static_truth
from qllm_jax.tfcaf.interpreter.functions import stopped
from qllm_jax.tfcaf.interpreter.iteration import unpacked
from qllm_jax.tfcaf.interpreter.state import Leave, Run, statement
from qllm_jax.tfcaf.values import (
    ROW,
    Array,
    Function,
    Mapping,
    Sequence,
    Static,
    Value,
    describe,
    static,
)


@statement(ast.Assign)
def _assign(run: Run, node: ast.Assign) -> None:
    value = run.evaluate(node.value)
    if run.no_grad:
        value = _without_gradient(run, value)
    first = node.targets[0]
    if isinstance(value, Function) and isinstance(node.value, ast.Lambda):
        value = _named_lambda(run, first, node.value)
    store(run, first, value)
    for target in node.targets[1:]:
        if isinstance(first, ast.Name):
            found = run.find(first.id)
            value = found[1] if found is not None else value
        store(run, target, value)


def _named_lambda(run: Run, target: ast.expr, node: ast.Lambda) -> Value:
    """`f = lambda x: …` becomes a function of that name."""
    if not isinstance(target, ast.Name):
        return make_function(run, node)
    returns = ast.Return(node.body)
    ast.copy_location(returns, node.body)
    definition = ast.FunctionDef(
        name=target.id, args=node.args, body=[returns], decorator_list=[], returns=None
    )
    ast.copy_location(definition, node)
    return define(run, definition, target.id)


def _without_gradient(run: Run, value: Value) -> Value:
    """A value computed under `torch.no_grad()`; a variable only named there keeps its gradient."""
    if isinstance(value, Array):
        found = run.find(value.code.text) if value.code.is_name else None
        is_same = found is not None and getattr(found[1], "cell", None) is value.cell
        return value if is_same else stopped(value)
    if isinstance(value, Sequence) and value.kind == "tuple" and value.code.text[:1] == "(":
        items = [_without_gradient(run, item) for item in value.items]
        code = c.display([item.code for item in items], True)
        return dataclasses.replace(value, items=items, code=code)
    return value


def refuse_under_no_grad(run: Run, changed: Array) -> None:
    """Refuse to change in place, under `no_grad`, what carries a gradient."""
    if run.no_grad and changed.grad:
        raise run.refuse(
            "no-grad-in-place",
            "An array that carries a gradient is changed in place inside `torch.no_grad()`.",
            "Compute a new array, or leave `no_grad` out.",
        )


@statement(ast.AnnAssign)
def _annotated(run: Run, node: ast.AnnAssign) -> None:
    if node.value is not None:
        value = run.evaluate(node.value)
        if isinstance(node.value, ast.Lambda):
            value = _named_lambda(run, node.target, node.value)
        store(run, node.target, _without_gradient(run, value) if run.no_grad else value)


def store(run: Run, target: ast.expr, value: Value) -> None:
    """Assign a value to a target."""
    match target:
        case ast.Name():
            run.assign(target.id, _settled(run, value))
        case ast.Tuple() | ast.List():
            _store_tuple(run, target, value)
        case ast.Subscript():
            _store_item(run, target, value)
        case ast.Starred():
            store(run, target.value, value)
        case _:
            raise run.refuse("target", "This cannot be assigned to.", "Assign to a variable.")


def _settled(run: Run, value: Value) -> Value:
    """A generator is consumed once; as a variable it would be empty the second time."""
    if isinstance(value, Sequence) and value.kind not in ("list", "tuple", "range", "set"):
        code = c.call("list", [value.code])
        return dataclasses.replace(value, kind="list", code=code)
    return value


def _store_tuple(run: Run, target: ast.Tuple | ast.List, value: Value) -> None:
    """`a, b = value`, `a, *rest = value`."""
    items = unpacked(run, target, value)
    stars = ["*" if isinstance(part, ast.Starred) else "" for part in target.elts]
    inner = [part.value if isinstance(part, ast.Starred) else part for part in target.elts]
    names = [part.id if isinstance(part, ast.Name) else None for part in inner]
    written_out = value.code.text[:1] in "(["
    together = all(names) and all(map(emittable, items)) and value.code.text
    if "_" in names and written_out:
        together = ""
    if together and isinstance(value, Sequence) and value.kind == "items":
        together = ""
    if together:
        text = value.code.text
        if written_out and text[0] == "(" and text.endswith(")"):
            text = ", ".join(item.code.within(c.TERNARY) for item in _flat(items, stars))
        spelled = ["_" if name == "_" else run.target(name or "") for name in names]
        shown = [star + name for star, name in zip(stars, spelled, strict=True)]
        run.emit(f"{', '.join(shown)} = {text}" if len(shown) > 1 else f"{shown[0]}, = {text}")
        for name, emitted, item in zip(names, spelled, items, strict=True):
            if name and name != "_":
                run.bind(name, named(item, Code(emitted)))
        return
    if written_out and sum(n != "_" for n in names) > 1:
        items = _held(run, items)
    for part, item in zip(target.elts, items, strict=True):
        store(run, part, item)


def _flat(items: list[Value], stars: list[str]) -> list[Value]:
    """The items with those of `*rest` in their places."""
    flat: list[Value] = []
    for item, star in zip(items, stars, strict=True):
        flat += item.items if star and isinstance(item, Sequence) else [item]
    return flat


def _held(run: Run, items: list[Value]) -> list[Value]:
    """Items in variables of their own, so that assigning one does not change the next."""
    held: list[Value] = []
    for item in items:
        if emittable(item) and not isinstance(item, Static):
            name = run.fresh("held")
            run.emit(f"{name} = {item.code.text}")
            item = named(item, Code(name))
        held.append(item)
    return held


def _store_item(run: Run, target: ast.Subscript, value: Value) -> None:
    """`owner[index] = value`."""
    owner = run.evaluate(target.value)
    index = run.evaluate(target.slice)
    match owner:
        case Sequence(kind="list"):
            _store_list_item(run, owner, index, value)
        case Mapping():
            refuse_global_change(run, owner)
            key = static_key(run, index)
            place = c.subscript(owner.code, index.code.text)
            if emittable(value):
                run.emit(f"{place.text} = {value.code.text}")
            owner.entries[key] = named(value, place) if emittable(value) else value
        case Array():
            store_rows(run, owner, index, value)
        case _:
            raise run.refuse(
                "type", f"An item of {describe(owner)} is assigned.", "Use a list or an array."
            )


def _store_list_item(run: Run, owner: Sequence, index: Value, value: Value) -> None:
    refuse_global_change(run, owner)
    if owner.of_batch:
        if not (isinstance(index, Static) and index.value is ROW):
            raise run.refuse("mixes-batch", "One sample is picked out.", "Treat all alike.")
        number = 0
    elif isinstance(index, Static) and type(index.value) is int:
        number = index.value
    else:
        raise run.refuse("static-argument", "A list index must be a constant.", "Use an array.")
    if not -len(owner.items) <= number < len(owner.items):
        raise run.refuse("index-range", f"The list has no item {number}.", "Append instead.")
    place = c.subscript(owner.code, index.code.text)
    run.emit(f"{place.text} = {value.code.text}")
    fixed = c.subscript(owner.code, str(number % len(owner.items)))
    owner.items[number] = named(value, fixed)


def store_rows(run: Run, owner: Array, index: Value, value: Value) -> None:
    """`array[index] = value`, in place."""
    if run.dialect == "jnp":
        raise run.refuse(
            "immutable", "A JAX array cannot be changed in place.", "Use `x = x.at[i].set(value)`."
        )
    refuse_under_no_grad(run, owner)
    resolved = indexing.resolve(run, owner, index)
    given = run.context("[]=").array(value)
    code = indexing.replaced(run, owner, resolved, given)
    grad = owner.grad or (given.grad and owner.dtype == "float")
    new = run.context("[]=").result(owner.shape, owner.dtype, code, grad=grad)
    mutation.update(run, owner, new)


@statement(ast.AugAssign)
def _augmented(run: Run, node: ast.AugAssign) -> None:
    op = type(node.op)
    if isinstance(node.target, ast.Name):
        _augment_name(run, node.target, op, node.value)
        return
    assert isinstance(node.target, ast.Subscript)
    owner = run.evaluate(node.target.value)
    index = run.evaluate(node.target.slice)
    if not isinstance(owner, Array):
        current = indexing.subscript(run, owner, index)
        value = binary(run, op, current, run.evaluate(node.value))
        _store_item(run, node.target, value)
        return
    current = indexing.subscript(run, owner, index)
    value = binary(run, op, current, run.evaluate(node.value))
    store_rows(run, owner, index, value)


def _augment_name(run: Run, target: ast.Name, op: type[ast.AST], right: ast.expr) -> None:
    """`name op= right`: in place for arrays of torch and NumPy, an assignment otherwise."""
    load = ast.copy_location(ast.Name(target.id, ast.Load()), target)
    current = run.evaluate(load)
    value = run.evaluate(right)
    if isinstance(current, Sequence) and isinstance(value, Sequence):
        from qllm_jax.tfcaf.interpreter.containers import call_list_method

        if current.kind == "list" and op is ast.Add:
            call_list_method(run, current, "extend", [value], {})
            return
    result = binary(run, op, current, value)
    if run.no_grad and isinstance(result, Array) and not isinstance(current, Array):
        result = stopped(result)
    in_place = isinstance(current, Array) and run.dialect != "jnp" and current.ndim > 0
    if isinstance(current, Array) and isinstance(result, Array) and in_place:
        refuse_under_no_grad(run, current)
        mutation.update(run, current, result)
    else:
        run.assign(target.id, result)
    _shorten(run, current, op, value)


def _shorten(run: Run, current: Value, op: type[ast.AST], value: Value) -> None:
    """Write `x = x + y` as `x += y`, as the author did."""
    if not run.out or not isinstance(run.out[-1], Line):
        return
    name = current.code.text
    long_form = f"{name} = {c.binary(op, current.code, value.code).text}"
    if run.out[-1].text == long_form and name.isidentifier():
        run.out[-1].text = f"{name} {c.BINARY[op][0]}= {value.code.text}"


@statement(ast.If)
def _if(run: Run, node: ast.If) -> Leave | None:
    test = run.evaluate(node.test)
    if isinstance(test, Array):
        return branches.execute_if(run, truth_array(run, test), node)
    taken = static_truth(run, test)
    body = node.body if taken else node.orelse
    if not (isinstance(test, Static) and test.varying) or not test.code.text:
        return run.execute(body)
    with run.capture() as emitted:
        leave = run.execute(body)
    text, opposite = test.code.text, c.unary(ast.Not, test.code).text
    if text.startswith("not ") and test.code.precedence == c.NOT:
        opposite = text[4:]
    side: tuple[list | None, list | None] = (emitted, None) if taken else (None, emitted)
    run.out.append(Branch(text, opposite, *side))
    return leave


@statement(ast.Return)
def _return(run: Run, node: ast.Return) -> Leave:
    value = run.evaluate(node.value) if node.value is not None else static(None)
    if run.no_grad:
        value = _without_gradient(run, value)
    if run.scope.kind == "branch":
        return Leave("return", value)
    value = branches.finish_return(run, value)
    if emittable(value) and not (isinstance(value, Static) and value.value is None):
        run.emit(f"return {value.code.text}", leaves=True)
    return Leave("return", value)


@statement(ast.Break)
def _break(run: Run, node: ast.Break) -> Leave:
    if run.scope.kind != "branch":
        run.emit("break", leaves=True)
    return Leave("break")


@statement(ast.Continue)
def _continue(run: Run, node: ast.Continue) -> Leave:
    if run.scope.kind != "branch":
        run.emit("continue", leaves=True)
    return Leave("continue")


@statement(ast.Pass)
def _pass(run: Run, node: ast.Pass) -> None:
    return None


@statement(ast.Expr)
def _expression(run: Run, node: ast.Expr) -> None:
    if isinstance(node.value, ast.Constant):
        frame = run.frames[-1] if run.frames else None
        body = getattr(frame.node, "body", None) if frame else None
        is_first = isinstance(body, list) and body[0] is node
        if is_first and isinstance(node.value.value, str):
            run.out.append(Doc(clean_docstring(node.value.value)))
        return
    before = len(run.out)
    value = run.evaluate(node.value)
    if isinstance(node.value, ast.Call) and len(run.out) == before:
        function = node.value.func
        if isinstance(function, ast.Name) and emittable(value):
            found = run.find(function.id)
            if found is not None and isinstance(found[1], Function):
                run.emit(value.code.text)


def clean_docstring(text: str) -> str:
    """A docstring without its common indentation and odd characters."""
    rows = text.expandtabs(4).split("\n")
    indents = [len(r) - len(r.lstrip()) for r in rows[1:] if r.strip()]
    margin = min(indents, default=0)
    kept = [rows[0].strip(), *(row[margin:].rstrip() for row in rows[1:])]
    while kept and not kept[-1]:
        kept.pop()
    joined = "\n".join(kept)
    return "".join(ch for ch in joined if ch == "\n" or ch.isprintable())


@statement(ast.Assert)
def _assert(run: Run, node: ast.Assert) -> None:
    """Checked where it is static, then dropped: an assertion on data cannot stop a trace."""
    with run.capture() as dropped:
        test = run.evaluate(node.test)
    if dropped:
        raise run.refuse("assert", "An assertion changes something.", "Assert plain facts.")
    if not isinstance(test, Array) and not static_truth(run, test):
        raise run.refuse(
            "assert",
            f"This assertion fails: `{ast.unparse(node.test)[:80]}`.",
            "Check it against [B, N] agent_qs and [B, D] state.",
        )


@statement(ast.Raise)
def _raise(run: Run, node: ast.Raise) -> None:
    raise run.refuse(
        "raise",
        "This exception is raised for the given sizes, or depends on data.",
        "Return a value for every input.",
    )


@statement(ast.With)
def _with(run: Run, node: ast.With) -> Leave | None:
    outer, run.no_grad = run.no_grad, True
    try:
        return run.execute(node.body)
    finally:
        run.no_grad = outer


@statement(ast.Import, ast.ImportFrom)
def _import(run: Run, node: ast.Import | ast.ImportFrom) -> None:
    from qllm_jax.tfcaf.interpreter.program import bind_import

    bind_import(run, node)


@statement(ast.FunctionDef)
def _function(run: Run, node: ast.FunctionDef) -> None:
    run.bind(node.name, define(run, node, node.name))


def define(run: Run, node: ast.FunctionDef, name: str) -> Value:
    """A function defined inside a function; emitted here once its calls are known."""
    place = Define([])
    run.functions[id(place)] = place
    run.out.append(place)
    if run.scope.kind == "branch":
        raise run.refuse(
            "branch-types", "A function is defined under a condition on data.", "Define it before."
        )
    return make_function(run, node, name, place)
