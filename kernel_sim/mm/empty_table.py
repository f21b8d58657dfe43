"""Making room for a large page: an empty table that hangs where its entry belongs is taken away.

    PMD entry ─► table of 512 entries, all 0        ──►        PMD entry 0, the page given back

Tables stay when what they mapped is gone, so address space that is used again may have one.
Source: pmd_free_pte_page() in arch/x86/mm/pgtable.c, Linux 6.1.
"""

from __future__ import annotations

from kernel_sim.errors import KernelBug
from kernel_sim.mm.address_space import KernelAddressSpace
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.mm.page_alloc import PageAllocator
from kernel_sim.mm.paging import PRESENT, PSE


def free_empty_table(
    space: KernelAddressSpace, pages: PageAllocator, virt: int, shift: int, *, node: int, cpu: int
) -> bool:
    """Take the empty table that stands where a page of 1 << shift bytes at virt would be mapped.

    False if a table above it needed memory and there was none. Raises KernelBug for a table that
    maps something.
    """
    table_pfn = space.table_for(virt, shift, node, cpu)
    if table_pfn is None:
        return False
    index = space.mode.table_index(virt, shift)
    entry_phys = (table_pfn << PAGE_SHIFT) + (index << space.mode.entry_shift)
    entry = space.read_entry(entry_phys)
    if not entry & PRESENT or entry & PSE:
        return True
    lower_pfn = (entry & space.mode.pfn_mask) >> PAGE_SHIFT
    if any(space.phys.read(lower_pfn << PAGE_SHIFT, PAGE_SIZE_BYTES)):
        raise KernelBug(f"the table {lower_pfn:#x} below {virt:#x} maps something")
    space.write_entry(entry_phys, 0)
    space.drop_table(lower_pfn)
    give_back(pages, lower_pfn, 0, cpu)
    return True


def give_back(pages: PageAllocator, pfn: int, order: int, cpu: int) -> None:
    """Free a block; a page that was set aside at boot goes back as boot's memory does."""
    if order == 0 and pages.owner_state_of(pfn) == "reserved":
        pages.release(pfn << PAGE_SHIFT, pfn + 1 << PAGE_SHIFT)
    else:
        pages.free_pages(pfn, order, cpu)
