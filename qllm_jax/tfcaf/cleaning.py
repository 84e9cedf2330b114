"""Turn the text of a code block into Python that parses, and say what that took.

A block that does not parse as it stands is cleaned step by step (prompts, tabs, typographic
quotes) and at last cut into top-level pieces, of which those that are Python are kept.
"""

import ast
import functools
import html
import re
import warnings

MAX_BLOCK_CHARS = 60_000  # of one block; a longer one is not parsed
_MAX_DEPTH = 100  # of brackets, before a parser sees the text
_USUAL_ALIASES = frozenset(["torch", "nn", "F", "np", "numpy", "jnp", "jax", "lax", "math"])
_CONTINUES = re.compile(r"^(?:else|elif|except|finally)\b|^[)\]}]")
_TYPOGRAPHY = {
    **{ord(c): "'" for c in "‘’‚′"},
    **{ord(c): '"' for c in "“”„″"},
    **{ord(c): "-" for c in "−–‐‑"},
    **{ord(full): plain for full, plain in zip("（），：；＝＋＊", "(),:;=+*", strict=True)},
}
DEFINES = re.compile(
    r"^([ \t]*)(?:async[ \t]+)?def[ \t]+\w+[ \t]*\(|^([ \t]*)\w+[ \t]*=[ \t]*lambda\b"
)


def clean(source: str) -> tuple[str, int, str]:
    """Make a block Python with as little change as possible.

    Args:
        source: A block's text, dedented.

    Returns:
        The source, the 0-based line of the block on which it starts, and a note on what was
        changed. Source that cannot be helped comes back as it was.
    """
    session = any(line.lstrip().startswith(">>> ") for line in source.split("\n"))
    if session and parse_or_none(source) is None:  # else it is an example in a docstring
        source = _without_prompts(source)
    steps = [
        (source, ""),
        (source.expandtabs(4), ""),
        (source.translate(_TYPOGRAPHY), "typographic quotes and signs were made plain"),
    ]
    if "&lt;" in source or "&gt;" in source or "&amp;" in source:
        steps.append((html.unescape(source), "HTML escapes were undone"))
    for text, note in steps:
        if parse_or_none(text) is not None:
            return text, 0, note
    for text, _ in steps:
        kept, line = _python_pieces(text)
        if fits_contract(kept):
            return kept, line, "text that is not Python was left out"
    return source, 0, ""


def fits_contract(source: str) -> bool:
    """Whether the source defines a function of two required parameters."""
    tree = parse_or_none(source)
    return tree is not None and any(_two_parameters(node) for node in tree.body)


def _without_prompts(source: str) -> str:
    """The input lines of an interactive session, without their prompts."""
    kept = []
    for line in source.split("\n"):
        body = line.lstrip()
        if body.startswith((">>> ", "... ")) or body in (">>>", "..."):
            kept.append(body[4:])
    return "\n".join(kept)


def _python_pieces(source: str) -> tuple[str, int]:
    """The top-level pieces of a text that are Python, joined, and the line of the first.

    A piece is a line at the margin with the indented lines below it. Words that happen to parse
    ("Done") are not kept; calls are, so that the grammar can refuse them.
    """
    pieces: list[tuple[int, list[str]]] = []
    decorated = False
    depth, quote = 0, ""
    for number, line in enumerate(source.split("\n")):
        inside = depth > 0 or bool(quote)
        margin = bool(line.strip()) and line[0] not in " \t" and not inside
        joins = decorated or _CONTINUES.match(line)
        restarts = inside and not quote and bool(DEFINES.match(line)) and line[:1] not in " \t"
        if restarts:
            depth, margin, joins = 0, True, None
        if pieces and (not margin or joins):
            pieces[-1][1].append(line)
        else:
            pieces.append((number, [line]))
            depth, quote = 0, ""
        decorated = margin and line.startswith("@")
        depth, quote = _scan(line, depth, quote)
        if (
            not pieces[-1][1][0].startswith(("def ", "@", "async ", "class "))
            and depth <= 0
            and not quote
        ):
            depth = 0
    kept, first = [], None
    for number, lines in pieces:
        text = "\n".join(lines).rstrip()
        tree = parse_or_none(text)
        if tree is None and lines[0].startswith(("def ", "@")):
            text, tree = _trimmed(lines)
        if tree is None or not tree.body:
            continue
        if all(isinstance(n, ast.Expr) and not isinstance(n.value, ast.Call) for n in tree.body):
            continue
        first = number if first is None else first
        kept.append(text)
    return "\n".join(kept) + "\n" if kept else "", first or 0


def _trimmed(lines: list[str]) -> tuple[str, ast.Module | None]:
    """A function without the indented prose after its last statement, if a few cuts find it."""
    ends = [i + 1 for i, line in enumerate(lines) if re.match(r"^[ \t]+return\b", line)]
    for end in reversed(ends[-8:]):
        text = "\n".join(lines[:end]).rstrip()
        tree = parse_or_none(text)
        if tree is not None:
            return text, tree
    return "", None


def _scan(line: str, depth: int, quote: str) -> tuple[int, str]:
    """Bracket depth and open triple quote after a line; strings and comments count for nothing."""
    i = 0
    while i < len(line):
        if quote:
            end = line.find(quote, i)
            if end < 0:
                return depth, quote
            i, quote = end + 3, ""
            continue
        char = line[i]
        if line.startswith(('"""', "'''"), i):
            quote, i = line[i : i + 3], i + 3
            continue
        if char == "#":
            break
        if char in "\"'":
            end = line.find(char, i + 1)
            i = end + 1 if end >= 0 else len(line)
            continue
        depth += (char in "([{") - (char in ")]}")
        i += 1
    return max(depth, 0), quote


@functools.lru_cache(maxsize=32)
def parse_or_none(source: str) -> ast.Module | None:
    """Parse, or None where it is not Python or too deep to be parsed safely."""
    if len(source) > MAX_BLOCK_CHARS:
        return None
    depth = deepest = 0
    for char in source:
        depth += (char in "([{") - (char in ")]}")
        deepest = max(deepest, depth)
    if deepest > _MAX_DEPTH:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _two_parameters(node: ast.stmt) -> bool:
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda):
        return takes_two(node.value.args)
    return isinstance(node, ast.FunctionDef) and takes_two(node.args)


def takes_two(arguments: ast.arguments) -> bool:
    """Whether a function can be called with exactly two positional arguments."""
    positional = len(arguments.posonlyargs) + len(arguments.args)
    keyword = sum(default is None for default in arguments.kw_defaults)
    return positional - len(arguments.defaults) <= 2 <= positional and keyword == 0


@functools.lru_cache(maxsize=2 * 64)
def names_of(source: str) -> tuple[frozenset[str], frozenset[str]]:
    """The names that a module's top level binds, and those it reads and binds nowhere."""
    tree = parse_or_none(source)
    if tree is None:
        return frozenset(), frozenset()
    top: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            top.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            top |= {(item.asname or item.name).split(".")[0] for item in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            top |= {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}
    read: set[str] = set()
    bound = set(top)
    for inner in ast.walk(tree):
        if isinstance(inner, ast.Name):
            (read if isinstance(inner.ctx, ast.Load) else bound).add(inner.id)
        elif isinstance(inner, ast.arg):
            bound.add(inner.arg)
        elif isinstance(inner, ast.FunctionDef):
            bound.add(inner.name)
    return frozenset(top - _USUAL_ALIASES), frozenset(read - bound - _USUAL_ALIASES)
