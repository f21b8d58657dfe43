"""Memory zones: pages by whose they are, watermarks, and the free blocks as buddyinfo has them.

present = free + on CPUs' lists + reserved at boot + allocated
"""

from __future__ import annotations

from kernel_sim.mm.buddy import NR_ORDERS
from kernel_sim.mm.watermarks import PROFILE_PLAIN
from kernel_sim.mm.zone import Zone
from tui.debugger.session import Session
from tui.debugger.table import DEC, Cell, Column, Table, count

COLUMNS = (
    Column("node", DEC),
    Column("zone"),
    Column("present", DEC, "pages of memory"),
    Column("free", DEC, "pages"),
    Column("on_lists", DEC, "pages on the lists of CPUs"),
    Column("reserved", DEC, "pages set aside at boot"),
    Column("allocated", DEC, "pages"),
    Column("min", DEC, "watermark: only atomic requests and the like go below"),
    Column("low", DEC, "watermark: where a fast request goes to the next zone"),
    Column("high", DEC, "watermark: where reclaim would stop"),
    Column("protection", help="pages to leave to others, by the highest zone of a request"),
    *(Column(f"order{n}", DEC, f"free blocks of {1 << n} pages") for n in range(NR_ORDERS)),
)


def zones_view(session: Session) -> Table:
    """Return a row for every zone of every node."""
    pages = session.machine.pages
    rows = tuple(_row(session, zone) for zone in pages.zones)
    notes = [
        f"node {node}: {hit} pages asked for here and given, {miss} given for another node,"
        f" {foreign} had to come from another"
        for node, (hit, miss, foreign) in enumerate(
            zip(pages.numa_hit, pages.numa_miss, pages.numa_foreign, strict=True)
        )
    ]
    notes.append(f"page profile {pages.profile}{_reserve_text(session)}")
    if pages.fail_after >= 0:
        notes.append(f"{pages.fail_after} more page requests may succeed, then they fail")
    if pages.fault is not None:
        notes.append(f"fault injection is on; {pages.fault.nr_failed} requests failed by it so far")
    return Table(f"{count(len(rows), 'zone')} at step {session.step}", COLUMNS, rows, tuple(notes))


def _row(session: Session, zone: Zone) -> tuple[Cell, ...]:
    buddy = zone.buddy
    present, free, on_lists = buddy.nr_present_pages, buddy.nr_free_pages, zone.nr_list_pages
    reserved = buddy.nr_reserved_pages
    marks = session.machine.pages.marks_of(zone)
    return (
        zone.node, zone.name, present, free, on_lists, reserved,
        present - free - on_lists - reserved,
        marks.min_pages, marks.low_pages, marks.high_pages,
        " ".join(map(str, marks.protection)),
        *(buddy.free_blocks(order) for order in range(NR_ORDERS)),
    )  # fmt: skip


def _reserve_text(session: Session) -> str:
    pages = session.machine.pages
    if pages.profile == PROFILE_PLAIN:
        return ": no lists of CPUs, no watermarks"
    return f", min_free_kbytes {pages.effective_min_free_kbytes()}"
