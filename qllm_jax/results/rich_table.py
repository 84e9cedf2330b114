"""A `Table` for a terminal of some width."""

import rich.box
import rich.console
import rich.table
import rich.text

from qllm_jax.results.table import Table

_GAP = 2


def rich_table(table: Table, width: int) -> rich.console.RenderableType:
    """`table` with whole cells; columns that do not fit follow below, the first one repeated."""
    parts = [_part(table, columns) for columns in column_groups(table, width)]
    title = [rich.text.Text(table.title, style="bold")] if table.title else []
    spaced = [item for part in parts for item in (part, rich.text.Text())]
    return rich.console.Group(*title, *spaced)


def column_groups(table: Table, width: int) -> list[list[int]]:
    """Indices of the columns shown side by side: as few blocks as fit, of about equal width.

    Every block begins with the first column.
    """
    widths = column_widths(table)
    groups = _fill(widths, width)
    for narrower in range(width - 1, 0, -1):
        tried = _fill(widths, narrower)
        if len(tried) > len(groups):
            break
        groups = tried
    return groups


def _fill(widths: list[int], width: int) -> list[list[int]]:
    """Fill blocks of at most `width` characters, in order; one column fits always."""
    groups: list[list[int]] = []
    used = 0
    for index in range(1, len(widths)):
        need = widths[index] + _GAP
        if not groups or used + need > width:
            groups.append([0])
            used = widths[0]
        groups[-1].append(index)
        used += need
    return groups or [[0]]


def column_widths(table: Table) -> list[int]:
    """Characters of each column: cells stay on one line, headings wrap between words."""
    return [
        max([len(row[index]) for row in table.rows] + [len(word) for word in heading.split()])
        for index, heading in enumerate(table.columns)
    ]


def _part(table: Table, columns: list[int]) -> rich.table.Table:
    shown = rich.table.Table(
        box=rich.box.SIMPLE_HEAD, padding=(0, _GAP - 1, 0, 0), pad_edge=False, show_edge=False
    )
    widths = column_widths(table)
    for index in columns:
        shown.add_column(
            rich.text.Text(table.columns[index]),
            justify="right" if table.numeric[index] else "left",
            vertical="bottom",
            width=widths[index],
        )
    for index, row in enumerate(table.rows):
        if len(columns) > 1 and not any(row[column] for column in columns[1:]):
            continue
        style = "bold" if index in table.strong else "dim" if index in table.weak else ""
        shown.add_row(*(rich.text.Text(row[column], style=style) for column in columns))
    return shown
