"""The memory of chunks with area maps, as far as every backing does the same with it.

    unit_addr   where a page of a CPU's unit is          map_run    a run of pages in one unit
    clear       zeros in every unit                      unmap_run  … taken out of every unit

Everything here happens in one step; the paths with their preemption points are the backings'.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from kernel_sim.mm.address_space import KernelAddressSpace
from kernel_sim.mm.empty_table import give_back
from kernel_sim.mm.frames import PhysicalMemory
from kernel_sim.mm.gfp import GFP_HIGHMEM, GFP_KERNEL
from kernel_sim.mm.memory_access import MemoryAccess
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.mm.page_alloc import PageAllocator
from kernel_sim.mm.page_lists import GFP_COLD
from kernel_sim.mm.paging import PAGE_KERNEL
from kernel_sim.percpu.area_chunk import AreaChunk
from kernel_sim.percpu.backing_vm import clear_by_access, clear_in_units, flush_nothing
from kernel_sim.percpu.unit_places import UnitPlaces

CHUNK_GFP: Final = GFP_KERNEL | GFP_HIGHMEM | GFP_COLD
"""What chunk pages are asked for with: from anywhere, and not from the warm end of a list."""
PAGE_CALLER: Final = "pcpu_alloc_pages"
Run = tuple[int, int]


def pages_of(offset_bytes: int, size_bytes: int) -> Run:
    """Return the pages, first and end, that hold an area."""
    return offset_bytes >> PAGE_SHIFT, offset_bytes + size_bytes + PAGE_SIZE_BYTES - 1 >> PAGE_SHIFT


@dataclass(slots=True)
class AreaMemory:
    """A machine's memory as chunks use it. flush(cpu, start, end) makes every CPU forget translations."""

    places: UnitPlaces
    pages: PageAllocator
    memory: PhysicalMemory
    space: KernelAddressSpace
    flush: Callable[[int, int, int], Awaitable[None]] = flush_nothing
    access: MemoryAccess | None = None  # of CPUs with TLBs, which every clearing goes through

    def unit_addr(self, chunk: AreaChunk, cpu: int, page: int = 0) -> int:
        """Return the address of a page of a CPU's unit. Source: pcpu_chunk_addr()."""
        return chunk.base_addr + self.places.unit_offsets[cpu] + (page << PAGE_SHIFT)

    def span(self, chunk: AreaChunk, page_start: int, page_end: int) -> Run:
        """Return the addresses from the lowest unit's page_start to the highest unit's page_end."""
        offsets = [self.places.unit_offsets[cpu] for cpu in self.places.cpus]
        low, high = chunk.base_addr + min(offsets), chunk.base_addr + max(offsets)
        return low + (page_start << PAGE_SHIFT), high + (page_end << PAGE_SHIFT)

    def take_page(self, cpu: int, owner: int) -> int | None:
        """Ask for one page on the owner's node; None without memory."""
        return self.pages.alloc_pages(
            gfp=CHUNK_GFP,
            order=0,
            node=self.places.node_of_cpu[owner],
            cpu=cpu,
            injectable=True,
            caller=PAGE_CALLER,
        )

    def free_pages(self, cpu: int, pfns: Sequence[int]) -> None:
        """Give pages back, on the lists of the CPU that does it."""
        for pfn in pfns:
            give_back(self.pages, pfn, 0, cpu)

    def map_run(
        self, cpu: int, chunk: AreaChunk, owner: int, page_start: int, pfns: Sequence[int]
    ) -> bool:
        """Map pages into one unit; False without a page for a table, and some may be mapped."""
        virt = self.unit_addr(chunk, owner, page_start)
        node = self.places.node_of_cpu[cpu]
        for index, pfn in enumerate(pfns):
            page_addr = virt + index * PAGE_SIZE_BYTES
            if not self.space.map_page(
                virt=page_addr, pfn=pfn, flags=PAGE_KERNEL, node=node, cpu=cpu
            ):
                return False
        return True

    def unmap_run(self, chunk: AreaChunk, page_start: int, page_end: int) -> list[int]:
        """Unmap pages from every unit; returns those that were mapped, CPU by CPU."""
        pfns: list[int] = []
        for owner in self.places.cpus:
            for page in range(page_start, page_end):
                pfn = self.space.unmap_page(self.unit_addr(chunk, owner, page))
                if pfn is not None:
                    pfns.append(pfn)
        return pfns

    def note_pages(self, chunk: AreaChunk, pfns: Sequence[int]) -> None:
        """Take note that pages come with bytes in them that somebody wrote."""
        if not chunk.written and any(map(self.memory.is_touched, pfns)):
            chunk.written = chunk.changed = True

    def clear(self, cpu: int, chunk: AreaChunk, offset_bytes: int, size_bytes: int) -> None:
        """Write zeros to an area in every unit."""
        area = chunk.base_addr + offset_bytes
        if self.access is not None:
            clear_by_access(self.access, self.places, cpu, area, size_bytes)
        elif chunk.written or chunk.immutable:
            clear_in_units(self.places, self.space, self.memory, area, size_bytes)
