"""Functions that stand for pieces of a class, and how to tell them from the author's own."""

from __future__ import annotations

import ast
import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Origin:
    """What a function was made from.

    Attributes:
        kind: "record" or "object" (it makes one), "method", "static" or "property" (of a class).
        owner: The class.
        fields: Names of the record's fields or the object's attributes, in order.
    """

    kind: str
    owner: str
    fields: tuple[str, ...]


def origin(node: ast.AST) -> Origin | None:
    """What a function was made from; None for the author's own."""
    text = getattr(node, "type_comment", None)
    if not isinstance(node, ast.FunctionDef) or not text:
        return None
    kind, owner, *fields = text.split(" ")
    return Origin(kind, owner, tuple(fields))


def is_plain(name: object) -> bool:
    return isinstance(name, str) and name.isidentifier() and not name.startswith("_")


def arguments_of(names: list[str], defaults: list[ast.expr]) -> ast.arguments:
    return ast.arguments(
        posonlyargs=[],
        args=[ast.arg(name) for name in names],
        kwonlyargs=[],
        kw_defaults=[],
        defaults=defaults,
    )


def return_tuple(names: list[str]) -> ast.Return:
    return ast.Return(ast.Tuple([ast.Name(name, ast.Load()) for name in names], ast.Load()))


def function(
    at: ast.stmt,
    name: str,
    arguments: ast.arguments,
    body: list[ast.stmt],
    made_from: str,
    fields: list[str] | None = None,
) -> ast.FunctionDef:
    """A function that stands where `at` stood."""
    made = ast.FunctionDef(
        name=name, args=arguments, body=body, decorator_list=[], returns=None, type_comment=None
    )
    made.type_comment = " ".join([made_from, *(fields or [])])
    for new in body:
        if not hasattr(new, "lineno"):
            ast.copy_location(new, at)
    return ast.fix_missing_locations(ast.copy_location(made, at))
