"""Page tables by level: how many there are, how much memory they take, what they map the kernel with."""

from __future__ import annotations

from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from tui.debugger.session import Session
from tui.debugger.table import DEC, Cell, Column, Table
from tui.debugger.views.tlb import size_text

COLUMNS = (
    Column("level"),
    Column("entries", DEC, "of one table"),
    Column("entry_bytes", DEC),
    Column("entry_covers", help="address space behind one entry"),
    Column("tables", DEC, "pages that hold one"),
    Column("kbytes", DEC),
)


def pagetables_view(session: Session) -> Table:
    """Return a row for every level, from the root down; the notes tell what the direct map is made of."""
    machine = session.machine
    space, mode = machine.space, machine.space.mode
    counts = space.tables_by_level()
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            level.name, level.nr_entries, mode.entry_bytes, size_text(level.shift),
            counts[level.name], counts[level.name] * PAGE_SIZE_BYTES >> 10,
        )
        for level in mode.levels
    )  # fmt: skip
    arch = machine.arch
    end_phys = max(zone.buddy.end_pfn for zone in machine.pages.zones) << PAGE_SHIFT
    end = arch.direct_map_addr + min(end_phys, arch.direct_map_bytes_max)
    leaves = space.count_leaves(arch.direct_map_addr, end)
    pages = ", ".join(f"{number} of {size_text(shift)}" for shift, number in leaves.items())
    notes = (f"direct map {arch.direct_map_addr:#x}-{end - 1:#x}: pages {pages}",)
    title = f"{space.nr_table_pages} page tables, {mode.name}, at step {session.step}"
    return Table(title, COLUMNS, rows, notes)
