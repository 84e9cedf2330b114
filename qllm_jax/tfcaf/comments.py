"""The comments and blank lines of a source, by line, so that they can stay where they were.

Imports nothing of ours. Made by `translate`; read by the interpreter as it reaches statements.
"""

import ast
import dataclasses
import io
import re
import tokenize

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


@dataclasses.dataclass(frozen=True, slots=True)
class Comments:
    """Attributes:
    own: Comments on lines of their own, line -> text.
    trailing: Comments after code, line -> text.
    blank: Lines with nothing on them.
    """

    own: dict[int, str]
    trailing: dict[int, str]
    blank: frozenset[int]

    def within(self, node: ast.stmt) -> list[str]:
        """Comments on the lines of a statement; for one with a block, of its first line."""
        has_block = hasattr(node, "body")
        end = node.lineno if has_block else node.end_lineno or node.lineno
        found = []
        for line in range(node.lineno, end + 1):
            for table in (self.trailing, self.own):
                if line in table:
                    found.append(table[line])
        return found

    def before(self, line: int) -> list[str | None]:
        """Own-line comments directly above a statement; None stands for a blank line."""
        found: list[str | None] = []
        above = line - 1
        while above in self.own or above in self.blank:
            found.append(self.own.get(above))
            above -= 1
        return list(reversed(found))


def read_comments(source: str) -> Comments:
    """Collect a source's comments; none where it cannot be tokenised."""
    own: dict[int, str] = {}
    trailing: dict[int, str] = {}
    blank = {n for n, row in enumerate(source.split("\n"), 1) if not row.strip()}
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT:
                alone = not token.line[: token.start[1]].strip()
                (own if alone else trailing)[token.start[0]] = _clean(token.string)
    except (tokenize.TokenError, SyntaxError, RecursionError, MemoryError):
        return Comments({}, {}, frozenset())
    return Comments(own, trailing, frozenset(blank))


def _clean(text: str) -> str:
    """One `# comment` line, without characters that could hide or reorder text."""
    body = _CONTROL.sub("", text).lstrip("#").strip()[:500]
    return f"# {body}".rstrip()
