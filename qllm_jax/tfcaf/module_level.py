"""What stands beside the function: which one is meant, and what else may be at module level.

Statements that the function does not need (example calls, a main guard) are left out unread, but
only if they are harmless by name. Imports `cleaning`, the grammar and lifting. Called by
`translate`.
"""

from __future__ import annotations

import ast
import re

from qllm_jax.tfcaf.cleaning import takes_two
from qllm_jax.tfcaf.contract import TranslationError
from qllm_jax.tfcaf.grammar import is_main_guard
from qllm_jax.tfcaf.lifting import origin

_SETTINGS = re.compile(r"(jax\.config|torch\.set_|torch\.use_|np\.set|numpy\.set|torch\.backends)")


def entry_functions(tree: ast.Module) -> tuple[ast.FunctionDef, tuple[str, ...]]:
    """The last top-level function of two required parameters that no other one calls.

    Raises:
        TranslationError: Rule "no-function".
    """
    defined = {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef)}
    _lambdas(tree, defined)
    fitting = [node for node in defined.values() if takes_two(node.args) and origin(node) is None]
    called: set[str] = set()
    for node in defined.values():
        called |= {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and n.id != node.name}
    free = [node for node in fitting if node.name not in called]
    chosen = (free or fitting)[-1:]
    if not chosen:
        raise TranslationError(
            "no-function",
            "No function takes two arrays, agent_qs and state"
            + (f" (found: {', '.join(defined)})." if defined else "."),
            "Define one function of (agent_qs, state).",
        )
    notes: tuple[str, ...] = ()
    if len(free) > 1:
        notes = (f"of {len(free)} functions that fit, the last one, `{chosen[0].name}`, is used",)
    return chosen[0], notes


def _lambdas(tree: ast.Module, defined: dict[str, ast.FunctionDef]) -> None:
    """Turn `name = lambda a, b: …` at module level into functions, in place."""
    for position, node in enumerate(tree.body):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Lambda() as value):
                returns = ast.copy_location(ast.Return(value.body), value.body)
                function = ast.FunctionDef(
                    name=name, args=value.args, body=[returns], decorator_list=[], returns=None
                )
                ast.copy_location(function, node)
                tree.body[position] = function
                defined[name] = function


def check_module_level(tree: ast.Module, dialect: str) -> None:
    """Refuse statements beside functions, imports and constants, but for harmless examples.

    Raises:
        TranslationError: Rule "module-level", or that of a name that is never harmless.
    """
    defined = {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}
    for node in tree.body:
        match node:
            case ast.FunctionDef() | ast.Import() | ast.ImportFrom() | ast.Assign():
                pass
            case ast.AnnAssign() | ast.Expr(value=ast.Constant()) | ast.Assert() | ast.Pass():
                pass
            case ast.Expr(value=ast.Call(func=called)) if _is_example(called, defined):
                pass
            case ast.If() if is_main_guard(node):
                pass
            case ast.For():
                pass
            case _:
                raise TranslationError(
                    "module-level",
                    f"A `{type(node).__name__.lower()}` statement stands outside of any function.",
                    "Leave only imports, constants and functions.",
                    node.lineno,
                )
        if not isinstance(node, ast.FunctionDef | ast.Import | ast.ImportFrom):
            _check_harmless(node)


def _is_example(called: ast.expr, defined: set[str]) -> bool:
    """Whether a call at module level only tries the function out."""
    if isinstance(called, ast.Name):
        return called.id == "print" or called.id in defined
    return isinstance(called, ast.Attribute) and called.attr in ("manual_seed", "set_printoptions")


def _check_harmless(node: ast.AST) -> None:
    """Refuse names that reach outside, in code that is otherwise left out."""
    from qllm_jax.tfcaf.interpreter.names import DANGEROUS, WHY

    for inner in ast.walk(node):
        name = inner.attr if isinstance(inner, ast.Attribute) else None
        name = inner.id if isinstance(inner, ast.Name) else name
        rule = DANGEROUS.get(name or "")
        if rule in ("io", "callback", "memory", "learnable"):
            why, fix = WHY[rule]
            raise TranslationError(rule, f"`{name}` {why}.", fix, inner.lineno)  # type: ignore[attr-defined]
