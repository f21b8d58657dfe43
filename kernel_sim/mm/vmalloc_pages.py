"""Areas with pages: vmalloc() and the module space.

    __vmalloc_node_range   area and guard page ─► a page, a page, … ─► all mapped ─► address
                                                    │ no memory          │ no table page
                                                    └──── all goes back ─┴─► 0, and a line in the log
    vfree                  unmapped ─► area lazily freed ─► pages back

Which pages an area has is read from its page table entries; there is no second list. A lazily freed
area costs no flush. Where freeing made too many of them, all are purged and then flushed at once;
module_memfree() always does that, and before the pages go: code must not stay reachable.
Source: mm/vmalloc.c and arch/x86/kernel/module.c, Linux 6.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from kernel_sim.alignment import align_up
from kernel_sim.arch import Arch
from kernel_sim.cpu import Cpu
from kernel_sim.errors import KernelBug
from kernel_sim.mm.address_space import KernelAddressSpace
from kernel_sim.mm.frames import PhysicalMemory
from kernel_sim.mm.gfp import (
    GFP_DMA,
    GFP_DMA32,
    GFP_HIGHMEM,
    GFP_KERNEL,
    GFP_NOWARN,
    GFP_ZERO,
    gfp_to_text,
)
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.mm.page_alloc import PageAllocator
from kernel_sim.mm.paging import PAGE_KERNEL
from kernel_sim.mm.tlb_flush import FlushHost, flush_tlb_kernel_range
from kernel_sim.mm.vmalloc import VmallocSpace, VmArea
from kernel_sim.primitives import PREEMPT
from kernel_sim.topology import NUMA_NO_NODE

KERN_WARNING: Final = 4
PAGE_CALLER: Final = "vmalloc"
MODULE_CALLER: Final = "load_module"


class VmallocHost(FlushHost, Protocol):
    """What vmalloc needs of the machine; on i386 both spaces are one and the same."""

    arch: Arch
    pages: PageAllocator
    space: KernelAddressSpace
    memory: PhysicalMemory
    vmalloc: VmallocSpace
    module_space: VmallocSpace

    @property
    def cpus(self) -> Mapping[int, Cpu]:
        """Return every CPU by its number."""

    def printk(self, cpu: int, level: int, text: str) -> None:
        """Add a line to the kernel log."""


async def vmalloc(host: VmallocHost, cpu: int, size_bytes: int) -> int:
    """Return the address of size_bytes, in whole pages, or 0. The pages are not cleared."""
    return await __vmalloc_node_range(
        host, cpu, host.vmalloc, size_bytes, gfp=GFP_KERNEL, node=NUMA_NO_NODE, caller="vmalloc"
    )


async def vzalloc(host: VmallocHost, cpu: int, size_bytes: int) -> int:
    """Do as vmalloc() does, with pages that are zero."""
    gfp = GFP_KERNEL | GFP_ZERO
    return await __vmalloc_node_range(
        host, cpu, host.vmalloc, size_bytes, gfp=gfp, node=NUMA_NO_NODE, caller="vzalloc"
    )


async def vmalloc_node(host: VmallocHost, cpu: int, size_bytes: int, node: int) -> int:
    """Do as vmalloc() does, with pages wished on a node."""
    return await __vmalloc_node_range(
        host, cpu, host.vmalloc, size_bytes, gfp=GFP_KERNEL, node=node, caller="vmalloc_node"
    )


async def module_alloc(
    host: VmallocHost, cpu: int, size_bytes: int, caller: str = MODULE_CALLER
) -> int | None:
    """Return the address of size_bytes, in whole pages of the module space, or None.

    The pages come from the running CPU's node and are not cleared.
    """
    space = host.module_space
    if size_bytes > space.end + 1 - space.start:
        return None
    addr = await __vmalloc_node_range(
        host, cpu, space, size_bytes, gfp=GFP_KERNEL, node=NUMA_NO_NODE, caller=caller
    )
    return addr or None


async def __vmalloc_node_range(
    host: VmallocHost,
    cpu: int,
    space: VmallocSpace,
    size_bytes: int,
    *,
    gfp: int,
    node: int,
    caller: str,
    prot_flags: int = PAGE_KERNEL,
) -> int:
    """Return the address of an area of `space` with pages behind it and a guard page, or 0.

    Every page is a step. When one is not there, everything goes back, and the log says so unless
    gfp has __GFP_NOWARN. prot_flags: what its page table entries say; node: NUMA_NO_NODE is the
    running CPU's.
    """
    await PREEMPT
    nr_pages = align_up(size_bytes, PAGE_SIZE_BYTES) >> PAGE_SHIFT
    if nr_pages <= 0:
        return 0
    if nr_pages > sum(zone.nr_managed_pages for zone in host.pages.zones):
        _warn_alloc(host, cpu, gfp, f"size {size_bytes}, exceeds total pages")
        return 0
    addr = space.alloc_area(size_bytes, PAGE_SIZE_BYTES, caller, nr_pages=nr_pages)
    purged = space.take_purged()
    if purged:
        await flush_tlb_kernel_range(host, cpu, *purged)
    if addr is None:
        _warn_alloc(host, cpu, gfp, f"size {size_bytes}, vm_struct allocation failed")
        return 0
    pfns: list[int] = []
    if not await vm_area_alloc_pages(host, cpu, gfp, node, nr_pages, pfns):
        text = f"size {len(pfns) * PAGE_SIZE_BYTES}, page order 0, failed to allocate pages"
    else:
        await PREEMPT
        if _map(host, cpu, addr, pfns, prot_flags):
            return addr
        text = f"size {len(pfns) * PAGE_SIZE_BYTES}, failed to map pages"
    _warn_alloc(host, cpu, gfp, text)
    space.free_vm_areas((addr,))
    purged = space.take_purged()
    for pfn in pfns:
        host.pages.free_pages(pfn, 0, cpu)
    if purged:
        await flush_tlb_kernel_range(host, cpu, *purged)
    return 0


async def vm_area_alloc_pages(
    host: VmallocHost, cpu: int, gfp: int, node: int, nr_pages: int, pfns: list[int]
) -> bool:
    """Collect nr_pages in pfns, one a step; False, with what was there, when one is not."""
    if not gfp & (GFP_DMA | GFP_DMA32):
        gfp |= GFP_HIGHMEM
    for _ in range(nr_pages):
        await PREEMPT
        pfn = host.pages.alloc_pages(
            gfp=gfp | GFP_NOWARN,
            order=0,
            node=host.cpus[cpu].node if node == NUMA_NO_NODE else node,
            cpu=cpu,
            injectable=True,
            caller=PAGE_CALLER,
        )
        if pfn is None:
            return False
        if gfp & GFP_ZERO:
            host.memory.clear_page(pfn)
        pfns.append(pfn)
    return True


async def vfree(host: VmallocHost, cpu: int, addr: int, flush_reset: bool = False) -> None:
    """Give back the area that holds addr, with its pages; 0 is nothing to do.

    flush_reset (VM_FLUSH_RESET_PERMS): all that is lazily freed is purged and flushed before the pages
    go. The kernel has one list of lazily freed areas for both spaces, so both are purged.

    What is no area gets a warning in the log and nothing else. Raises KernelBug for an area whose
    pages are not its own, such as a chunk's.
    """
    await PREEMPT
    if not addr:
        return
    if addr % PAGE_SIZE_BYTES:
        host.printk(cpu, KERN_WARNING, f"Trying to vfree() bad address ({_pointer(host, addr)})")
        return
    space = _space_of(host, addr)
    area = _live_area(space, addr)
    if area is None:
        text = f"Trying to vfree() nonexistent vm area ({_pointer(host, addr)})"
        host.printk(cpu, KERN_WARNING, text)
        return
    if not area.nr_pages:
        raise KernelBug(
            f"cpu {cpu}: vfree() of {addr:#x}: expected an area of vmalloc(), "
            f"this one is of {area.caller or 'somebody else'}"
        )
    pfns = _unmap(host.space, area)
    space.free_vm_areas((area.start,))
    purged = _purge_all(host) if flush_reset else space.take_purged()
    if purged:
        await flush_tlb_kernel_range(host, cpu, *purged)
    for pfn in pfns:
        host.pages.free_pages(pfn, 0, cpu)
        await PREEMPT


async def module_memfree(host: VmallocHost, cpu: int, addr: int) -> None:
    """Give back an area of the module space: no CPU reaches its pages any more when they are free.

    Source: vm_remove_mappings() of an area with VM_FLUSH_RESET_PERMS, Linux 6.1; the direct map,
    whose permissions are as they were here, is not flushed.
    """
    await vfree(host, cpu, addr, flush_reset=True)


def area_pfns(space: KernelAddressSpace, area: VmArea) -> list[int]:
    """Return the pages mapped in an area, lowest address first, read from its page table entries."""
    found = (space.translate(virt) for virt in range(area.start, area.end, PAGE_SIZE_BYTES))
    return [phys >> PAGE_SHIFT for phys in found if phys is not None]


def _purge_all(host: VmallocHost) -> tuple[int, int] | None:
    """Purge both spaces; return the range to flush."""
    spans = []
    for space in (host.vmalloc, host.module_space):
        space.purge()
        purged = space.take_purged()
        if purged:
            spans.append(purged)
    return (min(span[0] for span in spans), max(span[1] for span in spans)) if spans else None


def _map(host: VmallocHost, cpu: int, addr: int, pfns: Sequence[int], flags: int) -> bool:
    """Map pages from addr on; False, and nothing mapped, without a table page."""
    node = host.cpus[cpu].node
    for index, pfn in enumerate(pfns):
        virt = addr + index * PAGE_SIZE_BYTES
        if not host.space.map_page(virt=virt, pfn=pfn, flags=flags, node=node, cpu=cpu):
            for mapped in range(addr, virt, PAGE_SIZE_BYTES):
                host.space.unmap_page(mapped)
            return False
    return True


def _unmap(space: KernelAddressSpace, area: VmArea) -> list[int]:
    """Unmap all of an area and return the pages that were mapped, lowest address first."""
    found = (space.unmap_page(virt) for virt in range(area.start, area.end, PAGE_SIZE_BYTES))
    return [pfn for pfn in found if pfn is not None]


def _space_of(host: VmallocHost, addr: int) -> VmallocSpace:
    modules = host.module_space
    return modules if modules.start <= addr <= modules.end else host.vmalloc


def _live_area(space: VmallocSpace, addr: int) -> VmArea | None:
    """Return the area in use that holds addr; a lazily freed one is none any more."""
    area = space.find_area(addr)
    return None if area is None or area.start in space.lazy else area


def _pointer(host: VmallocHost, addr: int) -> str:
    """Return an address as %p prints it, here always the true one."""
    return f"{addr:0{2 * host.arch.word_bytes}x}"


def _warn_alloc(host: VmallocHost, cpu: int, gfp: int, text: str) -> None:
    """Source: warn_alloc(), Linux 6.1; the CPU sets at the end of its line are not modelled."""
    if not gfp & GFP_NOWARN:
        mode = f"mode:{gfp:#x}({gfp_to_text(gfp)}), nodemask=(null)"
        host.printk(cpu, KERN_WARNING, f"cpu{cpu}: vmalloc error: {text}, {mode}")
