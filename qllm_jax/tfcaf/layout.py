"""Lines of at most 100 columns: where a long statement, comment or docstring is broken.

A pure function of the unbroken text, so that translating our own output gives the same lines.
Imports nothing of ours. Called by `emit`.
"""

import re
from collections.abc import Iterator

INDENT = "    "
MAX_COLUMNS = 100
_OPERATORS = (  # the loosest first
    (r" if | else ",),
    (r" or ",),
    (r" and ",),
    (r" == | != | <= | >= | < | > ",),
    (r" \| ",),
    (r" \^ ",),
    (r" & ",),
    (r" \+ | - ",),
    (r" \* | / | // | % | @ ",),
)


def wrap(text: str, indent: int) -> list[str]:
    """A statement as one line, or broken at its brackets and operators where it is too long."""
    lead = INDENT * indent
    if len(lead) + len(text) <= MAX_COLUMNS:
        return [lead + text]
    broken = _at_bracket(text, indent)
    if broken is None:
        head, tail = _assignment(text)
        if not head:
            return [lead + text]
        colon = ":" if text.endswith(":") else ""
        inside = tail.removesuffix(colon) if colon else tail
        broken = [f"{lead}{head}(", *_inside(inside, indent + 1), f"{lead}){colon}"]
    return broken


def _assignment(text: str) -> tuple[str, str]:
    """What stands before the expression of a statement, and the expression."""
    match = re.match(r"(?:return |if |[\w., \[\]]+ (?:[-+*/@%&|^]|//|\*\*)?= )", text)
    return (match[0], text[match.end() :]) if match else ("", text)


def _at_bracket(text: str, indent: int) -> list[str] | None:
    """Break inside the last bracket pair after which, and before which, the line is short enough.

    None where operators stand outside of brackets, or no pair will do.
    """
    colon = ":" if text.endswith(":") else ""
    body = text[: len(text) - len(colon)]
    head, tail = _assignment(body)
    if _has_operator(tail):
        return None
    lead = INDENT * indent
    room = MAX_COLUMNS - len(lead)
    pairs = [(o, e) for o, e in _pairs(body) if o >= len(head) and body[o + 1 : e].strip()]
    pairs = [(o, e) for o, e in pairs if o < room]
    if not pairs:
        return None
    short = [(o, e) for o, e in pairs if len(body) - e + len(colon) <= room]
    opening, closing = short[-1] if short else pairs[0]
    lines = [lead + body[: opening + 1], *_inside(body[opening + 1 : closing], indent + 1)]
    rest = _at_bracket(body[closing + 1 :] + colon, indent) if not short else None
    if rest is None:
        return [*lines, f"{lead}{body[closing:]}{colon}"]
    return [*lines, f"{lead}{body[closing]}{rest[0].lstrip()}", *rest[1:]]


def _inside(inside: str, indent: int) -> list[str]:
    """What stands in brackets: on one line where it fits, else one line for each item."""
    items = _split(inside, (r", ?",))
    if len(_split(inside, (r" for ",))) > 1:
        items = [inside]  # a comprehension, whose commas are those of its target
    if len(items) == 1 or len(inside) + len(INDENT * indent) <= MAX_COLUMNS:
        return _operands(inside, indent)
    lines: list[str] = []
    for item in items:
        if item.strip(" ,"):
            lines += _item(item.strip(" ,"), indent)
    return lines


def _item(text: str, indent: int) -> list[str]:
    """One argument of a broken call, with its comma."""
    lines = _operands(text, indent)
    return [*lines[:-1], lines[-1] + ","]


def _operands(text: str, indent: int) -> list[str]:
    """An expression inside brackets, broken at its loosest operators where it is too long."""
    lead = INDENT * indent
    if len(lead) + len(text) + 1 <= MAX_COLUMNS:
        return [lead + text]
    for clause in ((r" for ",), *_OPERATORS):
        parts = _split(text, clause, keep=True)
        if len(parts) > 1:
            return [line for part in parts for line in _operands(part.strip(), indent)]
    broken = _at_bracket(text, indent)
    return broken if broken is not None else [lead + text]


def _split(text: str, patterns: tuple[str, ...], keep: bool = False) -> list[str]:
    """Split at matches outside brackets and strings; `keep` leaves each match with what follows."""
    pattern = re.compile("|".join(patterns))
    parts, start = [], 0
    for position in _top_level(text):
        match = pattern.match(text, position)
        if match and position > start:
            parts.append(text[start:position])
            start = position if keep else match.end()
    parts.append(text[start:])
    return parts


def _has_operator(text: str) -> bool:
    """Whether operators stand outside of brackets, other than one at the start."""
    return any(len(_split(text, group)) > 1 for group in _OPERATORS)


def _top_level(text: str) -> list[int]:
    """Positions outside brackets and strings."""
    found, depth = [], 0
    for position, char in _outside_strings(text):
        if char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        elif depth == 0:
            found.append(position)
    return found


def _pairs(text: str) -> list[tuple[int, int]]:
    """Positions of the outermost brackets."""
    found: list[tuple[int, int]] = []
    stack: list[int] = []
    for position, char in _outside_strings(text):
        if char in "([{":
            stack.append(position)
        elif char in ")]}":
            opening = stack.pop()
            if not stack:
                found.append((opening, position))
    return found


def _outside_strings(text: str) -> Iterator[tuple[int, str]]:
    """Every character that is neither in a string nor a quote, and its position."""
    quote, i = "", 0
    while i < len(text):
        char = text[i]
        if quote:
            if char == "\\":
                i += 1
            elif char == quote:
                quote = ""
        elif char in "\"'":
            quote = char
        else:
            yield i, char
        i += 1


def comment_lines(text: str, indent: int) -> list[str]:
    """A comment, broken at spaces where it is too long; `text` starts with #."""
    lead = INDENT * indent
    lines: list[str] = []
    current = lead + "#"
    words = text.lstrip("#").split(" ") if len(lead) + len(text) > MAX_COLUMNS else None
    if words is None:
        return [lead + text]
    for word in filter(None, words):
        if len(current) + 1 + len(word) > MAX_COLUMNS and current != lead + "#":
            lines.append(current)
            current = lead + "#"
        current += " " + word
    return [*lines, current]


def docstring_lines(text: str, indent: int) -> list[str]:
    """A docstring at its indentation; text that would end it early is escaped."""
    lead = INDENT * indent
    escaped = text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    rows = [row.rstrip() for row in escaped.expandtabs(4).split("\n")]
    if rows[-1].endswith('"'):
        rows[-1] = rows[-1][:-1] + '\\"'
    if len(rows) == 1:
        return [f'{lead}"""{rows[0]}"""']
    body = [f"{lead}{row}" if row else "" for row in rows[1:]]
    return [f'{lead}"""{rows[0]}', *body, f'{lead}"""']
