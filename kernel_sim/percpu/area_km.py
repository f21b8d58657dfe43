"""percpu-km of April 2010: a chunk is one block of kernel memory, all of it from the start.

    | u0 | u1 | u2 |  wasted  |        3 units of 8 pages: 24 pages, a block of 32, 8 wasted in every chunk

For machines without an MMU. There is nothing to populate, nothing goes back but whole blocks, and a block
is of one group, on no node in particular. As posted, an area is not cleared when it is given out: the block
came as it was. That was mended for 2.6.37.
Source: "percpu: implement kernel memory based chunk allocation", 9 Apr 2010: mm/percpu-km.c.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kernel_sim.events import PercpuCreateChunk, PercpuDestroyChunk
from kernel_sim.mm.gfp import GFP_KERNEL
from kernel_sim.mm.page import PAGE_SHIFT
from kernel_sim.percpu.area_chunk import AreaChunk
from kernel_sim.percpu.area_memory import AreaMemory
from kernel_sim.percpu.area_percpu import AreaPercpu
from kernel_sim.percpu.boot_log import EINVAL, KERN_WARNING, BootLine
from kernel_sim.percpu.unit_layout import AllocInfo
from kernel_sim.primitives import PREEMPT

KERN_CRIT: Final = 2
PAGED_TEXT: Final = "contiguous percpu allocation is incompatible with paged first chunk"


def pcpu_verify_alloc_info(info: AllocInfo) -> tuple[int, tuple[BootLine, ...]]:
    """Return 0 or -EINVAL for a layout, and what is printed about it."""
    if len(info.groups) != 1:
        return -EINVAL, (BootLine(KERN_CRIT, "percpu: can't handle more than one groups"),)
    nr_pages = info.groups[0].nr_units * info.unit_size_bytes >> PAGE_SHIFT
    wasted = (1 << order_base_2(nr_pages)) - nr_pages
    if not wasted:
        return 0, ()
    return 0, (BootLine(KERN_WARNING, f"percpu: wasting {wasted} pages per chunk"),)


def order_base_2(nr_pages: int) -> int:
    """Return the order of the smallest block that holds so many pages."""
    return (nr_pages - 1).bit_length()


@dataclass(frozen=True, slots=True)
class AreaKmBacking:
    """Chunks of one allocator in the direct map. clears: an area is zero when it is given out (2.6.37)."""

    percpu: AreaPercpu
    memory: AreaMemory
    direct_map_addr: int
    clears: bool

    @property
    def order(self) -> int:
        """Order of the block that holds one chunk."""
        return order_base_2(self.memory.places.group_sizes[0] >> PAGE_SHIFT)

    async def pcpu_create_chunk(self, cpu: int) -> AreaChunk | None:
        """Return a new chunk with all its pages, or None without a free block."""
        pfn = await self.alloc_pages(cpu)
        if pfn is None:
            return None
        percpu, places = self.percpu, self.memory.places
        chunk = percpu.new_chunk(
            self.direct_map_addr + (pfn << PAGE_SHIFT) - places.group_offsets[0],
            percpu.unit_size_bytes >> PAGE_SHIFT,
            (pfn,),
        )
        chunk.set_populated(0, chunk.nr_pages, is_there=True)
        self.memory.note_pages(chunk, range(pfn, pfn + (1 << self.order)))
        percpu.host.emit(cpu, PercpuCreateChunk(chunk.base_addr))
        return chunk

    async def alloc_pages(self, cpu: int) -> int | None:
        """Return the first page of a block for one chunk, or None."""
        await PREEMPT
        return self.memory.pages.alloc_pages(
            gfp=GFP_KERNEL,
            order=self.order,
            node=self.memory.places.node_of_cpu[cpu],
            cpu=cpu,
            injectable=True,
            caller="pcpu_create_chunk",
        )

    async def pcpu_destroy_chunk(self, cpu: int, chunk: AreaChunk) -> None:
        """Give the whole block back."""
        await PREEMPT
        self.percpu.host.emit(cpu, PercpuDestroyChunk(chunk.base_addr))
        self.percpu.drop_chunk(chunk)
        self.memory.pages.free_pages(chunk.data[0], self.order, cpu)

    async def pcpu_populate_chunk(
        self, cpu: int, chunk: AreaChunk, offset_bytes: int, size_bytes: int
    ) -> bool:
        """All pages are there already; the posted version does nothing at all."""
        if self.clears:
            self.memory.clear(cpu, chunk, offset_bytes, size_bytes)
        return True

    async def pcpu_depopulate_chunk(
        self, cpu: int, chunk: AreaChunk, offset_bytes: int, size_bytes: int
    ) -> None:
        """Pages leave with their chunk only."""
