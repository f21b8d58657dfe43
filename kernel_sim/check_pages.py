"""Who owns which page, and does every mapping agree? Recomputed from the owners and from the tables.

page tables, chunks' units, slabs, vmalloc and module areas, stacks of CPUs, alloc_pages() calls
──► each page once, and each of them allocated; nothing allocated that nobody owns
chunks' addresses ──► areas in use, and every area for chunks is one's
every leaf entry of the page tables
──► direct map and image: the frame that the address says
vmalloc and module space: the page of the area or unit at that address, and all of them
"""

from __future__ import annotations

from kernel_sim.errors import InvariantBroken
from kernel_sim.hotplug.callbacks import STACK_ORDER
from kernel_sim.machine import Machine
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.mm.page_leaves import Leaf, leaves
from kernel_sim.mm.vmalloc import VmallocSpace
from kernel_sim.mm.vmalloc_pages import area_pfns

Mapped = dict[int, int]
FIRST_CHUNK_CALLERS = ("pcpu_page_first_chunk", "pcpu_lpage_first_chunk")


def check_pages(machine: Machine) -> None:
    """Raise InvariantBroken at the first page with no owner or two, or the first wrong mapping.

    For a moment without calls under way: pages on their way belong to nobody yet.
    """
    mapped: Mapped = {}
    owners: dict[int, str] = dict.fromkeys(machine.space.table_pfns, "page table")
    _own_percpu(machine, owners, mapped)
    for space in machine.area_spaces():
        _own_areas(machine, space, owners, mapped)
    _own_blocks(machine, owners)
    _check_allocated(machine, owners)
    _check_leaves(machine, mapped)


def _own_percpu(machine: Machine, owners: dict[int, str], mapped: Mapped) -> None:
    spans = [(space.start, space.end) for space in machine.area_spaces()]
    for page in machine.system.owned_pages():
        own(owners, page.pfn, page.owner)
        if any(start <= page.virt <= end for start, end in spans):
            mapped[page.virt] = page.pfn


def _own_blocks(machine: Machine, owners: dict[int, str]) -> None:
    blocks = [(pfn, order, "slab") for pfn, order in machine.slab.owned_pages()]
    blocks += [(pfn, order, "alloc_pages()") for pfn, order in machine.held_pages.items()]
    blocks += [
        (cpu.stack_pfn, STACK_ORDER, f"stack of cpu {cpu.number}")
        for cpu in machine.cpus.values()
        if cpu.stack_pfn >= 0
    ]
    for pfn, order, owner in blocks:
        for page in range(pfn, pfn + (1 << order)):
            own(owners, page, owner)


def _own_areas(
    machine: Machine, space: VmallocSpace, owners: dict[int, str], mapped: Mapped
) -> None:
    for area in space.areas:
        if area.nr_pages and area.start not in space.lazy:
            pfns = area_pfns(machine.space, area)
            if len(pfns) != area.nr_pages:
                raise InvariantBroken(
                    f"vmalloc area {area.start:#x} has {len(pfns)} pages mapped, {area.nr_pages} owned"
                )
            for index, pfn in enumerate(pfns):
                own(owners, pfn, f"vmalloc area {area.start:#x}")
                mapped[area.start + index * PAGE_SIZE_BYTES] = pfn


def _check_allocated(machine: Machine, owners: dict[int, str]) -> None:
    for page, owner in owners.items():
        state = machine.pages.owner_state_of(page)
        if not state.startswith(("allocated", "reserved")):
            raise InvariantBroken(f"page {page:#x} is {owner} and is {state}")
    for zone in machine.pages.zones:
        for pfn, order in zone.allocated_blocks():
            for page in range(pfn, pfn + (1 << order)):
                if page not in owners:
                    raise InvariantBroken(
                        f"page {page:#x} of node {zone.node} is allocated and nobody has it"
                    )


def _check_leaves(machine: Machine, mapped: Mapped) -> None:
    """Every leaf is what it should be, and what should be mapped in vmalloc and module space is."""
    nr_found = 0
    spans = [(space.start, space.end) for space in machine.area_spaces()]
    for leaf in leaves(machine.space):
        if any(start <= leaf.virt <= end for start, end in spans):
            of_boot = _is_first_chunk(machine, leaf)
            for page in range(1 << leaf.shift - PAGE_SHIFT):
                virt, pfn = leaf.virt + (page << PAGE_SHIFT), leaf.pfn + page
                if virt in mapped:
                    nr_found += 1
                if not of_boot and mapped.get(virt) != pfn:
                    raise InvariantBroken(
                        f"{virt:#x} maps page {pfn:#x}, expected {mapped.get(virt)}"
                    )
        elif not machine.fixmap.start <= leaf.virt <= machine.fixmap.end:
            _check_linear(machine, leaf)
    if nr_found != len(mapped):
        raise InvariantBroken(f"{len(mapped)} pages should be mapped, {nr_found} are")


def _is_first_chunk(machine: Machine, leaf: Leaf) -> bool:
    """Whether this is a page of a first chunk that boot built in vmalloc space."""
    area = machine.vmalloc.find_area(leaf.virt)
    return area is not None and area.caller in FIRST_CHUNK_CALLERS


def _check_linear(machine: Machine, leaf: Leaf) -> None:
    phys = leaf.pfn << PAGE_SHIFT
    arch = machine.arch
    for base in (arch.direct_map_addr, arch.image_map_addr):
        if leaf.virt - base == phys:
            machine.pages.zone_of_pfn(leaf.pfn)
            return
    raise InvariantBroken(f"{leaf.virt:#x} maps {phys:#x}, neither direct map nor kernel image do")


def own(owners: dict[int, str], pfn: int, owner: str) -> None:
    """Note a page's owner. Raises InvariantBroken if it has one."""
    if pfn in owners:
        raise InvariantBroken(f"page {pfn:#x} belongs to {owners[pfn]} and to {owner}")
    owners[pfn] = owner
