"""Who owns a page by number, without looking at page tables: lists, slabs, callers, stacks, free blocks.

pfn ──► free | on a CPU's list | page table | slab object | alloc_pages() | stack of a CPU | …
"""

from __future__ import annotations

from kernel_sim.alignment import align_down
from kernel_sim.hotplug.callbacks import STACK_ORDER
from kernel_sim.machine import Machine
from kernel_sim.mm.buddy import MAX_PAGE_ORDER
from kernel_sim.mm.page import PAGE_SHIFT
from tui.debugger.owner import Owner
from tui.debugger.table import Cell

ON_A_LIST = "pcp cpu "


def idle_page(machine: Machine, pfn: int) -> Owner | None:
    """Return the owner of a page that nobody uses: free, or kept on a CPU's list."""
    state = machine.pages.owner_state_of(pfn)
    if state == "free":
        return Owner(0, "free", f"a free page {zone_text(machine, pfn)}")
    if state.startswith(ON_A_LIST):
        cpu = int(state.removeprefix(ON_A_LIST))
        summary = f"on the page list of CPU {cpu}, {zone_text(machine, pfn)}"
        return Owner(0, "page list", summary, [("cpu", cpu)])
    return None


def held_page(machine: Machine, phys: int) -> Owner | None:
    """Return the owner of a page that is known by number: table, slab, alloc_pages(), CPU stack."""
    pfn = phys >> PAGE_SHIFT
    return (
        _table_owner(machine, pfn)
        or _slab_owner(machine, phys)
        or _call_owner(machine, pfn)
        or _stack_owner(machine, pfn)
    )


def page_state(machine: Machine, pfn: int) -> Owner:
    """Return what the page allocator itself says of a page that nobody claims."""
    where = zone_text(machine, pfn)
    if machine.pages.owner_state_of(pfn) == "reserved":
        return Owner(0, "reserved", f"set aside at boot, {where}")
    return Owner(0, "allocated", f"an allocated page of nobody that is known, {where}")


def zone_text(machine: Machine, pfn: int) -> str:
    """Return `in zone Normal of node 1`."""
    zone = machine.pages.zone_of_pfn(pfn)
    return f"in zone {zone.name} of node {zone.node}"


def _table_owner(machine: Machine, pfn: int) -> Owner | None:
    if pfn not in machine.space.table_pfns:
        return None
    what = "the root page table" if pfn == machine.space.root_pfn else "a page-table page"
    return Owner(0, "page table", what)


def _slab_owner(machine: Machine, phys: int) -> Owner | None:
    found = machine.slab.owner_of(phys)
    if found is None:
        return None
    facts: list[tuple[str, Cell]] = [
        ("class", found.class_name),
        ("slab_pfn", f"{found.slab_pfn:#x}"),
        ("object", found.index),
        ("in_use", found.is_allocated),
    ]
    if found.index < 0:
        return Owner(0, "slab", f"what is left over in a slab of {found.class_name}", facts)
    state = "" if found.is_allocated else "free "
    what = f"{state}object {found.index} of a slab of {found.class_name}"
    return Owner(0, "slab", what, facts)


def _call_owner(machine: Machine, pfn: int) -> Owner | None:
    for order in range(MAX_PAGE_ORDER + 1):
        start = align_down(pfn, 1 << order)
        if machine.held_pages.get(start, -1) >= order:
            held = machine.held_pages[start]
            facts: list[tuple[str, Cell]] = [("block_pfn", f"{start:#x}"), ("order", held)]
            what = f"page {pfn - start} of a block of order {held} that alloc_pages() gave"
            return Owner(0, "pages", what, facts)
    return None


def _stack_owner(machine: Machine, pfn: int) -> Owner | None:
    for cpu in machine.cpus.values():
        if 0 <= cpu.stack_pfn <= pfn < cpu.stack_pfn + (1 << STACK_ORDER):
            page = pfn - cpu.stack_pfn
            facts: list[tuple[str, Cell]] = [("cpu", cpu.number)]
            return Owner(0, "stack", f"page {page} of the stack of CPU {cpu.number}", facts)
    return None
