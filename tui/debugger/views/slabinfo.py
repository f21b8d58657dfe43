"""Slab classes: objects in use, objects there are, slabs, as /proc/slabinfo counts them."""

from __future__ import annotations

from tui.debugger.session import Session
from tui.debugger.table import DEC, Column, Table

COLUMNS = (
    Column("name"),
    Column("active_objs", DEC, "objects that somebody holds"),
    Column("num_objs", DEC, "objects of all slabs"),
    Column("objsize", DEC, "bytes"),
    Column("objperslab", DEC),
    Column("pagesperslab", DEC),
    Column("active_slabs", DEC, "slabs with an object in use"),
    Column("num_slabs", DEC),
)


def slabinfo_view(session: Session) -> Table:
    """Return a row for every class; blocks that are larger than any are in the notes."""
    slab = session.machine.slab
    rows = tuple(slab.rows())
    notes: tuple[str, ...] = ()
    if slab.large:
        nr_pages = sum(1 << order for order in slab.large.values())
        notes = (f"{len(slab.large)} blocks of whole pages besides, {nr_pages} pages",)
    title = f"{len(rows)} slab classes of profile {slab.profile} at step {session.step}"
    return Table(title, COLUMNS, rows, notes)
