"""The kernel's half of the address space: page tables that live in simulated memory.

    root ─► PGD page ─► PUD page ─► PMD page ─► PTE page ─► 4 KiB
                             └ 1 GiB     └ 2 MiB

Nothing is cached: every translation reads the bits that are there. The only thing kept beside them
is which pages are tables, so that each has an owner. Tables are made on demand and stay, as the
kernel's do.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from kernel_sim.errors import BadAccess, ConfigError, InvariantBroken, KernelBug
from kernel_sim.mm.frames import PhysicalMemory
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.mm.paging import (
    ENTRIES_PER_TABLE,
    ENTRY_BYTES,
    INDEX_BITS,
    KERNEL_TABLE,
    LEVEL_NAMES,
    LEVEL_SHIFT,
    PFN_MASK,
    PRESENT,
    PSE,
    Walk,
    entry_fault,
    entry_pfn,
    is_canonical,
    make_entry,
    table_index,
    walk,
)

_PAGE_SHIFTS_LARGEST_FIRST = (30, 21, 12)
_OFFSET_MASK = PAGE_SIZE_BYTES - 1
_TABLE = struct.Struct(f"<{ENTRIES_PER_TABLE}Q")


@dataclass(slots=True)
class KernelAddressSpace:
    """Page tables from root_pfn down; `table_pfns` is the ordered set of pages they occupy.

    alloc_table gives a page for a table, wished on a node, or None if there is no memory. The root
    page belongs to the space too.
    """

    root_pfn: int
    levels: int
    phys: PhysicalMemory
    alloc_table: Callable[[int], int | None]
    table_pfns: dict[int, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.levels not in LEVEL_NAMES:
            raise ConfigError(f"x86-64 has 4 or 5 levels of page tables, not {self.levels}")
        self.table_pfns.setdefault(self.root_pfn, None)

    @property
    def nr_table_pages(self) -> int:
        """Number of pages that hold tables, the root among them."""
        return len(self.table_pfns)

    def map_page(self, *, virt: int, pfn: int, flags: int, node: int) -> bool:
        """Map the 4 KiB page at virt to pfn; False if a table needed memory and there was none.

        Raises KernelBug if something is mapped there already, BadAccess if virt is not canonical.
        Source: vmap_pages_pte_range() in mm/vmalloc.c, Linux 6.1.
        """
        table_pfn = self._table_for(virt, PAGE_SHIFT, node)
        if table_pfn is None:
            return False
        entry_phys = (table_pfn << PAGE_SHIFT) + table_index(virt, PAGE_SHIFT) * ENTRY_BYTES
        old_entry = self.phys.read_u64(entry_phys)
        if old_entry:
            raise KernelBug(f"page {virt:#x} is mapped already: its PTE is {old_entry:#x}")
        self.phys.write_u64(entry_phys, make_entry(pfn, flags))
        return True

    def unmap_page(self, virt: int) -> int | None:
        """Clear the PTE of virt and return the pfn it held, or None if nothing was mapped there.

        Raises KernelBug if virt lies in a large page. Source: vunmap_pte_range(), Linux 6.1.
        """
        leaf = self._find_leaf(virt)
        if leaf is None:
            return None
        entry_phys, entry, shift = leaf
        if shift != PAGE_SHIFT:
            raise KernelBug(f"{virt:#x} lies in a page of {1 << shift} bytes, cannot unmap 4096")
        self.phys.write_u64(entry_phys, 0)
        return entry_pfn(entry)

    def translate(self, virt: int) -> int | None:
        """Return the physical address of virt, or None where a walk ends in a fault."""
        leaf = self._find_leaf(virt)
        if leaf is None:
            return None
        _, entry, shift = leaf
        offset_mask = (1 << shift) - 1
        return entry & PFN_MASK & ~offset_mask | virt & offset_mask

    def walk(self, virt: int) -> Walk:
        """Return every step of the translation of virt."""
        return walk(self.phys.read_u64, self.root_pfn, virt, self.levels)

    def map_linear(self, *, virt: int, phys: int, nr_bytes: int, flags: int, node: int = 0) -> bool:
        """Map a range of virtual to physical addresses with the largest pages their alignment
        permits.

        All three must be whole pages (ConfigError). False if a table needed memory and there was
        none: what was mapped until then stays. Raises KernelBug where something is mapped already.
        Source: what kernel_physical_mapping_init() of arch/x86/mm/init_64.c leaves behind.
        """
        if (virt | phys | nr_bytes) & _OFFSET_MASK:
            raise ConfigError(
                f"cannot map {nr_bytes:#x} bytes at {virt:#x} to {phys:#x}: not whole pages"
            )
        end = virt + nr_bytes
        while virt < end:
            shift = _largest_shift(virt | phys, end - virt)
            index = table_index(virt, shift)
            nr_entries = min((end - virt) >> shift, ENTRIES_PER_TABLE - index)
            table_pfn = self._table_for(virt, shift, node)
            if table_pfn is None:
                return False
            self._write_run(
                table_pfn, index, nr_entries, shift, make_entry(phys >> PAGE_SHIFT, flags)
            )
            virt += nr_entries << shift
            phys += nr_entries << shift
        return True

    def check_invariants(self) -> None:
        """Raise InvariantBroken unless a walk of all reaches each of table_pfns once, no other."""
        reached: dict[int, None] = {self.root_pfn: None}
        level_tables = [self.root_pfn]
        for name in LEVEL_NAMES[self.levels][:-1]:
            below: list[int] = []
            for table_pfn in level_tables:
                for index, lower_pfn in self._lower_tables(table_pfn, name):
                    if lower_pfn in reached:
                        raise InvariantBroken(
                            f"table {lower_pfn:#x} is reached twice, again from {name} "
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

    def _find_leaf(self, virt: int) -> tuple[int, int, int] | None:
        """Walk fast: return where the entry that maps virt lies, the entry, its page's shift."""
        if not is_canonical(virt, self.levels):
            return None
        read_u64 = self.phys.read_u64
        table_phys = self.root_pfn << PAGE_SHIFT
        shift = PAGE_SHIFT + INDEX_BITS * self.levels
        while True:
            shift -= INDEX_BITS
            entry_phys = table_phys + table_index(virt, shift) * ENTRY_BYTES
            entry = read_u64(entry_phys)
            if not entry & PRESENT:
                return None
            if shift == PAGE_SHIFT:
                return entry_phys, entry, shift
            if entry & PSE:
                name = LEVEL_NAMES[self.levels][-1 - (shift - PAGE_SHIFT) // INDEX_BITS]
                return None if entry_fault(name, entry) else (entry_phys, entry, shift)
            table_phys = entry & PFN_MASK

    def _lower_tables(self, table_pfn: int, name: str) -> list[tuple[int, int]]:
        """Return (index, pfn) of the tables that a table of level name points to."""
        frame = self.phys.frames.get(table_pfn)
        if frame is None:
            return []
        return [
            (index, entry_pfn(entry))
            for index, entry in enumerate(_TABLE.unpack(frame))
            if entry and not entry & PSE and entry_fault(name, entry) is None
        ]

    def _table_for(self, virt: int, leaf_shift: int, node: int) -> int | None:
        """Return the table that maps pages of 1 << leaf_shift at virt, making what is missing."""
        if not is_canonical(virt, self.levels):
            raise BadAccess(
                f"cannot map {virt:#x}: not a canonical address with {self.levels} levels"
            )
        table_pfn = self.root_pfn
        shift = PAGE_SHIFT + INDEX_BITS * (self.levels - 1)
        while shift > leaf_shift:
            entry_phys = (table_pfn << PAGE_SHIFT) + table_index(virt, shift) * ENTRY_BYTES
            entry = self.phys.read_u64(entry_phys)
            if entry & PRESENT and not entry & PSE:
                table_pfn = (entry & PFN_MASK) >> PAGE_SHIFT
            elif entry:
                raise KernelBug(
                    f"no table can stand at {virt:#x}: the entry above it is {entry:#x}"
                )
            else:
                new_pfn = self.alloc_table(node)
                if new_pfn is None:
                    return None
                self._add_table(new_pfn, entry_phys)
                table_pfn = new_pfn
            shift -= INDEX_BITS
        return table_pfn

    def _add_table(self, table_pfn: int, entry_phys: int) -> None:
        if table_pfn in self.table_pfns:
            raise InvariantBroken(f"page {table_pfn:#x} was given out as a table twice")
        self.phys.clear_page(table_pfn)
        self.table_pfns[table_pfn] = None
        self.phys.write_u64(entry_phys, make_entry(table_pfn, KERNEL_TABLE))

    def _write_run(
        self, table_pfn: int, index: int, nr_entries: int, shift: int, first_entry: int
    ) -> None:
        """Write entries of one table that map consecutive pages of 1 << shift bytes."""
        run_phys = (table_pfn << PAGE_SHIFT) + index * ENTRY_BYTES
        run_bytes = nr_entries * ENTRY_BYTES
        if any(self.phys.read(run_phys, run_bytes)):
            raise KernelBug(
                f"something is mapped already by table {table_pfn:#x} from entry {index} on"
            )
        if shift > LEVEL_SHIFT["PTE"]:
            first_entry |= PSE
        entries = range(first_entry, first_entry + (nr_entries << shift), 1 << shift)
        self.phys.write(run_phys, struct.pack(f"<{nr_entries}Q", *entries))


def _largest_shift(addresses: int, rest_bytes: int) -> int:
    """Return the shift of the largest page that fits or-ed addresses and the rest."""
    for shift in _PAGE_SHIFTS_LARGEST_FIRST:
        if addresses & ((1 << shift) - 1) == 0 and rest_bytes >> shift:
            return shift
    return PAGE_SHIFT
