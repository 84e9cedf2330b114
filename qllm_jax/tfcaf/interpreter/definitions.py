"""What a function of the source is before it is called."""

from __future__ import annotations

import ast
import dataclasses

from qllm_jax.tfcaf.code import Code
from qllm_jax.tfcaf.emit import Define
from qllm_jax.tfcaf.interpreter.forms import named
from qllm_jax.tfcaf.interpreter.state import Run, Scope
from qllm_jax.tfcaf.values import Array, Function, Static, Value, static


@dataclasses.dataclass(slots=True, eq=False)
class Definition:
    """A function of the source.

    Attributes:
        node: Its definition.
        scope: Where it was defined; its free names are looked up there.
        define: Where it is emitted; None for a lambda that is written out where it is called.
        name: What the author calls it.
        defaults: Values of its defaults, by parameter.
        no_grad: Decorated so that no gradient flows out of it.
    """

    node: ast.FunctionDef | ast.Lambda
    scope: Scope
    define: Define | None
    name: str
    defaults: dict[str, Value]
    no_grad: bool = False


def make_function(
    run: Run, node: ast.FunctionDef | ast.Lambda, name: str = "", define: Define | None = None
) -> Function:
    """A function value for a definition, in the current scope."""
    arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    given: list[tuple[ast.arg, ast.expr | None]] = list(
        zip(
            positional[len(positional) - len(arguments.defaults) :], arguments.defaults, strict=True
        )
    )
    given += list(zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True))
    defaults = {a.arg: run.evaluate(d) for a, d in given if d is not None}
    if isinstance(node, ast.Lambda):  # written out where it is called, whatever holds then
        defaults = {name: held(run, name, value) for name, value in defaults.items()}
    decorators = node.decorator_list if isinstance(node, ast.FunctionDef) else []
    no_grad = any(
        ast.unparse(d).removesuffix("()").endswith(("no_grad", "inference_mode"))
        for d in decorators
    )
    definition = Definition(node, run.scope, define, name, defaults, no_grad)
    return Function(definition, Code(name or "function"))


def held(run: Run, name: str, value: Value) -> Value:
    """A value as what is made now sees it later, whatever happens to the variables it is in."""
    if isinstance(value, Static) and isinstance(value.value, bool | int | float | str):
        return static(value.value)
    if isinstance(value, Array):
        place = run.fresh(run.spell(name))
        run.emit(f"{place} = {value.code.text}")
        return named(value, Code(place))
    return value


def parameters(node: ast.FunctionDef | ast.Lambda) -> list[str]:
    """Names of the parameters that take one argument each, in order."""
    return [*positional_parameters(node), *(p.arg for p in node.args.kwonlyargs)]


def positional_parameters(node: ast.FunctionDef | ast.Lambda) -> list[str]:
    """Names of the parameters that an argument without a name may be for."""
    return [p.arg for p in [*node.args.posonlyargs, *node.args.args]]


def star_parameters(node: ast.FunctionDef | ast.Lambda) -> tuple[str, str]:
    """Names of `*rest` and `**others`; "" for one that is not there."""
    rest, others = node.args.vararg, node.args.kwarg
    return rest.arg if rest else "", others.arg if others else ""


def last_reads(node: ast.FunctionDef) -> dict[str, int]:
    """For each name, the last line that may read it; a read in a loop reaches to its end."""
    reads: dict[str, int] = {}
    pending: list[tuple[ast.AST, int]] = [(child, 0) for child in node.body]
    while pending:
        item, until = pending.pop()
        if isinstance(item, ast.For | ast.While | ast.FunctionDef | ast.Lambda):
            end = item.end_lineno or 0
            until = max(
                until, end if isinstance(item, ast.For | ast.While) else node.end_lineno or 0
            )
        if isinstance(item, ast.Name) and isinstance(item.ctx, ast.Load):
            reads[item.id] = max(reads.get(item.id, 0), item.lineno, until)
        if isinstance(item, ast.AugAssign) and isinstance(item.target, ast.Name):
            reads[item.target.id] = max(reads.get(item.target.id, 0), item.lineno, until)
        pending += [(child, until) for child in ast.iter_child_nodes(item)]
    return reads
