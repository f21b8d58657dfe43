"""The kernel's own files: their text to the letter, and their rows as a listing.

    proc buddyinfo   ──►  the lines of /proc/buddyinfo     --json ──►  its rows by column

A file whose rows are plain becomes a listing with a column a field. One that is nested (zoneinfo,
pagetypeinfo, percpu_stats) becomes a list of what it says, a row a figure.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from kernel_sim.proc.catalogue import LISTINGS, Listing, text_of
from tui.debugger.errors import CommandError
from tui.debugger.session import Session
from tui.debugger.table import DEC, HEX, Cell, Column, Table

ADDRESSES = ("addr", "start", "end", "last", "phys", "core_addr")
PER_ORDER = "nr_free_blocks"
PAIR = 2
KEYS = ("node", "zone", "migrate_type", "heading", "cpu")  # say which row it is
ITEM_COLUMNS = (Column("item"), Column("value"))


def proc_names() -> tuple[str, ...]:
    """Return the names of all files."""
    return tuple(LISTINGS)


def proc_lines(session: Session, name: str) -> tuple[str, ...]:
    """Return a file as the kernel prints it. Raises CommandError: no such file."""
    _listing(name)
    return tuple(text_of(session.machine, name).splitlines())


def proc_view(session: Session, name: str, rows_max: int | None = None) -> Table:
    """Return the rows of a file, at most rows_max. Raises CommandError: no such file.

    A file that has more rows than a screen can use (zoneinfo: zones times CPUs) is not read to its end then.
    """
    listing = _listing(name)
    title = f"{listing.path} at step {session.step}"
    if listing.each is not None:
        items = (item for row in listing.each(session.machine) for item in _items(row, ()))
        return _table(title, ITEM_COLUMNS, items, rows_max)
    rows = listing.rows(session.machine)
    if not rows:
        return Table(f"{title}: empty", ITEM_COLUMNS, ())
    if not _is_plain(rows):
        return _table(title, ITEM_COLUMNS, _items(rows, ()), rows_max)
    columns = tuple(_columns(rows[0]))
    return _table(title, columns, (tuple(_cells(row)) for row in rows), rows_max)


def _table(
    title: str, columns: tuple[Column, ...], rows: Iterator[tuple[Cell, ...]], rows_max: int | None
) -> Table:
    shown = tuple(islice(rows, rows_max))
    if next(rows, None) is None:
        return Table(title, columns, shown)
    notes = (f"only the first {len(shown)} rows; kmemscope show and the console give all",)
    return Table(title, columns, shown, notes)


def _listing(name: str) -> Listing:
    listing = LISTINGS.get(name)
    if listing is None:
        raise CommandError(f"there is no file {name!r}; there are: {' '.join(LISTINGS)}")
    return listing


def _is_plain(rows: object) -> bool:
    """Say whether all rows have the same fields and none of them holds rows of its own."""
    if not isinstance(rows, tuple) or hasattr(rows, "_fields"):
        return False
    names = getattr(rows[0], "_fields", None)
    return names is not None and all(
        getattr(row, "_fields", None) == names and all(map(_is_flat, row)) for row in rows
    )


def _is_flat(value: object) -> bool:
    """Say whether a field fits a cell: a value, a list of values, or pairs of them."""
    if not isinstance(value, tuple):
        return True
    return not hasattr(value, "_fields") and all(
        not isinstance(each, tuple) or len(each) == PAIR for each in value
    )


def _columns(row: tuple[object, ...]) -> Iterator[Column]:
    for name, value in zip(_fields(row), row, strict=True):
        if name == PER_ORDER and isinstance(value, tuple):
            yield from (Column(f"order{order}", DEC) for order in range(len(value)))
        elif name in ADDRESSES:
            yield Column(name, HEX)
        else:
            yield Column(name, DEC if isinstance(value, int) else "text")


def _cells(row: tuple[object, ...]) -> Iterator[Cell]:
    for name, value in zip(_fields(row), row, strict=True):
        if name == PER_ORDER and isinstance(value, tuple):
            yield from value
        else:
            yield _cell(value)


def _cell(value: object) -> Cell:
    if isinstance(value, tuple):
        return " ".join(
            "=".join(map(str, each)) if isinstance(each, tuple) else str(each) for each in value
        )
    return value if isinstance(value, int | str) else None


def _items(value: object, path: tuple[str, ...]) -> Iterator[tuple[Cell, ...]]:
    """Yield (path, value) for every single value of nested rows."""
    if not isinstance(value, tuple):
        yield " ".join(path), _cell(value)
    elif _is_figure(value):
        yield " ".join((*path, str(value[0]))), _cell(value[1])
    elif hasattr(value, "_fields"):
        yield from _fields_of(value, path)
    elif all(not isinstance(each, tuple) for each in value):
        yield " ".join(path), _cell(value)
    else:
        for number, each in enumerate(value):
            named = hasattr(each, "_fields")
            yield from _items(each, path if named else (*path, str(number)))


def _fields_of(row: tuple[object, ...], path: tuple[str, ...]) -> Iterator[tuple[Cell, ...]]:
    """Take the fields that say which row this is into the path, list the others."""
    rest: list[tuple[str, object]] = []
    for name, value in zip(_fields(row), row, strict=True):
        if name in KEYS and not isinstance(value, tuple):
            path = (*path, f"{name} {value}" if isinstance(value, int) else str(value))
        else:
            rest.append((name, value))
    for name, value in rest:
        yield from _items(value, path if _is_rows(value) else (*path, name))


def _is_rows(value: object) -> bool:
    return isinstance(value, tuple) and bool(value) and all(isinstance(v, tuple) for v in value)


def _is_figure(value: tuple[object, ...]) -> bool:
    return getattr(value, "_fields", None) == ("name", "value")


def _fields(row: tuple[object, ...]) -> tuple[str, ...]:
    names: tuple[str, ...] = getattr(row, "_fields", ())
    return names
