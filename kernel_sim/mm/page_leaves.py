"""Everything that is mapped, one row a leaf entry: for checks and listings, never for a step.

root ─► … ─► table ─► entry   (virt, shift, pfn, flags), ascending by the tables' own order
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from kernel_sim.mm.page import PAGE_SHIFT
from kernel_sim.mm.page_tables import PageTables
from kernel_sim.mm.page_walk import entry_fault
from kernel_sim.mm.paging import PSE


class Leaf(NamedTuple):
    """A page of 1 << shift bytes at virt, on frames from pfn on."""

    virt: int
    shift: int
    pfn: int
    entry: int


def leaves(tables: PageTables) -> Iterator[Leaf]:
    """Yield every page that is mapped; a kernel address is as the CPU writes it, sign bits and all."""
    mode = tables.mode
    top_bit = 1 << mode.levels[0].shift + mode.levels[0].nr_entries.bit_length() - 2
    upper = mode.address_mask + 1 - 2 * top_bit if mode.is_wide else 0
    letter = "Q" if mode.is_wide else "I"
    pending = [(tables.root_pfn, 0, 0)]
    while pending:
        table_pfn, depth, base = pending.pop()
        frame = tables.phys.frames.get(table_pfn)
        if frame is None:
            continue
        level = mode.levels[depth]
        for index, entry in enumerate(struct.unpack_from(f"<{level.nr_entries}{letter}", frame)):
            if not entry or entry_fault(level, entry) is not None:
                continue
            virt = base + (index << level.shift)
            if level.shift > PAGE_SHIFT and not entry & PSE:
                lower_pfn = (entry & mode.pfn_mask) >> PAGE_SHIFT
                pending.append((lower_pfn, depth + 1, virt))
                continue
            pfn = (entry & mode.pfn_mask & -(1 << level.shift)) >> PAGE_SHIFT
            yield Leaf(virt | upper if virt & top_bit else virt, level.shift, pfn, entry)
