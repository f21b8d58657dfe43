"""Changes of an expression: when, from what to what, and who made them; watched expressions."""

from __future__ import annotations

from collections.abc import Iterable

from snapshots.history.change_index import Change
from snapshots.history.compiled import Compiled
from snapshots.history.field_rows import ADDRESS, Component
from snapshots.history.fields import CATALOGUE
from snapshots.history.life import LifeRow
from snapshots.history.sight import Value
from tui.debugger.session import Session
from tui.debugger.table import DEC, HEX, TEXT, Cell, Column, Table, count

MISSING = "missing"
NUMBERED = "number"


def value_text(of: Compiled, value: Value) -> str:
    """Return a value as a sentence has it."""
    if value is None:
        return MISSING
    if isinstance(value, tuple):
        return " ".join(_part_text(of, part) for part in value)
    return _part_text(of, value)


def _part_text(of: Compiled, part: int | str | bool | None) -> str:
    if part is None:
        return MISSING
    if isinstance(part, bool):
        return "true" if part else "false"
    return f"{part:#x}" if of.unit == ADDRESS and isinstance(part, int) else str(part)


def change_text(of: Compiled, row: Change) -> str:
    """Return a change as a sentence: what, from what, to what, through whom."""
    old, new = value_text(of, row.old), value_text(of, row.new)
    by = f", by {row.do} on cpu {row.cpu}" if row.do else ""
    return f"{of.text}: {old} → {new} at step {row.step}{by}"


def changes_view(session: Session, of: Compiled, rows: Iterable[Change], title: str) -> Table:
    """Return a row for each change."""
    is_number = of.kind == NUMBERED
    kind = (HEX if of.unit == ADDRESS else DEC) if is_number else TEXT
    unit = of.unit if is_number else ""
    columns = (
        Column("step", DEC, "the first at which it is new"),
        Column("old", kind, unit),
        Column("new", kind, unit),
        Column("cpu", DEC, "that took this step"),
        Column("by", help="its call, or the input that is no call"),
        Column("events", help="of this step"),
    )
    return Table(title, columns, tuple(_row(of, row) for row in rows))


def _row(of: Compiled, row: Change) -> tuple[Cell, ...]:
    cpu = row.cpu if row.cpu >= 0 else None
    return (
        row.step,
        _cell(of, row.old),
        _cell(of, row.new),
        cpu,
        row.do or None,
        " ".join(row.events),
    )


def _cell(of: Compiled, value: Value) -> Cell:
    return value_text(of, value) if isinstance(value, tuple) else value


def value_view(session: Session, of: Compiled, value: Value) -> Table:
    """Return the one row of what an expression is now."""
    kind = HEX if of.unit == ADDRESS and of.kind == NUMBERED else TEXT
    columns = (Column("step", DEC), Column("expression"), Column("value", kind, of.unit))
    row = (session.step, of.text, _cell(of, value))
    return Table(f"{of.text} at step {session.step}", columns, (row,))


def life_view(session: Session, ptr: int, rows: Iterable[LifeRow]) -> Table:
    """Return a row for each turn in the life of a place."""
    columns = (
        Column("what", help="there (from the beginning), born, freed, reused"),
        Column("step", DEC),
        Column("cpu", DEC),
        Column("size", DEC, "bytes"),
        Column("call_site"),
        Column("event", DEC, "goto #EVENT leads there"),
    )
    listed = tuple(
        (
            row.what, row.step, row.cpu if row.cpu >= 0 else None, row.size_bytes,
            row.call_site or None, row.event if row.event >= 0 else None,
        )
        for row in rows
    )  # fmt: skip
    title = f"Life of percpu:{ptr:#x}: {count(len(listed), 'turn')}"
    return Table(title, columns, listed)


def watches_view(session: Session) -> Table:
    """Return a row for each watched expression."""
    columns = (Column("watch", DEC, "unwatch NUMBER lets go of it"), Column("expression"))
    rows = tuple((watch.number, watch.text) for watch in session.watches.rows)
    return Table(
        count(len(rows), "watch") if len(rows) == 1 else f"{len(rows)} watches", columns, rows
    )


def fields_view(session: Session, name: str = "") -> Table:
    """Return a row for each thing that can be asked for, of one component or of all."""
    columns = (
        Column("expression"),
        Column("kind", help="number, flag, text or row"),
        Column("unit"),
        Column("help"),
    )
    rows = [row for each in CATALOGUE if name in ("", each.name) for row in _field_rows(each)]
    return Table(f"{count(len(rows), 'thing')} that can be asked for", columns, tuple(rows))


def _field_rows(component: Component) -> list[tuple[Cell, ...]]:
    usage = component.usage
    value = component.value
    rows: list[tuple[Cell, ...]] = []
    if value is not None:
        rows.append((usage, value.kind, value.unit or None, f"{component.help}: {value.help}"))
    rows += [
        (f"{usage}.{name}", row.kind, row.unit or None, row.help)
        for name, row in component.rows.items()
    ]
    return rows
