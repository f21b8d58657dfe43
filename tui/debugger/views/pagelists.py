"""Per-CPU page lists: the single pages that each CPU keeps at hand, zone by zone.

    cpu 0   next ◄── 7f 80 81 82 …      `batch` at a time to and from the zone, at most `high` here

CPUs that never asked a zone have no list there and no row.
"""

from __future__ import annotations

from collections.abc import Iterator

from kernel_sim.mm.page_lists import ListSize
from kernel_sim.mm.zone import Zone
from tui.debugger.session import Session
from tui.debugger.table import DEC, HEX, Cell, Column, Table, count

KINDS = ("hot", "cold")  # of 2.6.20; later kernels have one list
COLUMNS = (
    Column("node", DEC),
    Column("zone"),
    Column("cpu", DEC),
    Column("list"),
    Column("count", DEC, "pages on it"),
    Column("high", DEC, "pages at which it is shortened"),
    Column("batch", DEC, "pages moved at a time"),
    Column("next_pfn", HEX, "page that the next request gets"),
    Column("last_pfn", HEX, "page that goes back first"),
    Column("free_factor", DEC, "doublings of what goes back next"),
)


def pagelists_view(session: Session) -> Table:
    """Return a row for every list that exists."""
    pages = session.machine.pages
    rows = tuple(row for zone in pages.zones for row in _rows(zone, pages.list_sizes_of(zone)))
    notes = () if pages.zones[0].lists is not None else ("the page profile is plain: no lists",)
    on_lists = f"{count(pages.nr_list_pages, 'page')} on {count(len(rows), 'list')} of CPUs"
    title = f"{on_lists} at step {session.step}"
    return Table(title, COLUMNS, rows, notes)


def _rows(zone: Zone, sizes: tuple[ListSize, ...]) -> Iterator[tuple[Cell, ...]]:
    if zone.lists is None:
        return
    for cpu, lists in sorted(zone.lists.by_cpu.items()):
        for kind, (one, size) in enumerate(zip(lists, sizes, strict=True)):
            first, last = (one.pages[0], one.pages[-1]) if one.pages else (None, None)
            name = KINDS[kind] if len(sizes) > 1 else "all"
            yield (
                zone.node, zone.name, cpu, name, len(one.pages), size.high_pages,
                size.batch_pages, first, last, one.free_factor,
            )  # fmt: skip
