"""Chunks with area maps in vmalloc space, 2.6.31 and later.

    create      an area for each group at the first chunk's distances; before 2.6.32 one area for all units
    populate    all pages of all missing runs are fetched, then all mapped, then the area is cleared
    depopulate  the way back; TLBs are left to vmalloc, which flushes when it purges

What fails in between is undone, and nothing else: pages that were there before stay. Each page costs a
step, and is asked for on its CPU's node with HIGHMEM and COLD.
Source: Linux 2.6.34 mm/percpu.c, pcpu_populate_chunk(), pcpu_depopulate_chunk(), alloc_pcpu_chunk().
"""

from __future__ import annotations

from dataclasses import dataclass

from kernel_sim.events import (
    PercpuCreateChunk,
    PercpuDepopulate,
    PercpuDestroyChunk,
    PercpuPopulate,
)
from kernel_sim.mm.page import PAGE_SHIFT
from kernel_sim.mm.vmalloc import VmallocSpace
from kernel_sim.percpu.area_chunk import AreaChunk
from kernel_sim.percpu.area_memory import AreaMemory, Run, pages_of
from kernel_sim.percpu.area_percpu import AreaPercpu
from kernel_sim.primitives import PREEMPT

ONE_AREA_CALLER = "alloc_pcpu_chunk"


@dataclass(frozen=True, slots=True)
class AreaVmBacking:
    """Chunks of one allocator in vmalloc space, with 4 KiB mappings."""

    percpu: AreaPercpu
    memory: AreaMemory
    vmalloc: VmallocSpace

    async def pcpu_create_chunk(self, cpu: int) -> AreaChunk | None:
        """Return a new chunk without pages, or None if vmalloc space has no such hole."""
        await PREEMPT
        percpu, places, vmalloc = self.percpu, self.memory.places, self.vmalloc
        areas: tuple[int, ...] | None
        if percpu.stage.has_groups:
            areas = vmalloc.get_vm_areas(
                places.group_offsets, places.group_sizes, places.atom_size_bytes
            )
        else:
            start = vmalloc.alloc_area(
                sum(places.group_sizes), places.atom_size_bytes, ONE_AREA_CALLER
            )
            areas = None if start is None else (start,)
        purged = vmalloc.take_purged()
        if purged:
            await self.memory.flush(cpu, *purged)
        if areas is None:
            return None
        chunk = percpu.new_chunk(
            areas[0] - places.group_offsets[0], percpu.unit_size_bytes >> PAGE_SHIFT, areas
        )
        percpu.host.emit(cpu, PercpuCreateChunk(chunk.base_addr))
        return chunk

    async def pcpu_destroy_chunk(self, cpu: int, chunk: AreaChunk) -> None:
        """Give the chunk's address space back; it is used again only after a purge."""
        await PREEMPT
        self.percpu.host.emit(cpu, PercpuDestroyChunk(chunk.base_addr))
        self.percpu.drop_chunk(chunk)
        self.vmalloc.free_vm_areas(chunk.data)
        purged = self.vmalloc.take_purged()
        if purged:
            await self.memory.flush(cpu, *purged)

    async def pcpu_populate_chunk(
        self, cpu: int, chunk: AreaChunk, offset_bytes: int, size_bytes: int
    ) -> bool:
        """Back and clear an area in every unit; False, and no page more or less, without memory."""
        await PREEMPT
        page_start, page_end = pages_of(offset_bytes, size_bytes)
        runs = list(chunk.unpopulated_runs(page_start, page_end))
        pages: list[list[int]] = []
        for start, end in runs:
            pfns = await self.pcpu_alloc_pages(cpu, end - start)
            if pfns is None:
                for earlier in pages:
                    self.memory.free_pages(cpu, earlier)
                return False
            pages.append(pfns)
        for number, run in enumerate(runs):
            if not await self.pcpu_map_pages(cpu, chunk, run, pages[number]):
                for start, end in runs[: number + 1]:
                    self.memory.unmap_run(chunk, start, end)
                await self.memory.flush(cpu, *self.memory.span(chunk, page_start, run[1]))
                for pfns in pages:
                    self.memory.free_pages(cpu, pfns)
                return False
        for (start, end), pfns in zip(runs, pages, strict=True):
            self.memory.note_pages(chunk, pfns)
            chunk.set_populated(start, end, is_there=True)
            self.percpu.host.emit(cpu, PercpuPopulate(chunk.base_addr, start, end))
        self.memory.clear(cpu, chunk, offset_bytes, size_bytes)
        return True

    async def pcpu_alloc_pages(self, cpu: int, nr_pages: int) -> list[int] | None:
        """Return nr_pages for each CPU, CPU by CPU; None, and all given back, without memory."""
        pfns: list[int] = []
        for owner in self.memory.places.cpus:
            for _ in range(nr_pages):
                pfn = await self.alloc_pages_node(cpu, owner)
                if pfn is None:
                    self.memory.free_pages(cpu, pfns)
                    return None
                pfns.append(pfn)
        return pfns

    async def alloc_pages_node(self, cpu: int, owner: int) -> int | None:
        """Return one page, wished on the owner's node, or None."""
        await PREEMPT
        return self.memory.take_page(cpu, owner)

    async def pcpu_map_pages(self, cpu: int, chunk: AreaChunk, run: Run, pfns: list[int]) -> bool:
        """Map a run of pages into every unit; False without a page for a table."""
        start, end = run
        for index, owner in enumerate(self.memory.places.cpus):
            await PREEMPT
            own = pfns[index * (end - start) : (index + 1) * (end - start)]
            if not self.memory.map_run(cpu, chunk, owner, start, own):
                return False
        return True

    async def pcpu_depopulate_chunk(
        self, cpu: int, chunk: AreaChunk, offset_bytes: int, size_bytes: int
    ) -> None:
        """Unmap what is there of a range from every unit and give the pages back."""
        runs = list(chunk.populated_runs(*pages_of(offset_bytes, size_bytes)))
        for start, end in runs:
            await PREEMPT
            self.memory.free_pages(cpu, self.memory.unmap_run(chunk, start, end))
            chunk.set_populated(start, end, is_there=False)
            self.percpu.host.emit(cpu, PercpuDepopulate(chunk.base_addr, start, end))
