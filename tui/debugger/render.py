"""Answers as text, in aligned columns, or as JSON. Pure: nothing is printed here.

Text from a log or a stranger's recording may hold anything, also what a terminal would obey;
characters that do not print are shown as \\x1b and the like.
"""

from __future__ import annotations

import json

from tui.debugger.output import Output
from tui.debugger.table import DEC, HEX, Column, Table

GAP = "  "
RIGHT = (DEC, HEX)


def printable(text: str) -> str:
    """Return the text with every character that does not print written as an escape."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def table_text(table: Table) -> str:
    """Return a table as lines: title, heading, rows, notes."""
    columns = table.columns
    cells = [
        [printable(column.text_of(cell)) for column, cell in zip(columns, row, strict=True)]
        for row in table.rows
    ]
    lines = [printable(table.title)]
    if cells:
        grid = [[column.name for column in columns], *cells]
        widths = [max(map(len, each)) for each in zip(*grid, strict=True)]
        lines += [_aligned(columns, widths, row) for row in grid]
    lines += [printable(note) for note in table.notes]
    return "\n".join(lines)


def _aligned(columns: tuple[Column, ...], widths: list[int], row: list[str]) -> str:
    parts = [
        text.rjust(width) if column.kind in RIGHT else text.ljust(width)
        for column, width, text in zip(columns, widths, row, strict=True)
    ]
    return GAP.join(parts).rstrip()


def output_text(output: Output) -> str:
    """Return an answer as people read it."""
    if output.lines or output.table is None:
        return "\n".join(printable(line) for line in output.lines)
    return table_text(output.table)


def output_json(output: Output) -> str:
    """Return an answer as one line of JSON."""
    return json.dumps(output.to_json())
