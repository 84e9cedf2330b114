"""Functions that make functions: what they make is emitted where it is called."""

from __future__ import annotations

import ast

from qllm_jax.tfcaf.emit import Define
from qllm_jax.tfcaf.interpreter.definitions import Definition, held, last_reads, make_function
from qllm_jax.tfcaf.interpreter.state import Frame, Run, Scope
from qllm_jax.tfcaf.values import Value


def makes_functions(node: ast.AST) -> bool:
    """Whether a function's last statement returns a function that it defines, or a lambda."""
    assert isinstance(node, ast.FunctionDef)
    match node.body[-1]:
        case ast.Return(value=ast.Lambda()):
            return True
        case ast.Return(value=ast.Name(id=name)):
            return any(isinstance(n, ast.FunctionDef) and n.name == name for n in node.body)
    return False


def call_factory(run: Run, definition: Definition, bound: dict[str, Value]) -> Value:
    """A function that makes a function: what it makes is emitted where it is called.

    Its variables become variables of the caller, under names of their own.
    """
    node = definition.node
    assert isinstance(node, ast.FunctionDef)
    scope = Scope(definition.scope, "function")
    for name, value in bound.items():
        scope.values[name] = held(run, name, value)
    run.frames.append(Frame(node, scope, last_reads=last_reads(node)))
    try:
        with run.inside(scope):
            for inner in node.body[:-1]:
                _run_in_factory(run, definition, inner)
            last = node.body[-1]
            assert isinstance(last, ast.Return)
            assert last.value is not None
            return run.evaluate(last.value)
    finally:
        run.frames.pop()


def _run_in_factory(run: Run, definition: Definition, inner: ast.stmt) -> None:
    run.line = inner.lineno
    match inner:
        case ast.FunctionDef():
            place = Define([])
            run.functions[id(place)] = place
            run.out.append(place)
            run.bind(inner.name, make_function(run, inner, run.fresh(inner.name), place))
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            if inner.value is not None:
                run.bind(name, held(run, name, run.evaluate(inner.value)))
        case ast.Expr(value=ast.Constant()) | ast.Pass():
            pass
        case _:
            raise run.refuse(
                "return-type",
                f"`{definition.name}` returns a function, and does more than assign before.",
                "Write a plain function with one more argument.",
            )
