"""Small pieces of HTML, every text in them escaped."""

import base64
import html
import keyword
import re
from collections.abc import Callable, Mapping

from matplotlib.figure import Figure

from qllm_jax.results.style import figure_svg
from qllm_jax.results.table import Table

_TOKEN = re.compile(
    r"""(?P<com>\#[^\n]*)
    |(?P<str>[rbfuRBFU]{0,2}(?:'{3}.*?(?:'{3}|\Z)|\"{3}.*?(?:\"{3}|\Z)
        |'(?:\\.|[^'\\\n])*'|\"(?:\\.|[^\"\\\n])*\"))
    |(?P<num>\b\d[\d_]*(?:\.\d*)?(?:[eE][+-]?\d+)?\b)
    |(?P<name>[^\W\d]\w*)""",
    re.VERBOSE | re.DOTALL,
)
_WIDE_INCHES = 8.6
_NARROWER = ((540, 4.4), (820, 6.2))  # windows up to so many pixels, and inches for them


def escape(text: object) -> str:
    """`text` safe between tags and inside quoted attributes; control characters are dropped."""
    clean = "".join(char for char in str(text) if char >= " " or char in "\n\t")
    return html.escape(clean, quote=True)


def unbroken(text: str) -> str:
    """`escape`, with the parts of an interval `[low, high]` kept on one line."""
    return re.sub(r"\[([^\[\]]{1,24}), ([^\[\]]{1,24})\]", "[\\1,\u00a0\\2]", escape(text))


def paragraphs(text: str) -> str:
    """Blank lines separate paragraphs."""
    parts = [part.strip() for part in text.split("\n\n") if part.strip()]
    return "".join(f"<p>{unbroken(part)}</p>" for part in parts)


def highlight(source: str) -> str:
    """Python in light colours: comments, strings, numbers, keywords and defined names.

    Works by tokens of text, so that a response that is no valid Python is shown all the same.
    """
    pieces, end, defining = [], 0, False
    for match in _TOKEN.finditer(source):
        pieces.append(escape(source[end : match.start()]))
        end, kind, text = match.end(), match.lastgroup, match.group()
        if kind == "name":
            kind = "kw" if keyword.iskeyword(text) else "def" if defining else None
            defining = text in ("def", "class")
        shown = escape(text)
        pieces.append(f'<span class="{kind}">{shown}</span>' if kind else shown)
    pieces.append(escape(source[end:]))
    return "".join(pieces)


def code_block(source: str, label: str) -> str:
    """A listing with line numbers, scrolled sideways where it is wide."""
    text = source.strip("\n").expandtabs(4)
    shown = highlight(text)
    numbers = "\n".join(str(number) for number in range(1, text.count("\n") + 2))
    return (
        f'<figure class="code"><figcaption>{escape(label)}</figcaption>'
        f'<div class="scroll" tabindex="0"><pre class="nums" aria-hidden="true">{numbers}</pre>'
        f"<pre><code>{shown}</code></pre></div></figure>"
    )


def table_html(table: Table, classes: str = "") -> str:
    """A table that scrolls sideways where it is wide; its notes follow as one paragraph."""
    head = "".join(
        f'<th scope="col"{_align(right)}>{escape(column)}</th>'
        for column, right in zip(table.columns, table.numeric, strict=True)
    )
    body = []
    for index, row in enumerate(table.rows):
        cells = "".join(
            f"<td{_align(right)}>{escape(cell)}</td>"
            for cell, right in zip(row, table.numeric, strict=True)
        )
        kind = "strong" if index in table.strong else "weak" if index in table.weak else ""
        body.append(f'<tr class="{kind}">{cells}</tr>' if kind else f"<tr>{cells}</tr>")
    notes = f'<p class="note">{escape(" ".join(table.notes))}</p>' if table.notes else ""
    return (
        f'<div class="scroll" tabindex="0"><table class="{escape(classes)}"><thead><tr>{head}'
        f"</tr></thead><tbody>{''.join(body)}</tbody></table></div>{notes}"
    )


def _align(right: bool) -> str:
    return ' class="right"' if right else ""


def facts_html(facts: Mapping[str, object]) -> str:
    """Names and values; those without a value are left out."""
    items = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>"
        for name, value in facts.items()
        if value not in (None, "")
    )
    return f"<dl>{items}</dl>" if items else ""


def figure_html(draw: Callable[[float], Figure | None], alt: str, caption: str = "") -> str:
    """A figure drawn for wide, middle and narrow windows, its text alike in all; "" for None.

    Args:
        draw: `width in inches -> figure`.
        alt: What it shows, for those who cannot see it.
        caption: Below it.
    """
    wide = draw(_WIDE_INCHES)
    if wide is None:
        return ""
    sources = "".join(
        f'<source media="(max-width: {pixels}px)" srcset="{_data_uri(figure)}">'
        for pixels, inches in _NARROWER
        if (figure := draw(inches)) is not None
    )
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return (
        f'<figure><picture>{sources}<img src="{_data_uri(wide)}" alt="{escape(alt)}"></picture>'
        f"{below}</figure>"
    )


def _data_uri(figure: Figure) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(figure_svg(figure)).decode("ascii")


def section(anchor: str, title: str, *parts: str) -> str:
    """A section; "" where all its parts are empty."""
    body = "".join(parts)
    if not body:
        return ""
    return f'<section id="{escape(anchor)}"><h2>{escape(title)}</h2>{body}</section>'
