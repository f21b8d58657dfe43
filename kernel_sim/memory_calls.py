"""What a CPU may be asked to do with pages, slab objects, vmalloc areas and plain addresses.

    alloc_pages     free_pages     drain_all_pages       pages; who asks keeps them (held_pages)
    kmalloc_node    kfree                                slab objects, by their direct-map address
    vmalloc         vfree                                areas with pages
    read            write                                simulated memory, through TLB and page tables
    flush_tlb_all   flush_tlb_kernel_range               what keeps TLBs honest

No memory is a result, 0 or -1, and a line in the kernel log unless __GFP_NOWARN. An access that a CPU may
not make stops the machine. Names and results as in Linux 6.1.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from kernel_sim.errors import BadAccess, DoubleFree, KernelBug
from kernel_sim.events import Kfree, KmallocNode, MmPageAlloc, MmPageFree
from kernel_sim.mm.gfp import GFP_NOWARN, GFP_ZERO
from kernel_sim.mm.page_call import allocation_failure_text
from kernel_sim.mm.tlb_flush import (
    do_flush_tlb_all,
    do_kernel_range_flush,
    flush_tlb_all,
    flush_tlb_kernel_range,
)
from kernel_sim.mm.vmalloc_pages import vfree, vmalloc
from kernel_sim.primitives import PREEMPT
from kernel_sim.topology import NUMA_NO_NODE

if TYPE_CHECKING:
    from kernel_sim.machine import Machine

KERN_WARNING = 4
ACCESS_BYTES_MAX = 4096
NO_PFN = -1


class MemoryCalls:
    """Pages, slab objects and accesses on one machine."""

    def __init__(self, machine: Machine) -> None:
        """Work on this machine's memory."""
        self.machine = machine

    async def alloc_pages(self, cpu: int, order: int, gfp: int, node: int) -> int:
        """Return the first pfn of 2^order pages wished on a node, or -1; node -1 is the CPU's own."""
        await PREEMPT
        machine = self.machine
        pages = machine.pages
        at = self._node(cpu, node)
        pfn = pages.alloc_pages(
            gfp=gfp, order=order, node=at, cpu=cpu, injectable=True, caller="alloc_pages"
        )
        if pfn is None:
            self._warn(cpu, order, gfp)
            machine.emit(cpu, MmPageAlloc(NO_PFN, order, gfp, at))
            return NO_PFN
        if gfp & GFP_ZERO:
            for page in range(pfn, pfn + (1 << order)):
                machine.memory.clear_page(page)
        machine.held_pages[pfn] = order
        self._tell(cpu, MmPageAlloc(pfn, order, gfp, pages.node_of_pfn(pfn)))
        return pfn

    async def free_pages(self, cpu: int, pfn: int, order: int) -> None:
        """Give back what alloc_pages() gave. Raises DoubleFree for anything else."""
        await PREEMPT
        machine = self.machine
        if machine.held_pages.get(pfn) != order:
            raise DoubleFree(
                f"cpu {cpu}: free of page {pfn:#x}, order {order}: alloc_pages() did not give it"
            )
        machine.pages.free_pages(pfn, order, cpu)
        del machine.held_pages[pfn]
        self._tell(cpu, MmPageFree(pfn, order))

    async def drain_all_pages(self, cpu: int) -> None:
        """Give the pages on all CPUs' lists back to the buddy."""
        await PREEMPT
        self.machine.pages.drain_all()

    async def kmalloc_node(self, cpu: int, size: int, gfp: int, node: int) -> int:
        """Return the address of size bytes, or 0 without memory; node -1 is the CPU's own."""
        await PREEMPT
        machine = self.machine
        size &= machine.arch.address_mask  # a size_t: what is negative is vast
        at = self._node(cpu, node)
        phys = machine.slab.kmalloc_node(size, gfp, at, cpu, injectable=True, caller="kmalloc_node")
        if phys is None:
            self._warn(cpu, 0, gfp)
            return 0
        addr = machine.arch.direct_map_addr + phys
        if gfp & GFP_ZERO:
            machine.memory.write(phys, bytes(size))
        machine.emit(
            cpu, KmallocNode("kmalloc_node", addr, size, machine.slab.ksize(phys), gfp, node)
        )
        return addr

    async def kfree(self, cpu: int, addr: int) -> None:
        """Give an object back; 0 does nothing. Raises DoubleFree, BadAccess."""
        await PREEMPT
        if addr:
            self.machine.slab.kfree(addr - self.machine.arch.direct_map_addr, cpu)
            self.machine.emit(cpu, Kfree("kfree", addr))

    async def read(self, cpu: int, addr: int, size: int) -> int:
        """Return size bytes at an address as a little-endian number. Raises PageFault."""
        await PREEMPT
        self._check_size(cpu, size)
        return int.from_bytes(self.machine.access.read(cpu, addr, size), "little")

    async def write(self, cpu: int, addr: int, value: int, size: int) -> None:
        """Write a number of size bytes to an address. Raises PageFault."""
        await PREEMPT
        self._check_size(cpu, size)
        data = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
        self.machine.access.write(cpu, addr, data)
        self.machine.system.note_written(cpu, addr)

    def _tell(self, cpu: int, event: MmPageAlloc | MmPageFree) -> None:
        """Tell of one block, unless the allocator tells of all."""
        if not self.machine.config.trace.kmem:
            self.machine.emit(cpu, event)

    def _check_size(self, cpu: int, size: int) -> None:
        if not 0 < size <= ACCESS_BYTES_MAX:
            raise BadAccess(f"cpu {cpu}: access of {size} bytes; expected 1 to {ACCESS_BYTES_MAX}")

    def _node(self, cpu: int, node: int) -> int:
        """Return the node that is meant. Raises KernelBug if there is none of that number."""
        if node == NUMA_NO_NODE:
            return self.machine.cpus[cpu].node
        if node not in self.machine.topology.nodes:
            raise KernelBug(
                f"cpu {cpu}: memory of node {node}: expected one of 0 to"
                f" {len(self.machine.topology.nodes) - 1}, or -1 for the CPU's own"
            )
        return node

    def _warn(self, cpu: int, order: int, gfp: int) -> None:
        if not gfp & GFP_NOWARN:
            task = f"cpu{cpu}"
            self.machine.printk(cpu, KERN_WARNING, allocation_failure_text(task, order, gfp))


SIGNATURES: dict[str, tuple[type, ...]] = {
    "alloc_pages": (int, int, int),
    "free_pages": (int, int),
    "drain_all_pages": (),
    "kmalloc_node": (int, int, int),
    "kfree": (int,),
    "vmalloc": (int,),
    "vfree": (int,),
    "read": (int, int),
    "write": (int, int, int),
    "flush_tlb_all": (),
    "flush_tlb_kernel_range": (int, int),
}
"""Types of every call's arguments behind the CPU."""


def memory_call_table(machine: Machine) -> dict[str, Callable[..., object]]:
    """Return the calls of this file by name."""
    calls = MemoryCalls(machine)
    return {
        "alloc_pages": calls.alloc_pages,
        "free_pages": calls.free_pages,
        "drain_all_pages": calls.drain_all_pages,
        "kmalloc_node": calls.kmalloc_node,
        "kfree": calls.kfree,
        "vmalloc": partial(vmalloc, machine),
        "vfree": partial(vfree, machine),
        "read": calls.read,
        "write": calls.write,
        "flush_tlb_all": partial(flush_tlb_all, machine),
        "flush_tlb_kernel_range": partial(flush_tlb_kernel_range, machine),
        "do_flush_tlb_all": partial(do_flush_tlb_all, machine),
        "do_kernel_range_flush": partial(do_kernel_range_flush, machine),
    }
