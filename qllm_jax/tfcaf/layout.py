"""Lines of at most 100 columns: where a long statement, comment or docstring is broken.

A pure function of the unbroken text, so that translating our own output gives the same lines.
Imports nothing of ours. Called by `emit`.
"""

import re

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
    broken = _at_last_bracket(text, indent)
    if broken is None:
        head, tail = _assignment(text)
        if not head or tail.startswith(("[", "(")):
            return [lead + text]
        broken = [f"{lead}{head}(", *_operands(tail, indent + 1), f"{lead})"]
    return broken


def _assignment(text: str) -> tuple[str, str]:
    match = re.match(r"(?:return |[\w., \[\]]+ (?:[-+*/@%&|^]|//|\*\*)?= )", text)
    return (match[0], text[match.end() :]) if match else ("", text)


def _at_last_bracket(text: str, indent: int) -> list[str] | None:
    """Break inside the bracket pair that ends the statement."""
    colon = ":" if text.endswith(":") else ""
    body = text[: len(text) - len(colon)]
    if not body.endswith((")", "]", "}")):
        return None
    head, _ = _assignment(body)
    opening = _matching_open(body)
    if opening is None or _has_operator(body[len(head) : opening]):
        return None
    lead = INDENT * indent
    inside = body[opening + 1 : -1]
    if not inside.strip():
        return None
    lines = [lead + body[: opening + 1]]
    items = _split(inside, (r", ?",))
    if len(_split(inside, (r" for ",))) > 1:
        items = [inside]  # a comprehension, whose commas are those of its target
    if len(items) == 1 or (len(inside) + len(lead) + 4 <= MAX_COLUMNS and " for " not in inside):
        lines += _operands(inside, indent + 1)
    else:
        for item in items:
            if item.strip(" ,"):
                lines += _item(item.strip(" ,"), indent + 1)
    return [*lines, f"{lead}{body[-1]}{colon}"]


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
    broken = _at_last_bracket(text, indent)
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
    return any(len(_split(text, group)) > 1 for group in _OPERATORS) or bool(
        re.search(r"[^\w.\[\]() ,=*]", text) and len(_split(text, (r" \S+ ",))) > 1
    )


def _top_level(text: str) -> list[int]:
    """Positions outside brackets and strings."""
    found, depth, quote, i = [], 0, "", 0
    while i < len(text):
        char = text[i]
        if quote:
            if char == "\\":
                i += 1
            elif char == quote:
                quote = ""
        elif char in "\"'":
            quote = char
        elif char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        elif depth == 0:
            found.append(i)
        i += 1
    return found


def _matching_open(text: str) -> int | None:
    """Position of the bracket that the last character closes."""
    stack: list[int] = []
    quote, i, opening = "", 0, None
    while i < len(text):
        char = text[i]
        if quote:
            if char == "\\":
                i += 1
            elif char == quote:
                quote = ""
        elif char in "\"'":
            quote = char
        elif char in "([{":
            stack.append(i)
        elif char in ")]}":
            opening = stack.pop()
        i += 1
    return opening


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
