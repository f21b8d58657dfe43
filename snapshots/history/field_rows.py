"""What the catalogue of fields is written in: rows, parameters, components, and makers of rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias

from snapshots.history.sight import Value

NUMBER, TEXT, FLAG, ROW = "number", "text", "flag", "row"
EITHER: Final = "number or text"
BYTES, BITS, PAGES, ADDRESS, COUNT = "bytes", "bits", "pages", "address", ""
BYTES_MAX: Final = 4096
WIDE_BYTES: Final = 8
"""Up to so many bytes are a little-endian number; more are a text of hex digits."""


class Row(NamedTuple):
    """One field: what kind of value, in which unit, what it means, and how it is read."""

    kind: str
    unit: str
    help: str
    get: Callable[[Any], Value]


class Parameter(NamedTuple):
    """What stands in brackets; names are words that stand for numbers.

    constant: its value must not depend on the moment. least, most: bounds of a constant.
    """

    name: str
    kind: str = NUMBER
    names: Mapping[str, int] = {}
    optional: bool = False
    constant: bool = False
    least: int = 0
    most: int = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Component:
    """A thing that has fields; find() gives None where it is not there at a moment.

    value: what it is worth without a field, None if one must be named. is_fixed: boot made all there are,
    so that one that is not there is an error and not a missing value. of_bitmap: only machines with the
    bitmap allocator have it.
    """

    name: str
    help: str
    find: Callable[..., object]
    parameters: tuple[Parameter, ...] = ()
    rows: Mapping[str, Row] = field(default_factory=dict)
    value: Row | None = None
    is_fixed: bool = False
    of_bitmap: bool = False

    @property
    def usage(self) -> str:
        """How it is typed: chunk[N], node[N].zone[ZONE], percpu[PTR, CPU, BYTES]."""
        names = [parameter.name for parameter in self.parameters]
        outer, dot, inner = self.name.partition(".")
        if dot:
            return f"{outer}[{names[0]}].{inner}[{', '.join(names[1:])}]"
        return f"{self.name}[{', '.join(names)}]" if names else self.name


Rows: TypeAlias = dict[str, Row]


def number(unit: str, text: str, get: Callable[[Any], Value]) -> Row:
    """Return a row of numbers."""
    return Row(NUMBER, unit, text, get)


def flag(text: str, get: Callable[[Any], Value]) -> Row:
    """Return a row of truths."""
    return Row(FLAG, "", text, get)


def text_row(text: str, get: Callable[[Any], Value]) -> Row:
    """Return a row of texts."""
    return Row(TEXT, "", text, get)
