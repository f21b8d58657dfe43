"""Address space and pages of a block: all there, or nothing left behind.

    valloc_percpu   management pages, one by one ─► an area for NR_CPUS, management and a guard page
                    ─► management mapped, descriptor written ─► for every possible CPU 2 pages on its own node
                    ─► mapped, CPU by CPU
    any of it fails ─► all that was done is undone, the last first
    vfree_percpu    CPU by CPU unmapped ─► pages back ─► management unmapped, its pages back ─► area gone

It cannot be vmalloc(), which would back all NR_CPUS and not ask for nodes. Every slice is unmapped for itself
and costs a flush of all TLBs. The slices that the posting unmaps are one page too long ("we've mapped a
guard page extra"): harmless before another CPU's part, but behind the last of NR_CPUS it is the
descriptor that goes, which is read next. as_posted keeps that.
Source: "[patch 2/11]", "[patch 3/11]", "[patch 11/11]", LKML, 13 Sep 2005; unmap_vm_area(),
map_vm_area(), Linux 2.6.13 mm/vmalloc.c.
"""

from __future__ import annotations

from collections.abc import Sequence

from kernel_sim.events import PercpuAddBlock, PercpuFreeBlock
from kernel_sim.mm.gfp import GFP_ZERO
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.mm.paging import PAGE_KERNEL
from kernel_sim.mm.tlb_flush import flush_tlb_kernel_range
from kernel_sim.percpu.block import Block
from kernel_sim.percpu.block_geometry import BLOCK_BYTES, PAGES_PER_CPU
from kernel_sim.percpu.block_percpu import BlockPercpu
from kernel_sim.primitives import PREEMPT

PAGE_CALLER = "valloc_percpu"


async def valloc_percpu(percpu: BlockPercpu, cpu: int, gfp: int) -> Block | None:
    """Return a new block that is on no list yet, or None, and nothing changed, without memory."""
    machine, geometry = percpu.machine, percpu.geometry
    flags = percpu.page_flags(gfp)
    management: list[int] = []
    for _ in range(geometry.nr_management_pages):
        pfn = await alloc_pages(percpu, cpu, flags.management)
        if pfn is None:
            percpu.free_pages(cpu, management[::-1])
            return None
        machine.memory.clear_page(pfn)
        management.append(pfn)
    start = await __get_vm_area(percpu, cpu)
    if start is None:
        percpu.free_pages(cpu, management)
        return None
    if not await map_vm_area(percpu, cpu, start + geometry.management_offset, management):
        await remove_vm_area(percpu, cpu, start)
        percpu.free_pages(cpu, management)
        return None
    percpu.memory.init_block(cpu, start, management)
    slots = tuple(percpu.page_slots())
    taken: list[int] = []
    for owner, index in slots:
        pfn = await alloc_pages_node(percpu, cpu, owner, flags.of_cpus)
        percpu.memory.set_page(cpu, start, index, pfn)
        if pfn is None:
            break
        taken.append(pfn)
    mapped: dict[int, tuple[int, ...]] = {}
    if len(taken) == len(slots):
        for at in range(0, len(slots), PAGES_PER_CPU):
            owner, pfns = slots[at][0], tuple(taken[at : at + PAGES_PER_CPU])
            if not await map_vm_area(percpu, cpu, start + owner * BLOCK_BYTES, pfns):
                break
            mapped[owner] = pfns
        else:
            return _finished(percpu, cpu, start, mapped, management)
    for owner in reversed(mapped):
        await unmap_vm_area(percpu, cpu, start + owner * BLOCK_BYTES, BLOCK_BYTES)
    percpu.free_pages(cpu, taken[::-1])
    nr_bytes = geometry.nr_management_pages << PAGE_SHIFT
    await unmap_vm_area(percpu, cpu, start + geometry.management_offset, nr_bytes)
    await remove_vm_area(percpu, cpu, start)
    percpu.free_pages(cpu, management)
    return None


def _finished(
    percpu: BlockPercpu,
    cpu: int,
    start: int,
    cpu_pfns: dict[int, tuple[int, ...]],
    management: Sequence[int],
) -> Block:
    block = Block.fresh(percpu.geometry, start)
    block.cpu_pfns = cpu_pfns
    block.management_pfns = tuple(management)
    percpu.machine.emit(cpu, PercpuAddBlock(start, len(management), len(cpu_pfns) * PAGES_PER_CPU))
    return block


async def vfree_percpu(percpu: BlockPercpu, cpu: int, block: Block) -> None:
    """Give a block back whose pages are those that its descriptor names. Context: blklist_lock held.

    Raises PageFault or KernelBug, as posted, where the descriptor is gone or was written over.
    """
    geometry, start = percpu.geometry, block.start_addr
    first, nr_pages = geometry.nr_cpu_pages, geometry.nr_management_pages
    found = [percpu.memory.page_of(cpu, block, first + at) for at in range(nr_pages)]
    too_much = PAGE_SIZE_BYTES if geometry.as_posted else 0
    for owner in percpu.possible:
        await unmap_vm_area(percpu, cpu, start + owner * BLOCK_BYTES, BLOCK_BYTES + too_much)
    for _, index in percpu.page_slots():
        pfn = percpu.memory.page_of(cpu, block, index)
        percpu.free_pages(cpu, [] if pfn is None else [pfn])
    await unmap_vm_area(percpu, cpu, start + geometry.management_offset, nr_pages << PAGE_SHIFT)
    percpu.free_pages(cpu, [pfn for pfn in found if pfn is not None])
    await remove_vm_area(percpu, cpu, start)
    percpu.machine.emit(cpu, PercpuFreeBlock(start))


async def alloc_pages(percpu: BlockPercpu, cpu: int, gfp: int) -> int | None:
    """Return the pfn of one page, wished on the running CPU's node, or None."""
    return await alloc_pages_node(percpu, cpu, cpu, gfp)


async def alloc_pages_node(percpu: BlockPercpu, cpu: int, owner: int, gfp: int) -> int | None:
    """Return the pfn of one page, wished on owner's node, or None."""
    await PREEMPT
    return page_near(percpu, cpu, owner, gfp)


def page_near(percpu: BlockPercpu, cpu: int, owner: int, gfp: int) -> int | None:
    """Take one page, wished on owner's node; cleared if the flags say so."""
    machine = percpu.machine
    pfn = machine.pages.alloc_pages(
        gfp=gfp,
        order=0,
        node=machine.topology.node_of_cpu[owner],
        cpu=cpu,
        injectable=True,
        caller=PAGE_CALLER,
    )
    if pfn is not None and gfp & GFP_ZERO:
        machine.memory.clear_page(pfn)
    return pfn


async def __get_vm_area(percpu: BlockPercpu, cpu: int) -> int | None:
    """Return the address of a block's area, its guard page behind it, or None."""
    await PREEMPT
    vmalloc = percpu.machine.vmalloc
    start = vmalloc.alloc_area(percpu.geometry.area_bytes, PAGE_SIZE_BYTES, PAGE_CALLER)
    purged = vmalloc.take_purged()
    if purged:
        await flush_tlb_kernel_range(percpu.machine, cpu, *purged)
    return start


async def remove_vm_area(percpu: BlockPercpu, cpu: int, start: int) -> None:
    """Give an area back at once: what was mapped in it has been unmapped and flushed already."""
    await PREEMPT
    vmalloc = percpu.machine.vmalloc
    had_lazy = bool(vmalloc.lazy)
    vmalloc.free_vm_areas((start,))
    vmalloc.purge()
    purged = vmalloc.take_purged()
    if purged and had_lazy:
        await flush_tlb_kernel_range(percpu.machine, cpu, *purged)


async def map_vm_area(percpu: BlockPercpu, cpu: int, virt: int, pfns: Sequence[int]) -> bool:
    """Map pages; False, and none of them mapped, without memory for a table."""
    await PREEMPT
    return map_pages(percpu, cpu, virt, pfns)


def map_pages(percpu: BlockPercpu, cpu: int, virt: int, pfns: Sequence[int]) -> bool:
    """Map pages with 4 KiB entries; False, and none of them mapped, without memory for a table.

    (The kernel leaves the first ones mapped; nobody has used them yet.)
    """
    space, node = percpu.machine.space, percpu.machine.cpus[cpu].node
    for at, pfn in enumerate(pfns):
        page = virt + (at << PAGE_SHIFT)
        if not space.map_page(virt=page, pfn=pfn, flags=PAGE_KERNEL, node=node, cpu=cpu):
            for done in range(virt, page, PAGE_SIZE_BYTES):
                space.unmap_page(done)
            return False
    return True


async def unmap_vm_area(percpu: BlockPercpu, cpu: int, virt: int, nr_bytes: int) -> None:
    """Unmap what is mapped in a range and make every CPU forget it."""
    await PREEMPT
    for page in range(virt, virt + nr_bytes, PAGE_SIZE_BYTES):
        percpu.machine.space.unmap_page(page)
    await flush_tlb_kernel_range(percpu.machine, cpu, virt, virt + nr_bytes)
