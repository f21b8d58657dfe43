"""All per-CPU systems of the catalogue, with their switches; of this machine's own, the values it has."""

from __future__ import annotations

from kernel_sim.percpu.catalogue import ENTRIES
from kernel_sim.percpu.options import Option, option_values
from tui.debugger.session import Session
from tui.debugger.table import FLAG, Cell, Column, Table

COLUMNS = (
    Column("system", help="as [percpu] system names it"),
    Column("here", FLAG, "whether this machine has it"),
    Column("years"),
    Column("arches", help="those it ran on"),
    Column("title"),
    Column("option", help="a switch of [percpu.options]"),
    Column("value", help="on this machine; of other systems the default"),
    Column("may_be", help="what it can be set to"),
    Column("meaning"),
)


def systems_view(session: Session) -> Table:
    """Return a row for every system, and one for each of its further switches."""
    percpu = session.machine.config.percpu
    rows: list[tuple[Cell, ...]] = []
    for entry in ENTRIES:
        is_here = entry.name == percpu.system
        about: tuple[Cell, ...] = (
            entry.name,
            is_here,
            entry.years,
            " ".join(entry.arches),
            entry.title,
        )
        values = option_values(entry.options, percpu.options if is_here else ())
        switches: list[tuple[Cell, ...]] = [
            (each.key, values[each.key], may_be(each), each.meaning) for each in entry.options
        ]
        for at, switch in enumerate(switches or [(None, None, None, None)]):
            rows.append((*(about if not at else (entry.name, None, None, None, None)), *switch))
    title = f"{len(ENTRIES)} per-CPU systems; this machine has {percpu.system}"
    return Table(title, COLUMNS, tuple(rows))


def may_be(option: Option) -> str:
    """Return what a switch can be set to."""
    if isinstance(option.default, bool):
        return "true false"
    if option.choices:
        return " ".join(option.choices)
    return f"{option.lowest} to {option.highest}"
