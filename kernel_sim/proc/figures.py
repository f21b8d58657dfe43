"""Rows of the kernel's own files as plain values: named figures, and any rows as JSON has them.

Figure("nr_mapped", 447)      one counter of many, in the file's order
to_builtin(rows)              the same rows as dicts and lists, for --json
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Figure(NamedTuple):
    """A number under the name that the kernel prints it with."""

    name: str
    value: int


Figures = tuple[Figure, ...]


def figures_of(values: Sequence[tuple[str, int]]) -> Figures:
    """Return pairs of name and number as figures."""
    return tuple(Figure(name, value) for name, value in values)


def value_of(figures: Figures, name: str) -> int:
    """Return the figure of this name, 0 if there is none."""
    return next((figure.value for figure in figures if figure.name == name), 0)


def to_builtin(rows: object) -> object:
    """Return rows as builtin types: named tuples and figures become dicts, other tuples lists."""
    if isinstance(rows, tuple):
        if rows and all(isinstance(row, Figure) for row in rows):
            return {row.name: row.value for row in rows}
        names = getattr(rows, "_fields", None)
        if names is not None:
            return {name: to_builtin(each) for name, each in zip(names, rows, strict=True)}
        return [to_builtin(each) for each in rows]
    return rows
