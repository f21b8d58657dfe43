"""Memory zones: how many pages each node has, and its free blocks as buddyinfo has them."""

from __future__ import annotations

from kernel_sim.mm.buddy import NR_ORDERS
from tui.debugger.session import Session
from tui.debugger.table import DEC, Cell, Column, Table

COLUMNS = (
    Column("node", DEC),
    Column("zone"),
    Column("present", DEC, "pages of memory"),
    Column("free", DEC, "pages"),
    Column("reserved", DEC, "pages set aside at boot"),
    Column("allocated", DEC, "pages"),
    *(Column(f"order{n}", DEC, f"free blocks of {1 << n} pages") for n in range(NR_ORDERS)),
)


def zones_view(session: Session) -> Table:
    """Return a row for every zone of every node."""
    pages = session.machine.pages
    rows: list[tuple[Cell, ...]] = []
    for zone in pages.zones:
        buddy = zone.buddy
        present, free = buddy.nr_present_pages, buddy.nr_free_pages
        reserved = buddy.nr_reserved_pages
        blocks = (buddy.free_blocks(order) for order in range(NR_ORDERS))
        rows.append(
            (zone.node, zone.name, present, free, reserved, present - free - reserved, *blocks)
        )
    notes = tuple(
        f"node {node}: {hit} pages asked for here and given, {miss} given for another node,"
        f" {foreign} had to come from another"
        for node, (hit, miss, foreign) in enumerate(
            zip(pages.numa_hit, pages.numa_miss, pages.numa_foreign, strict=True)
        )
    )
    return Table(f"{len(rows)} zones at step {session.step}", COLUMNS, tuple(rows), notes)
