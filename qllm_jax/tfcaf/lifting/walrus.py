"""`:=` as an assignment before the statement that it stands in."""

from __future__ import annotations

import ast

_STATEMENTS = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Return, ast.Expr, ast.Assert)


def hoisted(node: ast.AST) -> list[ast.AST]:
    """A statement after the assignments that its `:=` make."""
    parts: list[ast.expr | None]
    if isinstance(node, _STATEMENTS):
        value = getattr(node, "value", getattr(node, "test", None))
        parts = [value]
    elif isinstance(node, ast.If):
        parts = [node.test]
    else:
        return [node]
    made: list[ast.AST] = []
    for part in parts:
        if part is not None and _can_hoist(part):
            hoist = _Hoist(made)
            new = hoist.visit(part)
            field = "test" if isinstance(node, ast.If | ast.Assert) else "value"
            setattr(node, field, new)
    return [*made, node]


def _can_hoist(part: ast.expr) -> bool:
    """Whether every `:=` in it is surely evaluated, and before anything reads its name."""
    walruses = [n for n in ast.walk(part) if isinstance(n, ast.NamedExpr)]
    if not walruses:
        return False
    choosing = (ast.Lambda, ast.IfExp, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
    for inner in ast.walk(part):
        sides = [inner] if isinstance(inner, choosing) else []
        sides += inner.values[1:] if isinstance(inner, ast.BoolOp) else []  # type: ignore[arg-type]
        sides += inner.comparators[1:] if isinstance(inner, ast.Compare) else []  # type: ignore[arg-type]
        for side in sides:
            if any(isinstance(n, ast.NamedExpr) for n in ast.walk(side)):
                return False
    for walrus in walruses:
        place = (walrus.lineno, walrus.col_offset)
        for read in ast.walk(part):
            if isinstance(read, ast.Name) and read.id == walrus.target.id:
                inside = isinstance(read.ctx, ast.Store)
                if not inside and (read.lineno, read.col_offset) < place:
                    return False
    return len({w.target.id for w in walruses}) == len(walruses)


class _Hoist(ast.NodeTransformer):
    """Takes `:=` out of an expression, inner ones first."""

    def __init__(self, made: list[ast.AST]):
        self.made = made

    def visit_NamedExpr(self, node: ast.NamedExpr) -> ast.AST:
        value = self.visit(node.value)
        target = ast.copy_location(ast.Name(node.target.id, ast.Store()), node)
        self.made.append(ast.copy_location(ast.Assign([target], value), node))
        return ast.copy_location(ast.Name(node.target.id, ast.Load()), node)
