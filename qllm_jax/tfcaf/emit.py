"""Emitted statements as a tree, how repeated emissions merge, and how they become text.

A loop body or helper is interpreted once per iteration or call. Each time gives a list of
statements; where the lists merge, one body serves all and the loop or helper is kept. A static
`if` that depends on the loop variable keeps its condition, and each iteration knows one of its
branches. Imports `layout`. Called by the interpreter.
"""

from __future__ import annotations

import dataclasses

from qllm_jax.tfcaf.layout import INDENT, MAX_COLUMNS, comment_lines, docstring_lines, wrap

Body = list["Statement"]


@dataclasses.dataclass(slots=True)
class Line:
    """A simple statement; `leaves` where nothing after it in its block runs."""

    text: str
    comment: str = ""
    leaves: bool = False


@dataclasses.dataclass(slots=True)
class Note:
    """A comment on its own line, or with text None a blank line."""

    text: str | None


@dataclasses.dataclass(slots=True)
class Doc:
    """A docstring."""

    text: str


@dataclasses.dataclass(slots=True)
class Loop:
    """A kept `for`."""

    header: str
    body: Body
    comment: str = ""


@dataclasses.dataclass(slots=True)
class Branch:
    """A kept static `if` and the opposite of its test; a side that no iteration took is None."""

    test: str
    opposite: str
    body: Body | None
    orelse: Body | None
    comment: str = ""


@dataclasses.dataclass(slots=True)
class Variant:
    """One emitted form of a function of the source."""

    name: str
    header: str  # parameters in parentheses
    body: Body


@dataclasses.dataclass(slots=True)
class Define:
    """Where a function of the source is defined; filled as its calls are met.

    Attributes:
        variants: Its forms; more than one where calls need different text.
        leading: Comments before it.
    """

    variants: list[Variant]
    leading: Body = dataclasses.field(default_factory=list)


Statement = Line | Note | Doc | Loop | Branch | Define


def merge(first: Body, second: Body) -> Body | None:
    """One body whose run equals `first` on one iteration and `second` on another, or None."""
    merged: Body = []
    for index in range(max(len(first), len(second))):
        if index >= len(first) or index >= len(second):
            longer = first if index < len(first) else second
            if index and _may_leave(merged[-1]):
                return merged + longer[index:]
            return None
        both = _merge_statement(first[index], second[index])
        if both is None:
            return None
        merged.append(both)
    return merged


def _may_leave(statement: Statement) -> bool:
    if isinstance(statement, Branch):
        return any(side and _ends(side) for side in (statement.body, statement.orelse))
    return False


def _ends(body: Body) -> bool:
    last = body[-1]
    return (isinstance(last, Line) and last.leaves) or _may_leave(last)


def _merge_statement(first: Statement, second: Statement) -> Statement | None:
    if isinstance(first, Branch) and isinstance(second, Branch) and first.test == second.test:
        sides: list[Body | None] = []
        for one, other in ((first.body, second.body), (first.orelse, second.orelse)):
            side = one if other is None else other if one is None else merge(one, other)
            if side is None and one is not None:
                return None
            sides.append(side)
        return Branch(first.test, first.opposite, sides[0], sides[1], first.comment)
    if isinstance(first, Loop) and isinstance(second, Loop) and first.header == second.header:
        if not first.body or not second.body:  # a loop that did not run on one of them
            return first if first.body else second
        body = merge(first.body, second.body)
        return None if body is None else Loop(first.header, body, first.comment)
    if isinstance(first, Define) and isinstance(second, Define):
        return _merge_define(first, second)
    return first if first == second else None


def _merge_define(first: Define, second: Define) -> Define | None:
    if not first.variants or not second.variants:
        return first if first.variants else second
    if len(first.variants) != len(second.variants):
        return None
    variants = []
    for one, other in zip(first.variants, second.variants, strict=True):
        body = merge(one.body, other.body)
        if body is None or (one.name, one.header) != (other.name, other.header):
            return None
        variants.append(Variant(one.name, one.header, body))
    return Define(variants, first.leading)


def count_lines(body: Body) -> int:
    """Statements in a body, with those inside its blocks."""
    total = 0
    for statement in body:
        total += 1
        for inner in _inner(statement):
            total += count_lines(inner)
    return total


def _inner(statement: Statement) -> list[Body]:
    match statement:
        case Loop():
            return [statement.body]
        case Branch():
            return [side for side in (statement.body, statement.orelse) if side]
        case Define():
            return [variant.body for variant in statement.variants]
        case _:
            return []


def render(body: Body, indent: int = 0) -> list[str]:
    """The lines of a body."""
    lines: list[str] = []
    for statement in body:
        lines += _render_statement(statement, indent)
    return lines


def _render_statement(statement: Statement, indent: int) -> list[str]:
    match statement:
        case Note(text=None):
            return [""]
        case Note():
            return comment_lines(statement.text or "", indent)
        case Doc():
            return docstring_lines(statement.text, indent)
        case Line():
            return _with_comment(wrap(statement.text, indent), statement.comment, indent)
        case Loop():
            return _block(f"{statement.header}:", statement.body, statement.comment, indent)
        case Branch():
            return _render_branch(statement, indent)
        case Define():
            lines = render(statement.leading, indent) if statement.variants else []
            for variant in statement.variants:
                header = f"def {variant.name}{variant.header}:"
                lines += [*_block(header, variant.body, "", indent), *[""] * (1 if indent else 2)]
            return lines
    raise AssertionError(statement)


def _block(header: str, body: Body, comment: str, indent: int) -> list[str]:
    lines = _with_comment(wrap(header, indent), comment, indent)
    return lines + _inside(body, indent + 1)


def _inside(body: Body, indent: int) -> list[str]:
    """The lines of a block, which are never comments alone."""
    lines = trim(render(body, indent))
    only_comments = all(not line or line.lstrip().startswith("#") for line in lines)
    return [*lines, f"{INDENT * indent}pass"] if only_comments else lines


def _render_branch(statement: Branch, indent: int) -> list[str]:
    body = _inside(statement.body, indent + 1) if statement.body else []
    orelse = _inside(statement.orelse, indent + 1) if statement.orelse else []
    if not body and not orelse:
        return []
    if not body:
        header = wrap(f"if {statement.opposite}:", indent)
        return _with_comment(header, statement.comment, indent) + (orelse or [])
    lines = _with_comment(wrap(f"if {statement.test}:", indent), statement.comment, indent)
    lines += body
    if orelse:
        lines += [f"{INDENT * indent}else:", *orelse]
    return lines


def _with_comment(lines: list[str], comment: str, indent: int) -> list[str]:
    if not comment:
        return lines
    if len(lines) == 1 and len(lines[0]) + 2 + len(comment) <= MAX_COLUMNS:
        return [f"{lines[0]}  {comment}"]
    return comment_lines(comment, indent) + lines


def trim(lines: list[str]) -> list[str]:
    """Lines without blank ones at either end or two in a row."""
    kept: list[str] = []
    for line in lines:
        if line or (kept and kept[-1]):
            kept.append(line)
    while kept and not kept[-1]:
        kept.pop()
    return kept
