"""The tree of tables in simulated memory: finding an entry, making what is missing, counting.

    root ─► PGD page ─► PUD page ─► PMD page ─► PTE page ─► 4 KiB
                             └ 1 GiB     └ 2 MiB

Nothing is cached: every look reads the bits that are there. The only thing kept beside them is which
pages are tables, so that each has an owner. Tables are made on demand and stay, as the kernel's do.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from kernel_sim.errors import BadAccess, InvariantBroken, KernelBug
from kernel_sim.mm.frames import PhysicalMemory
from kernel_sim.mm.page import PAGE_SHIFT
from kernel_sim.mm.page_walk import Walk, entry_fault, walk
from kernel_sim.mm.paging import ACCESSED, DIRTY, GLOBAL, NX, PRESENT, PSE, RW, USER
from kernel_sim.mm.paging_modes import PagingLevel, PagingMode, paging_mode

_BARE_TOP_GRANTS: Final = RW | USER | ACCESSED


class Translation(NamedTuple):
    """What hardware learns from a walk: page frame of the page's first byte, 1 << shift its size.

    flags: RW and USER if every level grants them, NX if any has it, GLOBAL and DIRTY of the page's
    own entry, ACCESSED if no level lacks it. nr_references: entries read.
    """

    pfn: int
    shift: int
    flags: int
    nr_references: int
    entry_phys: int


@dataclass(slots=True)
class PageTables:
    """Page tables from root_pfn down; `table_pfns` is the ordered set of pages they occupy.

    alloc_table(node, cpu) gives a page for a table, wished on a node, asked for by a CPU, or None if
    there is no memory. The root page belongs to the tables too.
    """

    root_pfn: int
    levels: int
    phys: PhysicalMemory
    alloc_table: Callable[[int, int], int | None]
    table_pfns: dict[int, None] = field(default_factory=dict)
    arch: str = "x86-64"
    mode: PagingMode = field(init=False)
    tables_version: int = field(default=0, init=False, compare=False)
    """Grows with every change of table_pfns; no part of the state."""

    def __post_init__(self) -> None:
        self.mode = paging_mode(self.arch, self.levels)
        self.table_pfns.setdefault(self.root_pfn, None)

    @property
    def nr_table_pages(self) -> int:
        """Number of pages that hold tables, the root among them."""
        return len(self.table_pfns)

    def tables_by_level(self) -> dict[str, int]:
        """Return how many tables there are of each level, by name from the root down."""
        counts: dict[str, int] = {}
        tables = {self.root_pfn: None}
        for level in self.mode.levels:
            counts[level.name] = len(tables)
            if level.shift != PAGE_SHIFT:
                tables = {
                    lower_pfn: None
                    for table_pfn in tables
                    for _, lower_pfn in self._lower_tables(table_pfn, level)
                }
        return counts

    def count_leaves(self, start: int, end: int) -> dict[int, int]:
        """Return how many pages of each size are mapped in [start, end), by their shift.

        Pages that only reach into the range count too. Only tables are read, each one once.
        Source: what the DirectMap lines of /proc/meminfo show, arch/x86/mm/pat/set_memory.c.
        """
        counts = dict.fromkeys(self.mode.leaf_shifts, 0)
        if start >= end:
            return counts
        mask = self.mode.address_mask
        spans = [(self.root_pfn, start & mask, end - 1 & mask)]
        for level in self.mode.levels:
            below: list[tuple[int, int, int]] = []
            for table_pfn, first, last in spans:
                if level.shift == PAGE_SHIFT:
                    counts[PAGE_SHIFT] += self._count_ptes(table_pfn, first, last)
                else:
                    below += self._spans_below(table_pfn, level, first, last, counts)
            spans = below
        return counts

    def translate(self, virt: int) -> int | None:
        """Return the physical address of virt, or None where a walk ends in a fault."""
        leaf = self.find_leaf(virt)
        if leaf is None:
            return None
        _, entry, shift = leaf
        offset_mask = (1 << shift) - 1
        return entry & self.mode.pfn_mask & ~offset_mask | virt & offset_mask

    def walk(self, virt: int) -> Walk:
        """Return every step of the translation of virt."""
        return walk(self.read_entry, self.root_pfn, virt, self.mode)

    def find_translation(self, virt: int) -> Translation | None:
        """Walk virt as hardware does and return what it would cache, or None for a fault."""
        mode = self.mode
        if not mode.is_address(virt):
            return None
        read_entry = self.phys.read_u64 if mode.is_wide else self._read_u32
        table_phys = self.root_pfn << PAGE_SHIFT
        granted = RW | USER | ACCESSED
        grants = _BARE_TOP_GRANTS if mode.is_top_bare else 0
        joined = nr_references = 0
        for shift, reserved, reserved_large in mode.steps:
            entry_phys = table_phys + ((virt >> shift & mode.index_mask) << mode.entry_shift)
            entry = read_entry(entry_phys)
            nr_references += 1
            is_leaf = shift == PAGE_SHIFT or entry & PSE
            stray = reserved_large if is_leaf and shift != PAGE_SHIFT else reserved
            if not entry & PRESENT or entry & stray:
                return None
            granted &= entry | grants
            joined |= entry
            grants = 0
            if is_leaf:
                break
            table_phys = entry & mode.pfn_mask
        flags = granted | joined & mode.flag_mask & NX | entry & (GLOBAL | DIRTY)
        pfn = (entry & mode.pfn_mask & -(1 << shift)) >> PAGE_SHIFT
        return Translation(pfn, shift, flags, nr_references, entry_phys)

    def find_leaf(self, virt: int) -> tuple[int, int, int] | None:
        """Walk fast: return where the entry that maps virt lies, the entry, its page's shift."""
        mode = self.mode
        top = virt >> mode.sign_bit
        if top and top != mode.sign_top:
            return None
        entry_shift = mode.entry_shift
        read_entry = self.phys.read_u64 if mode.is_wide else self._read_u32
        index_mask, pfn_mask = mode.index_mask, mode.pfn_mask
        table_phys = self.root_pfn << PAGE_SHIFT
        for shift, reserved, reserved_large in mode.steps:
            entry_phys = table_phys + ((virt >> shift & index_mask) << entry_shift)
            entry = read_entry(entry_phys)
            if not entry & PRESENT:
                return None
            if shift == PAGE_SHIFT:
                return None if entry & reserved else (entry_phys, entry, shift)
            if entry & PSE:
                return None if entry & reserved_large else (entry_phys, entry, shift)
            if entry & reserved:
                return None
            table_phys = entry & pfn_mask
        raise InvariantBroken(f"{mode.name} has no level that maps 4 KiB pages")

    def table_for(
        self, virt: int, leaf_shift: int, node: int, cpu: int, flags: int = 0
    ) -> int | None:
        """Return the table that maps pages of 1 << leaf_shift at virt, making what is missing.

        flags are those of the page to come: a user's page needs tables that users may pass.
        """
        mode = self.mode
        top = virt >> mode.sign_bit
        if top and top != mode.sign_top:
            raise BadAccess(f"cannot map {virt:#x}: not {_address_kind(mode)}")
        entry_shift, index_mask, pfn_mask = mode.entry_shift, mode.index_mask, mode.pfn_mask
        read_entry = self.phys.read_u64 if mode.is_wide else self._read_u32
        table_pfn = self.root_pfn
        for level_index, (shift, _, _) in enumerate(mode.steps):
            if shift == leaf_shift:
                break
            index = virt >> shift & index_mask
            entry_phys = (table_pfn << PAGE_SHIFT) + (index << entry_shift)
            entry = read_entry(entry_phys)
            if entry & PRESENT and not entry & PSE:
                table_pfn = (entry & pfn_mask) >> PAGE_SHIFT
            elif entry:
                raise KernelBug(
                    f"no table can stand at {virt:#x}: the entry above it is {entry:#x}"
                )
            else:
                new_pfn = self.alloc_table(node, cpu)
                if new_pfn is None:
                    return None
                self.own_table(new_pfn)
                self.phys.clear_page(new_pfn)
                self.link_table(new_pfn, entry_phys, mode.table_flags(level_index, flags))
                table_pfn = new_pfn
        return table_pfn

    def own_table(self, table_pfn: int) -> None:
        """Note that a page now holds a table; InvariantBroken if it did already."""
        if table_pfn in self.table_pfns:
            raise InvariantBroken(f"page {table_pfn:#x} was given out as a table twice")
        self.table_pfns[table_pfn] = None
        self.tables_version += 1

    def drop_table(self, table_pfn: int) -> None:
        """Note that a page holds no table any more; its bytes are gone."""
        del self.table_pfns[table_pfn]
        self.tables_version += 1
        self.phys.clear_page(table_pfn)

    def link_table(self, table_pfn: int, entry_phys: int, table_flags: int) -> None:
        """Make the entry at entry_phys point to a table."""
        self.write_entry(entry_phys, table_pfn << PAGE_SHIFT | table_flags)

    def read_entry(self, entry_phys: int) -> int:
        """Return the entry at a physical address."""
        if self.mode.is_wide:
            return self.phys.read_u64(entry_phys)
        return self._read_u32(entry_phys)

    def write_entry(self, entry_phys: int, entry: int) -> None:
        """Put an entry at a physical address."""
        if self.mode.is_wide:
            self.phys.write_u64(entry_phys, entry)
        else:
            self.phys.write(entry_phys, entry.to_bytes(4, "little"))

    def pack_entries(self, entries: range) -> bytes:
        """Return consecutive entries as they lie in memory."""
        letter = "Q" if self.mode.is_wide else "I"
        return struct.pack(f"<{len(entries)}{letter}", *entries)

    def check_invariants(self) -> None:
        """Raise InvariantBroken unless a walk of all reaches each of table_pfns once, no other."""
        reached: dict[int, None] = {self.root_pfn: None}
        level_tables = [self.root_pfn]
        for level in self.mode.levels[:-1]:
            below: list[int] = []
            for table_pfn in level_tables:
                for index, lower_pfn in self._lower_tables(table_pfn, level):
                    if lower_pfn in reached:
                        raise InvariantBroken(
                            f"table {lower_pfn:#x} is reached twice, again from {level.name} "
                            f"{table_pfn:#x} entry {index}"
                        )
                    reached[lower_pfn] = None
                    below.append(lower_pfn)
            level_tables = below
        for table_pfn in self.table_pfns:
            if table_pfn not in reached:
                raise InvariantBroken(f"table {table_pfn:#x} is owned, but no entry points to it")
        for table_pfn in reached:
            if table_pfn not in self.table_pfns:
                raise InvariantBroken(f"table {table_pfn:#x} is in use, but not owned")

    def _lower_tables(self, table_pfn: int, level: PagingLevel) -> list[tuple[int, int]]:
        """Return (index, pfn) of the tables that a table of a level points to."""
        pfn_mask = self.mode.pfn_mask
        return [
            (index, (entry & pfn_mask) >> PAGE_SHIFT)
            for index, entry in enumerate(self._entries(table_pfn, level.nr_entries))
            if entry and not entry & PSE and entry_fault(level, entry) is None
        ]

    def _entries(self, table_pfn: int, nr_entries: int) -> tuple[int, ...]:
        """Return the entries of a table, none if all of it is zero."""
        frame = self.phys.frames.get(table_pfn)
        if frame is None:
            return ()
        letter = "Q" if self.mode.is_wide else "I"
        return struct.unpack_from(f"<{nr_entries}{letter}", frame)

    def _count_ptes(self, table_pfn: int, first: int, last: int) -> int:
        level = self.mode.levels[-1]
        low, high = (self.mode.table_index(virt, PAGE_SHIFT) for virt in (first, last))
        entries = self._entries(table_pfn, level.nr_entries)[low : high + 1]
        return sum(entry & PRESENT and not entry & level.reserved_bits for entry in entries)

    def _spans_below(
        self, table_pfn: int, level: PagingLevel, first: int, last: int, counts: dict[int, int]
    ) -> list[tuple[int, int, int]]:
        """Count the large pages of a table; return (table, first and last byte) of those below."""
        low, high = (self.mode.table_index(virt, level.shift) for virt in (first, last))
        entries = self._entries(table_pfn, level.nr_entries)[low : high + 1]
        below: list[tuple[int, int, int]] = []
        base = first >> level.shift << level.shift
        for position, entry in enumerate(entries):
            if not entry or entry_fault(level, entry) is not None:
                continue
            if entry & PSE:
                counts[level.shift] += 1
                continue
            start = base + (position << level.shift)
            end = start + (1 << level.shift) - 1
            lower_pfn = (entry & self.mode.pfn_mask) >> PAGE_SHIFT
            below.append((lower_pfn, max(first, start), min(last, end)))
        return below

    def _read_u32(self, phys: int) -> int:
        return int.from_bytes(self.phys.read(phys, 4), "little")


def _address_kind(mode: PagingMode) -> str:
    if mode.sign_top:
        return f"a canonical address with {len(mode.levels)} levels"
    return "a 32-bit address"
