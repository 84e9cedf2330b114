"""How statements are executed: assignments, conditions, returns. Fills `state.STATEMENTS`.

Loops and what stands left of `=` have modules of their own.
"""

from __future__ import annotations

import ast
import dataclasses

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf.emit import Branch, Define, Doc, Line
from qllm_jax.tfcaf.interpreter import branches, indexing, mutation
from qllm_jax.tfcaf.interpreter.definitions import make_function
from qllm_jax.tfcaf.interpreter.expressions import binary, truth_array
from qllm_jax.tfcaf.interpreter.forms import emittable, static_truth
from qllm_jax.tfcaf.interpreter.functions import stopped
from qllm_jax.tfcaf.interpreter.program import bind_import
from qllm_jax.tfcaf.interpreter.state import Leave, Run, statement
from qllm_jax.tfcaf.interpreter.targets import store, store_rows
from qllm_jax.tfcaf.values import (
    Array,
    Function,
    Sequence,
    Static,
    Value,
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


@statement(ast.AnnAssign)
def _annotated(run: Run, node: ast.AnnAssign) -> None:
    if node.value is not None:
        value = run.evaluate(node.value)
        if isinstance(node.value, ast.Lambda):
            value = _named_lambda(run, node.target, node.value)
        store(run, node.target, _without_gradient(run, value) if run.no_grad else value)


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
        if (
            isinstance(current, Array)
            and isinstance(value, Array)
            and current.ndim > 0
            and run.dialect != "jnp"
            and mutation.is_shared(run, current)
        ):
            mutation.update(run, current, value)
        else:
            store(run, node.target, value)
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
        condition = truth_array(run, test)
        if not node.orelse and all(isinstance(inner, ast.Raise) for inner in node.body):
            return None  # an assertion by another name, and dropped like one
        return branches.execute_if(run, condition, node)
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
