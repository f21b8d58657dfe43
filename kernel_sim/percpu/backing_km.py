"""percpu-km: a chunk is one block of the direct map, with all its pages from the start.

For machines without vmalloc-mapped chunks (nommu, or asked for). There is one group only, nothing is ever
populated or reclaimed page by page, and the block's size is rounded up to a power of two of pages.
Source: Linux 6.1 mm/percpu-km.c.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kernel_sim.errors import KernelBug
from kernel_sim.events import PercpuCreateChunk, PercpuDestroyChunk
from kernel_sim.mm.address_space import KernelAddressSpace
from kernel_sim.mm.frames import PhysicalMemory
from kernel_sim.mm.memory_access import MemoryAccess
from kernel_sim.mm.page import PAGE_SHIFT
from kernel_sim.mm.page_alloc import PageAllocator
from kernel_sim.percpu.backing_vm import clear_by_access, clear_in_units
from kernel_sim.percpu.bitmap import BitmapPercpu
from kernel_sim.percpu.chunk import Chunk
from kernel_sim.percpu.unit_places import UnitPlaces
from kernel_sim.primitives import PREEMPT


@dataclass(slots=True)
class KmBacking:
    """Chunks in the direct map, which begins at direct_map_addr."""

    places: UnitPlaces
    pages: PageAllocator
    memory: PhysicalMemory
    space: KernelAddressSpace
    direct_map_addr: int
    name: str = "km"
    access: MemoryAccess | None = None  # of CPUs with TLBs, which every clearing goes through
    percpu: BitmapPercpu = field(init=False)

    def attach(self, percpu: BitmapPercpu) -> None:
        """Learn which allocator it serves."""
        self.percpu = percpu

    @property
    def order(self) -> int:
        """Order of the block that holds one chunk."""
        nr_pages = self.places.group_sizes[0] >> PAGE_SHIFT
        return (nr_pages - 1).bit_length()

    async def pcpu_create_chunk(self, cpu: int, gfp: int) -> Chunk | None:
        """Return a new, fully populated chunk, or None without a free block."""
        pfn = await self.alloc_pages(self.places.node_of_cpu[cpu], gfp)
        if pfn is None:
            return None
        percpu = self.percpu
        number = percpu.next_number
        percpu.next_number = number + 1
        chunk = Chunk.fresh(
            number=number,
            base_addr=self.direct_map_addr + (pfn << PAGE_SHIFT),
            nr_pages=percpu.unit_size_bytes >> PAGE_SHIFT,
        )
        chunk.data = (pfn,)
        touched = (self.memory.is_touched(pfn + i) for i in range(1 << self.order))
        chunk.written = any(touched)
        percpu.add_chunk(chunk)
        await percpu.lock
        percpu.count_populated(chunk, 0, chunk.nr_pages)
        percpu.lock.release()
        percpu.statistics.chunk_alloc()
        percpu.host.emit(cpu, PercpuCreateChunk(chunk.base_addr))
        return chunk

    async def alloc_pages(self, node: int, gfp: int) -> int | None:
        """Return the first pfn of a block that holds one chunk, or None."""
        await PREEMPT
        return self.pages.alloc_pages(gfp=gfp, order=self.order, node=node, injectable=True)

    async def pcpu_destroy_chunk(self, cpu: int, chunk: Chunk) -> None:
        """Give the chunk's block back."""
        await PREEMPT
        self.percpu.statistics.chunk_dealloc()
        self.percpu.host.emit(cpu, PercpuDestroyChunk(chunk.base_addr))
        self.percpu.drop_chunk(chunk)
        self.pages.free_pages(chunk.data[0], self.order)

    async def pcpu_populate_chunk(
        self, cpu: int, chunk: Chunk, page_start: int, page_end: int, gfp: int
    ) -> bool:
        """All pages are there already."""
        return True

    async def pcpu_depopulate_chunk(
        self, cpu: int, chunk: Chunk, page_start: int, page_end: int
    ) -> None:
        """Pages leave with their chunk only."""

    async def pcpu_post_unmap_tlb_flush(
        self, cpu: int, chunk: Chunk, page_start: int, page_end: int
    ) -> None:
        """Never reached: nothing is unmapped here."""
        raise KernelBug("percpu-km: a flush for pages that are never unmapped")

    def pcpu_should_reclaim_chunk(self, percpu: BitmapPercpu, chunk: Chunk) -> bool:
        """Never: a block goes back as a whole."""
        return False

    def clear_area(self, cpu: int, chunk: Chunk, offset_bytes: int, size_bytes: int) -> None:
        """Write zeros to the area in the unit of every possible CPU."""
        area = chunk.base_addr + offset_bytes
        if self.access is not None:
            clear_by_access(self.access, self.places, cpu, area, size_bytes)
        elif chunk.written:
            clear_in_units(self.places, self.space, self.memory, area, size_bytes)
