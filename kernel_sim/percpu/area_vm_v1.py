"""Populating chunks as in the first commit, February 2009: page by page, all CPUs of each.

    populate     page 4: a page for CPU 0, 1, …      page 5 is there: pages so far are mapped      page 6: …
    no memory    the whole range of the request is depopulated, pages of its neighbours too

That last is a bug of the posted code: an area that shared a page with the one that failed has no memory
any more, and the next touch of it is a page fault. Address space is as later.
Source: Linux commit fbf59bc9d74d, mm/percpu.c, pcpu_populate_chunk(), pcpu_depopulate_chunk().
"""

from __future__ import annotations

from dataclasses import dataclass

from kernel_sim.events import PercpuDepopulate, PercpuPopulate
from kernel_sim.percpu.area_chunk import AreaChunk
from kernel_sim.percpu.area_memory import Run, pages_of
from kernel_sim.percpu.area_vm import AreaVmBacking
from kernel_sim.primitives import PREEMPT


@dataclass(frozen=True, slots=True)
class AreaVmV1Backing:
    """Chunks of one allocator in vmalloc space; vm: their address space."""

    vm: AreaVmBacking

    async def pcpu_create_chunk(self, cpu: int) -> AreaChunk | None:
        """Return a new chunk without pages, or None if vmalloc space has no such hole."""
        return await self.vm.pcpu_create_chunk(cpu)

    async def pcpu_destroy_chunk(self, cpu: int, chunk: AreaChunk) -> None:
        """Give the chunk's address space back."""
        await self.vm.pcpu_destroy_chunk(cpu, chunk)

    async def pcpu_populate_chunk(
        self, cpu: int, chunk: AreaChunk, offset_bytes: int, size_bytes: int
    ) -> bool:
        """Back and clear an area in every unit; without memory its whole range loses its pages."""
        await PREEMPT
        page_start, page_end = pages_of(offset_bytes, size_bytes)
        places = self.vm.memory.places
        fetched: dict[int, list[int]] = {}  # by page: a pfn for each CPU, not mapped yet
        failed = False
        for page in range(page_start, page_end):
            if chunk.populated >> page & 1:
                failed = bool(fetched) and not await self.pcpu_map(cpu, chunk, fetched)
            else:
                fetched[page] = []
                for owner in places.cpus:
                    pfn = await self.vm.alloc_pages_node(cpu, owner)
                    if pfn is None:
                        failed = True
                        break
                    fetched[page].append(pfn)
            if failed:
                break
        if fetched and not failed:
            failed = not await self.pcpu_map(cpu, chunk, fetched)
        if failed:
            for pfns in fetched.values():
                self.vm.memory.free_pages(cpu, pfns)
            await self.pcpu_depopulate_chunk(cpu, chunk, offset_bytes, size_bytes)
            await self.vm.memory.flush(cpu, *self.vm.memory.span(chunk, page_start, page_end))
            return False
        self.vm.memory.clear(cpu, chunk, offset_bytes, size_bytes)
        return True

    async def pcpu_map(self, cpu: int, chunk: AreaChunk, fetched: dict[int, list[int]]) -> bool:
        """Map a run of fetched pages into every unit and forget them; False without a table page."""
        memory = self.vm.memory
        run: Run = min(fetched), max(fetched) + 1
        for index, owner in enumerate(memory.places.cpus):
            await PREEMPT
            own = [fetched[page][index] for page in range(*run)]
            if not memory.map_run(cpu, chunk, owner, run[0], own):
                memory.unmap_run(chunk, *run)
                return False
        for pfns in fetched.values():
            memory.note_pages(chunk, pfns)
        fetched.clear()
        chunk.set_populated(*run, is_there=True)
        self.vm.percpu.host.emit(cpu, PercpuPopulate(chunk.base_addr, *run))
        return True

    async def pcpu_depopulate_chunk(
        self, cpu: int, chunk: AreaChunk, offset_bytes: int, size_bytes: int
    ) -> None:
        """Take all pages of a range away from every unit, whoever uses them."""
        for run in list(chunk.populated_runs(*pages_of(offset_bytes, size_bytes))):
            await PREEMPT
            self.vm.memory.free_pages(cpu, self.vm.memory.unmap_run(chunk, *run))
            chunk.set_populated(*run, is_there=False)
            self.vm.percpu.host.emit(cpu, PercpuDepopulate(chunk.base_addr, *run))
