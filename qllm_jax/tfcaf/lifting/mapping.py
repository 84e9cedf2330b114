"""`@jax.vmap` above a function as an assignment after it: `name = jax.vmap(name_of_one)`."""

from __future__ import annotations

import ast

_MAPS = frozenset(("jax.vmap", "vmap", "torch.vmap", "torch.func.vmap"))
_PARTIALS = frozenset(("partial", "functools.partial"))


def mapped(node: ast.AST, taken: set[str]) -> list[ast.AST]:
    """A statement, and where it defines a mapped function the assignment that maps it.

    Args:
        node: Any statement.
        taken: Names that the source uses; the new one is added.
    """
    if not isinstance(node, ast.FunctionDef) or not node.decorator_list:
        return [node]
    outermost, *others = node.decorator_list
    if not _maps(outermost) or any(map(_maps, others)):
        return [node]
    options = outermost.keywords if isinstance(outermost, ast.Call) else []
    function = outermost.args[0] if isinstance(outermost, ast.Call) else outermost
    name, one = node.name, f"{node.name}_of_one"
    while one in taken:
        one += "_"
    taken.add(one)
    node.name, node.decorator_list = one, others
    call = ast.Call(function, [ast.Name(one, ast.Load())], options)
    assignment = ast.Assign([ast.Name(name, ast.Store())], call)
    # The translator knows module-level statements by their lines, so this needs one of its own.
    alone = node.end_lineno or node.lineno
    assignment.lineno = alone if alone > node.lineno else outermost.lineno
    assignment.col_offset = 0
    return [node, assignment]


def _maps(decorator: ast.expr) -> bool:
    """Whether it is `jax.vmap` or a `partial` of it with keywords."""
    match decorator:
        case ast.Call(func=func, args=[of]) if ast.unparse(func) in _PARTIALS:
            return ast.unparse(of) in _MAPS
    return ast.unparse(decorator) in _MAPS
