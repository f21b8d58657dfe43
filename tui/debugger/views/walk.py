"""The way of one address through the page tables, entry by entry, as the hardware goes it."""

from __future__ import annotations

from kernel_sim.mm.page import PAGE_SHIFT
from kernel_sim.mm.page_walk import Walk, WalkLevel
from kernel_sim.mm.paging import PRESENT
from tui.debugger.owners import owner_of_virtual
from tui.debugger.owners_phys import is_memory
from tui.debugger.session import Session
from tui.debugger.table import DEC, HEX, Cell, Column, Table
from tui.debugger.views.tlb import tlb_notes

COLUMNS = (
    Column("level"),
    Column("table_pfn", HEX, "page frame that holds the table"),
    Column("index", DEC, "which of its entries"),
    Column("entry_phys", HEX, "physical address of the entry"),
    Column("entry", HEX, "its bits"),
    Column("flags"),
    Column("points_to", HEX, "physical address of the next table, or of the page"),
)


def walk_view(session: Session, address: int, cpu: int | None = None) -> Table:
    """Return a row for every table on the way.

    The notes tell where it ends, what the TLBs hold for it (of all CPUs, or of one) and who owns it.
    """
    machine = session.machine
    walk = machine.space.walk(address)
    pfn_mask = machine.space.mode.pfn_mask
    rows = tuple(_row(level, level is walk.levels[-1], walk, pfn_mask) for level in walk.levels)
    notes: list[str] = []
    if walk.phys is None:
        notes.append(f"page fault: {walk.fault}")
    else:
        where = "no memory of any node"
        if is_memory(machine, walk.phys):
            where = f"node {machine.pages.node_of_pfn(walk.phys >> PAGE_SHIFT)}"
        frame = f"frame {walk.phys >> PAGE_SHIFT:#x}"
        size = f"in a page of {walk.page_size_bytes} bytes"
        notes.append(f"physical {walk.phys:#x}: {frame}, {size}, {where}")
    notes.append(f"it is {owner_of_virtual(session, address).summary}")
    notes += tlb_notes(machine, address, cpu)
    mode = machine.space.mode
    title = f"Walk of {address:#x}, {mode.name}, entries of {mode.entry_bytes} bytes,"
    return Table(f"{title} at step {session.step}", COLUMNS, rows, tuple(notes))


def _row(level: WalkLevel, is_last: bool, walk: Walk, pfn_mask: int) -> tuple[Cell, ...]:
    points_to: int | None = level.entry & pfn_mask if level.entry & PRESENT else None
    if is_last and walk.phys is not None and walk.page_size_bytes is not None:
        points_to = walk.phys & -walk.page_size_bytes
    flags = " ".join(level.flags)
    return (
        level.name, level.table_pfn, level.index, level.entry_phys, level.entry, flags, points_to,
    )  # fmt: skip
