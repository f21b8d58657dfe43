"""How hardware finds the page of an address, told step by step.

    CR3 ─► table [index] ─► table [index] ─► … ─► entry of a page ─► + offset = physical address
              each entry read is a WalkLevel

This is the slow way, for people to look at; page_tables.py goes the same way fast.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kernel_sim.mm.page import PAGE_SHIFT
from kernel_sim.mm.paging import PAT_LARGE, PRESENT, PSE, flag_names
from kernel_sim.mm.paging_modes import X86_64_4LEVEL, PagingLevel, PagingMode


@dataclass(frozen=True, slots=True)
class WalkLevel:
    """One table on the way: which entry was read, from where, and what it said."""

    name: str
    table_pfn: int
    index: int
    entry_phys: int
    entry: int
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Walk:
    """The way of one virtual address; phys and page_size_bytes are None if it ends in a fault."""

    virt: int
    levels: tuple[WalkLevel, ...]
    phys: int | None
    page_size_bytes: int | None
    fault: str | None

    @property
    def is_reserved_bit(self) -> bool:
        """Whether it ended at an entry that is present, but has a bit set that must be zero."""
        return self.fault is not None and bool(self.levels) and self.levels[-1].entry & PRESENT > 0


def entry_fault(level: PagingLevel, entry: int) -> str | None:
    """Return why hardware cannot go on from this entry of a table, or None if it can."""
    if not entry & PRESENT:
        return f"not present in the {level.name}"
    if level.shift == PAGE_SHIFT or not entry & PSE:
        stray = entry & level.reserved_bits
        return f"{_reserved(stray)} set in the {level.name}" if stray else None
    stray = entry & level.reserved_large_bits
    if stray & PSE:
        return f"{_reserved(stray)} set in the {level.name}"
    return f"reserved address bits set in a large page's {level.name}" if stray else None


def walk(
    read_entry: Callable[[int], int], root_pfn: int, virt: int, mode: PagingMode = X86_64_4LEVEL
) -> Walk:
    """Translate virt as hardware does, reading entries by physical address, and report every step.

    No bits found in the tables make it raise.
    """
    if not mode.is_address(virt):
        return Walk(virt, (), None, None, mode.address_fault())
    steps: list[WalkLevel] = []
    table_pfn = root_pfn
    for level in mode.levels:
        is_pte = level.shift == PAGE_SHIFT
        index = mode.table_index(virt, level.shift)
        entry_phys = (table_pfn << PAGE_SHIFT) + index * mode.entry_bytes
        entry = read_entry(entry_phys)
        flags = flag_names(entry & (mode.flag_mask | PAT_LARGE), is_pte=is_pte)
        steps.append(WalkLevel(level.name, table_pfn, index, entry_phys, entry, flags))
        fault = entry_fault(level, entry)
        if fault is not None:
            return Walk(virt, tuple(steps), None, None, fault)
        if is_pte or entry & PSE:
            break
        table_pfn = (entry & mode.pfn_mask) >> PAGE_SHIFT
    offset_mask = (1 << level.shift) - 1
    phys = entry & mode.pfn_mask & ~offset_mask | virt & offset_mask
    return Walk(virt, tuple(steps), phys, offset_mask + 1, None)


def _reserved(stray: int) -> str:
    bits = [str(bit) for bit in range(stray.bit_length()) if stray >> bit & 1]
    return f"reserved bit{'s' if len(bits) > 1 else ''} {', '.join(bits)}"
