"""Find the code in what a language model answered. Nothing here runs it; it is only parsed.

    text ─► thinking taken out ─► fences (or prose) ─► cleaned blocks ─► best first

A block that does not parse as it stands is cleaned step by step (dedent, prompts, tabs, typographic
quotes) and at last cut into top-level pieces, of which those that are Python are kept. Every step
is linear in the text, and the text is bounded.
"""

import dataclasses
import json
import re
import textwrap

from qllm_jax.tfcaf.cleaning import DEFINES, clean, fits_contract, names_of, parse_or_none
from qllm_jax.tfcaf.contract import TranslationError

MAX_CHARS = 200_000
MAX_BLOCKS = 64
_THINKING = re.compile(
    r"</?(think|thinking|thought|thoughts|reasoning|reflection|scratchpad|analysis|details)"
    r"(?:\s[^<>\n]{0,200})?>",
    re.IGNORECASE,
)
_FENCE = re.compile(
    r"^(?P<lead>[ \t]*(?:(?:[-*+]|\d{1,3}[.)])[ \t]+)?)(?P<fence>`{3,}|~{3,})(?P<rest>.*)$"
)
_MIDLINE_FENCE = re.compile(r"(?P<fence>`{3,})[ \t]*(?P<rest>[\w+#-]{0,20}[ \t]*)$")
_CODE_START = re.compile(r"^(?:def|import|from|async def|class|@)[ \w]")
_ANY_START = re.compile(
    r"^([ \t]*)(?:(?:async[ \t]+)?def|class|import|from|\w+[ \t]*=[ \t]*lambda)\b"
)
_PYTHON_TAGS = frozenset(
    """python py python3 py3 python2 ipython ipython3 pycon code
    torch pytorch numpy jax jnp""".split()  # noqa: SIM905
)
_UNKNOWN_TAGS = frozenset(["", "text", "txt", "plaintext", "plain", "markdown", "md"])
_INVISIBLE = {ord(c): None for c in "\ufeff\u200b\u200c\u200d\u2060\u00ad"}
_SPACES = {ord(c): " " for c in "\u00a0\u2007\u202f\u2009\u200a\u2002\u2003\u3000"}


@dataclasses.dataclass(frozen=True)
class CodeBlock:
    """A piece of a response that may hold the function.

    Attributes:
        source: The code as written; only line ends, common indentation and invisible characters
            are changed, and, where `note` says so, what kept it from being Python.
        language: The fence's tag in lower case; "" where there is none.
        line: 1-based line of the response on which the source starts.
        note: What a reader should know, such as which of several blocks this is; "" if nothing.
        fits: It holds a function of two required parameters.
    """

    source: str
    language: str = ""
    line: int = 1
    note: str = ""
    fits: bool = False


def read_response(text: str) -> tuple[CodeBlock, ...]:
    """Collect the code of a response, in the order in which it should be tried.

    The last block with a complete function of two parameters comes first; a block that uses what
    an earlier block defines is joined to it. Blocks without such a function come last, so that
    the refusal can name what is wrong with them.

    Args:
        text: A whole chat response, or bare source.

    Returns:
        Blocks, best first; empty where the text holds no code.

    Raises:
        TranslationError: Rule "too-long", over 200,000 characters.
    """
    if len(text) > MAX_CHARS:
        raise TranslationError(
            "too-long",
            f"The response has {len(text):,} characters; at most {MAX_CHARS:,} are read.",
            "Answer with one function and a short explanation.",
        )
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n")
    text = text.translate(_INVISIBLE).translate(_SPACES)
    unwrapped = _from_json(text)
    if unwrapped:
        return _rank([block for part in unwrapped for block in _blocks(part)])
    spoken, unclosed = _without_thinking(text)
    ranked = _rank(_blocks(spoken))
    if unclosed and not any(block.fits for block in ranked):
        note = "the thinking block was never closed; the last function in it is used"
        inside = [block for block in _rank(_blocks(unclosed)) if block.fits]
        ranked = tuple(_noted(block, note) for block in inside) + ranked
    return ranked


def _from_json(text: str) -> list[str]:
    """The strings with code in a response that is JSON as a whole, or [] where it is not."""
    body = text.strip()
    if body.startswith("```json") and body.endswith("```"):
        body = body[len("```json") : -3].strip()
    if body[:1] not in ("{", "["):
        return []
    try:
        value = json.loads(body, strict=False)
    except (ValueError, RecursionError):
        return []
    found: list[str] = []
    pending = [value]
    while pending and len(found) < MAX_BLOCKS:
        item = pending.pop()
        if isinstance(item, str) and ("def " in item or "lambda" in item):
            found.append(item)
        elif isinstance(item, dict):
            pending.extend(reversed(list(item.values())))
        elif isinstance(item, list):
            if item and all(isinstance(line, str) for line in item):
                pending.append("\n".join(line.rstrip("\n") for line in item))
            else:
                pending.extend(reversed(item))
    return found


def _without_thinking(text: str) -> tuple[str, str]:
    """Blank out closed thinking blocks (line numbers stay); also return an unclosed one's text."""
    kept: list[str] = []
    position, depth, start = 0, 0, 0
    for tag in _THINKING.finditer(text):
        line_start = text.rfind("\n", max(0, tag.start() - 200), tag.start()) + 1
        closing = tag.group(0)[1] == "/"
        if not closing and text[line_start : tag.start()].strip() and depth == 0:
            continue  # mentioned within a sentence or a comment
        if not closing:
            if depth == 0:
                kept.append(text[position : tag.start()])
                start = tag.end()
            depth += 1
        elif depth:
            depth -= 1
            if depth == 0:
                kept.append("\n" * text.count("\n", start, tag.end()))
                position = tag.end()
        elif tag.group(1).lower() != "details":
            newlines = sum(part.count("\n") for part in kept)
            kept = ["\n" * (newlines + text.count("\n", position, tag.end()))]  # the template's
            position = tag.end()
    if depth:
        return "".join(kept), "\n" * text.count("\n", 0, start) + text[start:]
    kept.append(text[position:])
    return "".join(kept), ""


def _blocks(text: str, nested: bool = False) -> list[CodeBlock]:
    """All blocks of a text in their order; its prose is read as code only where no fence is."""
    fenced = _fenced(text, keep_docstrings=True)
    if any(not _parses(block.source) for block in fenced):
        plain = _fenced(text, keep_docstrings=False)
        if sum(_parses(b.source) for b in plain) >= sum(_parses(b.source) for b in fenced):
            fenced = plain
    found: list[CodeBlock] = []
    for block in fenced[-MAX_BLOCKS:]:
        inner = "```" in block.source or "~~~" in block.source
        if inner and not nested and not _parses(block.source):
            inside = _blocks(block.source, nested=True)
            found += [dataclasses.replace(b, line=b.line + block.line - 1) for b in inside]
        else:
            found.append(_cleaned(block))
    if any(block.fits for block in found) or nested:
        return found
    bare = _cleaned(_unfenced(text))
    return [*found, bare] if bare.source and (bare.fits or not found) else found


@dataclasses.dataclass
class _Open:
    """A block whose fence is open: `odd` counts triple quotes so far, modulo two."""

    fence: str
    language: str
    line: int
    quoted: bool
    lines: list[str] = dataclasses.field(default_factory=list)
    odd: list[int] = dataclasses.field(default_factory=lambda: [0, 0])

    def add(self, line: str) -> None:
        self.lines.append(line)
        for kind, quote in enumerate(('"""', "'''")):
            self.odd[kind] = (self.odd[kind] + line.count(quote)) % 2

    def closed(self) -> CodeBlock:
        return CodeBlock(textwrap.dedent("\n".join(self.lines)), self.language, self.line)


def _fenced(text: str, keep_docstrings: bool) -> list[CodeBlock]:
    """Fenced blocks. With `keep_docstrings` a fence in a docstring closes nothing."""
    blocks: list[CodeBlock] = []
    block: _Open | None = None
    for number, raw in enumerate(text.split("\n"), start=1):
        quoted = _quoted(raw, block is not None and block.quoted)
        line = re.sub(r"^[ \t]{0,3}>[ \t]?", "", raw) if quoted else raw
        mark = _FENCE.match(line)
        if block is None:
            mark = mark or _midline_fence(line)
            if mark is None:
                continue
            language, code = _info(mark["rest"].strip())
            block = _Open(mark["fence"], language, number if code else number + 1, quoted)
            if code:
                block.add(code.rstrip("`~ \t"))
            if not code.endswith(block.fence):
                continue
        elif keep_docstrings and any(block.odd):
            block.add(line)
            continue
        elif mark and mark["fence"].startswith(block.fence):
            pass
        elif line.rstrip().endswith(block.fence) and not mark:
            block.add(line.rstrip(" \t`~"))
        else:
            block.add(line)
            continue
        blocks.append(block.closed())
        language = _info(mark["rest"].strip())[0] if mark else ""
        reopens = language in _PYTHON_TAGS and block.lines and block.line != number
        block = _Open(block.fence, language, number + 1, quoted) if reopens else None
    if block is not None and block.lines:
        blocks.append(block.closed())
    return blocks


def _quoted(line: str, inside_quote: bool) -> bool:
    """Whether a line is Markdown block quotation around or inside a fence, not a >>> prompt."""
    body = line.lstrip(" \t")
    if not body.startswith(">") or body.startswith(">>>"):
        return False
    return inside_quote or bool(_FENCE.match(body[1:]))


def _midline_fence(line: str) -> re.Match[str] | None:
    """An opening fence at the end of a line of prose."""
    return _MIDLINE_FENCE.search(line) if len(line) < 400 else None


def _info(rest: str) -> tuple[str, str]:
    """Split an info string into its language and code that was put on the same line."""
    if _CODE_START.match(rest):
        return "", rest
    word, _, tail = rest.strip("{}. \t").partition(" ")
    tail = tail.strip()
    return word.split("{")[0].split(":")[0].lower(), tail if _CODE_START.match(tail) else ""


def _unfenced(text: str) -> CodeBlock:
    """The part of a text without fences that starts with code, dedented; maybe with prose in it."""
    lines = [
        re.sub(r"^\s{0,80}<[a-zA-Z_]{1,20}[^<>\n]{0,80}>", "", line) for line in text.split("\n")
    ]
    if not any(DEFINES.match(line) for line in lines):
        return CodeBlock("")
    indents = [len(m[1].expandtabs(4)) for m in map(_ANY_START.match, lines) if m]
    margin = min(indents)
    body = []
    for line in lines:
        wide = line.expandtabs(4) if margin else line
        body.append(wide[margin:] if not wide[:margin].strip() else wide.lstrip())
    return CodeBlock("\n".join(body), "", 1, "no code fence; the function was found in the text")


def _cleaned(block: CodeBlock) -> CodeBlock:
    """The block with its source made Python, where that is possible."""
    source, line, note = clean(block.source)
    if note.startswith("text that") and block.note:
        note = ""  # prose around code without a fence is no news
    moved = dataclasses.replace(block, source=source, line=block.line + line)
    return dataclasses.replace(_noted(moved, note), fits=fits_contract(source))


def _parses(source: str) -> bool:
    return parse_or_none(source) is not None


def _rank(blocks: list[CodeBlock]) -> tuple[CodeBlock, ...]:
    """Blocks best first: those that fit, Python tags before others, later before earlier."""
    joined = [_joined(block, blocks[:index]) for index, block in enumerate(blocks)]
    fitting = sum(block.fits for block in joined)
    order = sorted(
        range(len(joined)),
        key=lambda i: (not joined[i].fits, not _tagged_python(joined[i].language), -i),
    )
    ranked = []
    for i in order:
        which = (
            f"code block {i + 1} of {len(joined)} (line {joined[i].line} of the response) is used"
        )
        note = which if fitting > 1 and joined[i].fits else ""
        ranked.append(_noted(joined[i], note))
    return tuple(ranked)


def _tagged_python(language: str) -> bool:
    return language in _PYTHON_TAGS or language in _UNKNOWN_TAGS


def _joined(block: CodeBlock, earlier: list[CodeBlock]) -> CodeBlock:
    """The block after the earlier ones, where it uses names that only they define."""
    if not block.fits:
        return block
    wanted = names_of(block.source)[1]
    used: list[str] = []
    for other in reversed(earlier):
        bound, free = names_of(other.source)
        if wanted & bound:
            wanted = (wanted - bound) | free
            used.insert(0, other.source.rstrip("\n"))
    if not used:
        return block
    joined = dataclasses.replace(block, source="\n\n".join([*used, block.source]))
    return _noted(joined, "joined to the earlier block that it depends on")


def _noted(block: CodeBlock, note: str) -> CodeBlock:
    """The block with one more note."""
    return dataclasses.replace(block, note="; ".join(n for n in (block.note, note) if n))
