"""The kernel's half of the address space: mapping, unmapping, splitting, changing what is mapped.

    map_page       4 KiB                    one entry of a PTE table
    map_large      2M / 4M / 1G             one entry of a higher table, with PSE
    map_linear     the largest pages that alignment permits
    split          [   2 MiB   ]    ──►     table of 512 x 4 KiB: same frames, same flags
    change_flags   splits where only a part of a large page is meant

The tables themselves are in page_tables.py. Nothing here touches a TLB: who takes a mapping or a right
away has to flush, as in the kernel, and stale entries show where that was left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kernel_sim.errors import ConfigError, KernelBug
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.mm.page_tables import PageTables
from kernel_sim.mm.paging import (
    PAT,
    PAT_LARGE,
    PRESENT,
    PSE,
    large_flags,
    small_flags,
)

_OFFSET_MASK: Final = PAGE_SIZE_BYTES - 1


@dataclass(slots=True)
class KernelAddressSpace(PageTables):
    """Page tables with the kernel's operations on them.

    Flags are given as a 4 KiB entry has them, PAT at bit 7; large pages get theirs from that. Flags
    that a mode does not have (NX without PAE) are dropped.
    """

    def map_page(self, *, virt: int, pfn: int, flags: int, node: int, cpu: int = 0) -> bool:
        """Map the 4 KiB page at virt to pfn; False if a table needed memory and there was none.

        Tables made before memory ran out stay, empty. Raises KernelBug if something is mapped there
        already or pfn does not fit an entry, BadAccess if virt is no address.
        Source: vmap_pages_pte_range() in mm/vmalloc.c, Linux 6.1.
        """
        table_pfn = self.table_for(virt, PAGE_SHIFT, node, cpu, flags)
        if table_pfn is None:
            return False
        mode = self.mode
        index = virt >> PAGE_SHIFT & mode.index_mask
        entry_phys = (table_pfn << PAGE_SHIFT) + (index << mode.entry_shift)
        old_entry = self.phys.read_u64(entry_phys) if mode.is_wide else self.read_entry(entry_phys)
        if old_entry:
            raise KernelBug(f"page {virt:#x} is mapped already: its PTE is {old_entry:#x}")
        phys = pfn << PAGE_SHIFT
        if phys & ~mode.pfn_mask:
            self._check_frames(pfn, 1)
        entry = phys | flags & mode.flag_mask
        if mode.is_wide:
            self.phys.write_u64(entry_phys, entry)
        else:
            self.write_entry(entry_phys, entry)
        return True

    def unmap_page(self, virt: int) -> int | None:
        """Clear the PTE of virt and return the pfn it held, or None if nothing was mapped there.

        Raises KernelBug if virt lies in a large page. Source: vunmap_pte_range(), Linux 6.1.
        """
        return self._unmap(virt, PAGE_SHIFT)

    def map_large(
        self, *, virt: int, pfn: int, shift: int, flags: int, node: int, cpu: int = 0
    ) -> bool:
        """Map one large page of 1 << shift bytes; False if a table needed memory and had none.

        Raises KernelBug if virt or pfn is not aligned to it, if anything is mapped there or a table
        hangs there, even an empty one; ConfigError if the mode has no pages of that size.
        Source: vmap_try_huge_pmd() in mm/vmalloc.c, Linux 6.1 (which frees an empty table instead).
        """
        self._check_large(virt, shift)
        nr_pages = 1 << shift - PAGE_SHIFT
        if pfn % nr_pages:
            raise KernelBug(f"frame {pfn:#x} is not aligned to a page of {1 << shift} bytes")
        self._check_frames(pfn, nr_pages)
        table_pfn = self.table_for(virt, shift, node, cpu, flags)
        if table_pfn is None:
            return False
        index = self.mode.table_index(virt, shift)
        self._write_run(table_pfn, index, 1, shift, pfn << PAGE_SHIFT, flags)
        return True

    def unmap_large(self, virt: int, shift: int) -> int | None:
        """Clear the large page of 1 << shift bytes at virt; return its first pfn, None without one.

        Raises KernelBug if pages of another size are mapped at virt, or it is not aligned;
        ConfigError if the mode has no pages of that size.
        """
        self._check_large(virt, shift)
        return self._unmap(virt, shift)

    def map_linear(
        self, *, virt: int, phys: int, nr_bytes: int, flags: int, node: int = 0, cpu: int = 0
    ) -> bool:
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
        self._check_frames(phys >> PAGE_SHIFT, nr_bytes >> PAGE_SHIFT)
        end = virt + nr_bytes
        while virt < end:
            shift = self._largest_shift(virt | phys, end - virt)
            index = self.mode.table_index(virt, shift)
            nr_entries = min((end - virt) >> shift, self.mode.index_mask + 1 - index)
            table_pfn = self.table_for(virt, shift, node, cpu, flags)
            if table_pfn is None:
                return False
            self._write_run(table_pfn, index, nr_entries, shift, phys, flags)
            virt += nr_entries << shift
            phys += nr_entries << shift
        return True

    def split_large_page(self, virt: int, node: int = 0, cpu: int = 0) -> bool:
        """Replace the large page around virt by a table of pages one size smaller.

        1 GiB becomes 512 of 2 MiB, 2 MiB 512 of 4 KiB, 4 MiB 1024 of 4 KiB: same frames, same flags.
        False, and nothing changed, if there is no memory for the table. Raises KernelBug if virt is
        in no large page. TLBs hold the old page until they are flushed.
        Source: __split_large_page() in arch/x86/mm/pat/set_memory.c, Linux 6.1.
        """
        leaf = self.find_leaf(virt)
        if leaf is None or leaf[2] == PAGE_SHIFT:
            what = "nothing is mapped there" if leaf is None else "its page has 4096 bytes"
            raise KernelBug(f"no large page to split at {virt:#x}: {what}")
        entry_phys, entry, shift = leaf
        table_pfn = self.alloc_table(node, cpu)
        if table_pfn is None:
            return False
        self.own_table(table_pfn)
        mode = self.mode
        sizes = [level.shift for level in mode.levels]
        level_index = sizes.index(shift)
        lower_shift = sizes[level_index + 1]
        phys = entry & mode.pfn_mask & -(1 << shift)
        flags = entry & (mode.flag_mask | PAT_LARGE)
        first_entry = phys | (small_flags(flags) if lower_shift == PAGE_SHIFT else flags)
        entries = range(first_entry, first_entry + (1 << shift), 1 << lower_shift)
        self.phys.fill_page(table_pfn, self.pack_entries(entries))
        self.link_table(table_pfn, entry_phys, mode.table_flags(level_index, flags))
        return True

    def change_flags(
        self,
        virt: int,
        nr_pages: int,
        *,
        set_bits: int = 0,
        clear_bits: int = 0,
        node: int = 0,
        cpu: int = 0,
    ) -> bool:
        """Clear, then set flags of nr_pages pages of 4 KiB from virt on.

        A large page that only partly lies in the range is split first, unless it has those flags
        already. False if there is no memory for that: no flag has changed then, though some pages
        may be smaller than before. Raises KernelBug if a page of the range is not mapped, or if the
        bits are PRESENT or part of a frame number. TLBs have to be flushed by the caller.
        Source: change_page_attr_set_clr() in arch/x86/mm/pat/set_memory.c, Linux 6.1; that one leaves
        pages before a failure changed.
        """
        unchangeable = (set_bits | clear_bits) & (PRESENT | self.mode.pfn_mask)
        if unchangeable or virt & _OFFSET_MASK:
            raise KernelBug(
                f"cannot change bits {set_bits | clear_bits:#x} at {virt:#x}: expected flags other "
                "than PRESENT, and whole pages"
            )
        set_bits &= self.mode.flag_mask
        end = virt + (nr_pages << PAGE_SHIFT)
        self._check_mapped(virt, end)
        for edge in (virt, end):
            if not self._split_at(edge, set_bits, clear_bits, node, cpu):
                return False
        while virt < end:
            leaf = self.find_leaf(virt)
            if leaf is None:
                raise KernelBug(f"{virt:#x} lost its page while its flags were changed")
            entry_phys, entry, shift = leaf
            changed = _with_flags(entry, shift, set_bits, clear_bits)
            if changed != entry:
                self.write_entry(entry_phys, changed)
            virt = _end_of_page(virt, shift)
        return True

    def _check_mapped(self, virt: int, end: int) -> None:
        while virt < end:
            leaf = self.find_leaf(virt)
            if leaf is None:
                raise KernelBug(f"cannot change the flags of {virt:#x}: nothing is mapped there")
            virt = _end_of_page(virt, leaf[2])

    def _split_at(self, edge: int, set_bits: int, clear_bits: int, node: int, cpu: int) -> bool:
        """Split until a page begins at edge, or none that lies across it would change."""
        while True:
            leaf = self.find_leaf(edge)
            if leaf is None:
                return True
            _, entry, shift = leaf
            begins_here = edge & ((1 << shift) - 1) == 0
            if begins_here or _with_flags(entry, shift, set_bits, clear_bits) == entry:
                return True
            if not self.split_large_page(edge, node, cpu):
                return False

    def _unmap(self, virt: int, shift: int) -> int | None:
        leaf = self.find_leaf(virt)
        if leaf is None:
            return None
        entry_phys, entry, found_shift = leaf
        if found_shift != shift:
            raise KernelBug(
                f"{virt:#x} lies in a page of {1 << found_shift} bytes, cannot unmap {1 << shift}"
            )
        self.write_entry(entry_phys, 0)
        return (entry & self.mode.pfn_mask & -(1 << shift)) >> PAGE_SHIFT

    def _write_run(
        self, table_pfn: int, index: int, nr_entries: int, shift: int, phys: int, flags: int
    ) -> None:
        """Write entries of one table that map consecutive pages of 1 << shift bytes."""
        run_phys = (table_pfn << PAGE_SHIFT) + (index << self.mode.entry_shift)
        if any(self.phys.read(run_phys, nr_entries << self.mode.entry_shift)):
            raise KernelBug(
                f"something is mapped already by table {table_pfn:#x} from entry {index} on"
            )
        flags &= self.mode.flag_mask
        first_entry = phys | (flags if shift == PAGE_SHIFT else large_flags(flags))
        entries = range(first_entry, first_entry + (nr_entries << shift), 1 << shift)
        self.phys.write(run_phys, self.pack_entries(entries))

    def _largest_shift(self, addresses: int, rest_bytes: int) -> int:
        """Return the shift of the largest page that fits or-ed addresses and the rest."""
        for shift in self.mode.leaf_shifts:
            if addresses & ((1 << shift) - 1) == 0 and rest_bytes >> shift:
                return shift
        return PAGE_SHIFT

    def _check_large(self, virt: int, shift: int) -> None:
        if shift not in self.mode.leaf_shifts or shift == PAGE_SHIFT:
            raise ConfigError(f"{self.mode.name} has no large pages of 2^{shift} bytes")
        if virt & ((1 << shift) - 1):
            raise KernelBug(f"{virt:#x} is not aligned to a page of {1 << shift} bytes")

    def _check_frames(self, pfn: int, nr_pages: int) -> None:
        last_pfn = pfn + nr_pages - 1
        if last_pfn > self.mode.pfn_mask >> PAGE_SHIFT:
            raise KernelBug(f"frame {last_pfn:#x} does not fit an entry of {self.mode.name}")


def _with_flags(entry: int, shift: int, set_bits: int, clear_bits: int) -> int:
    """Return an entry with flags changed that are given as a 4 KiB entry has them."""
    if shift != PAGE_SHIFT:
        set_bits, clear_bits = _as_large(set_bits), _as_large(clear_bits)
    return entry & ~clear_bits | set_bits


def _as_large(bits: int) -> int:
    return large_flags(bits) & ~PSE if bits & PAT else bits


def _end_of_page(virt: int, shift: int) -> int:
    return (virt >> shift) + 1 << shift
