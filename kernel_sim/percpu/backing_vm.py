"""percpu-vm: a chunk is address space first, and gets pages where and when they are needed.

    create      one hole per group in vmalloc space, in the same pattern as the first chunk's groups
    populate    for every possible CPU a page from that CPU's own node, mapped into its unit
    depopulate  the way back

Every page costs a step of the machine (`alloc_pages_node`), so that another CPU can come between.
Source: Linux 6.1 mm/percpu-vm.c.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass, field

from kernel_sim.events import (
    PercpuCreateChunk,
    PercpuDepopulate,
    PercpuDestroyChunk,
    PercpuPopulate,
)
from kernel_sim.mm.address_space import KernelAddressSpace
from kernel_sim.mm.frames import PhysicalMemory
from kernel_sim.mm.gfp import GFP_HIGHMEM, GFP_KERNEL, GFP_NORETRY, GFP_NOWARN
from kernel_sim.mm.memory_access import MemoryAccess
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.mm.page_alloc import PageAllocator
from kernel_sim.mm.paging import PAGE_KERNEL
from kernel_sim.mm.vmalloc import VmallocSpace
from kernel_sim.mm.watermarks import PROFILE_PLAIN
from kernel_sim.percpu.bitmap import BitmapPercpu
from kernel_sim.percpu.chunk import Chunk
from kernel_sim.percpu.reclaim import should_reclaim
from kernel_sim.percpu.unit_places import UnitPlaces
from kernel_sim.primitives import PREEMPT

PAGE_CALLER = "pcpu_alloc_pages"


class NothingToFlush:
    """What a machine without TLBs awaits where others flush: no step of its own."""

    __slots__ = ()

    def __await__(self) -> Generator[None, None, None]:
        """Come back at once."""
        yield from ()


def flush_nothing(cpu: int, start: int, end: int) -> Awaitable[None]:
    """Make no CPU forget [start, end)."""
    return NothingToFlush()


@dataclass(slots=True)
class VmBacking:
    """Chunks in vmalloc space.

    flush(cpu, start, end) makes every CPU forget the translations of [start, end).
    """

    places: UnitPlaces
    pages: PageAllocator
    memory: PhysicalMemory
    space: KernelAddressSpace
    vmalloc: VmallocSpace
    name: str = "vm"
    flush: Callable[[int, int, int], Awaitable[None]] = flush_nothing
    access: MemoryAccess | None = None  # of CPUs with TLBs, which every clearing goes through
    percpu: BitmapPercpu = field(init=False)

    def attach(self, percpu: BitmapPercpu) -> None:
        """Learn which allocator it serves."""
        self.percpu = percpu

    async def pcpu_create_chunk(self, cpu: int, gfp: int) -> Chunk | None:
        """Return a new chunk without pages, or None if vmalloc space has no such hole."""
        await PREEMPT
        percpu, places = self.percpu, self.places
        areas = self.vmalloc.get_vm_areas(
            places.group_offsets, places.group_sizes, places.atom_size_bytes
        )
        purged = self.vmalloc.take_purged()
        if purged:
            await self.flush(cpu, *purged)
        if areas is None:
            return None
        number = percpu.next_number
        percpu.next_number = number + 1
        chunk = Chunk.fresh(
            number=number,
            base_addr=areas[0] - places.group_offsets[0],
            nr_pages=percpu.unit_size_bytes >> PAGE_SHIFT,
        )
        chunk.data = tuple(areas)
        percpu.add_chunk(chunk)
        percpu.statistics.chunk_alloc()
        percpu.host.emit(cpu, PercpuCreateChunk(chunk.base_addr))
        return chunk

    async def pcpu_destroy_chunk(self, cpu: int, chunk: Chunk) -> None:
        """Give the chunk's address space back; it is reused only after a purge."""
        await PREEMPT
        self.percpu.statistics.chunk_dealloc()
        self.percpu.host.emit(cpu, PercpuDestroyChunk(chunk.base_addr))
        self.percpu.drop_chunk(chunk)
        self.vmalloc.free_vm_areas(chunk.data)
        purged = self.vmalloc.take_purged()
        if purged:
            await self.flush(cpu, *purged)

    async def pcpu_populate_chunk(
        self, cpu: int, chunk: Chunk, page_start: int, page_end: int, gfp: int
    ) -> bool:
        """Back the pages of every unit; False, and nothing changed, without memory."""
        pfns: list[int] = []
        if not await self.pcpu_alloc_pages(cpu, pfns, page_end - page_start, gfp):
            return False
        if not await self.pcpu_map_pages(cpu, chunk, pfns, page_start, page_end):
            self.pcpu_free_pages(cpu, pfns)
            return False
        if not chunk.written and any(map(self.memory.is_touched, pfns)):
            chunk.written = chunk.changed = True
        self.percpu.host.emit(cpu, PercpuPopulate(chunk.base_addr, page_start, page_end))
        return True

    async def pcpu_alloc_pages(self, cpu: int, pfns: list[int], nr_pages: int, gfp: int) -> bool:
        """Collect nr_pages for each CPU in pfns; on failure all go back."""
        node_of_cpu = self.places.node_of_cpu
        for owner in self.places.cpus:
            for _ in range(nr_pages):
                pfn = await self.alloc_pages_node(cpu, node_of_cpu[owner], gfp)
                if pfn is None:
                    self.pcpu_free_pages(cpu, pfns)
                    return False
                pfns.append(pfn)
        return True

    async def alloc_pages_node(self, cpu: int, node: int, gfp: int) -> int | None:
        """Return the pfn of one page, wished on a node, or None.

        Of what the caller asked for only how hard to try reaches the page allocator, and high memory
        will do. Recordings of the "plain" profile were made with the flags as they came.
        Source: pcpu_alloc() in mm/percpu.c and pcpu_alloc_pages(), Linux 6.1.
        """
        await PREEMPT
        if self.pages.profile != PROFILE_PLAIN:
            gfp = gfp & (GFP_KERNEL | GFP_NORETRY | GFP_NOWARN) | GFP_HIGHMEM
        return self.pages.alloc_pages(
            gfp=gfp, order=0, node=node, cpu=cpu, injectable=True, caller=PAGE_CALLER
        )

    def pcpu_free_pages(self, cpu: int, pfns: Sequence[int]) -> None:
        """Give pages back, on the lists of the CPU that does it."""
        for pfn in pfns:
            self.pages.free_pages(pfn, 0, cpu)

    async def pcpu_map_pages(
        self, cpu: int, chunk: Chunk, pfns: Sequence[int], page_start: int, page_end: int
    ) -> bool:
        """Map the collected pages into the units; False, and nothing mapped, without a table page."""
        nr_pages = page_end - page_start
        for index, owner in enumerate(self.places.cpus):
            await PREEMPT
            virt = self.unit_page_addr(chunk, owner, page_start)
            table_node = self._table_node(cpu, owner)
            for i in range(nr_pages):
                done = self.space.map_page(
                    virt=virt + i * PAGE_SIZE_BYTES,
                    pfn=pfns[index * nr_pages + i],
                    flags=PAGE_KERNEL,
                    node=table_node,
                    cpu=cpu,
                )
                if not done:
                    self._unmap(chunk, page_start, page_end)
                    await self.flush(cpu, *self._span(chunk, page_start, page_end))
                    return False
        return True

    async def pcpu_depopulate_chunk(
        self, cpu: int, chunk: Chunk, page_start: int, page_end: int
    ) -> None:
        """Unmap the pages of every unit and give them back."""
        await PREEMPT
        self.pcpu_free_pages(cpu, self._unmap(chunk, page_start, page_end))
        self.percpu.host.emit(cpu, PercpuDepopulate(chunk.base_addr, page_start, page_end))

    async def pcpu_post_unmap_tlb_flush(
        self, cpu: int, chunk: Chunk, page_start: int, page_end: int
    ) -> None:
        """Make every CPU forget the translations of the range, from the lowest unit to the highest."""
        await PREEMPT
        await self.flush(cpu, *self._span(chunk, page_start, page_end))

    def pcpu_should_reclaim_chunk(self, percpu: BitmapPercpu, chunk: Chunk) -> bool:
        """Say whether some of the chunk's empty pages should go."""
        return should_reclaim(percpu.nr_empty_pop_pages, chunk)

    def clear_area(self, cpu: int, chunk: Chunk, offset_bytes: int, size_bytes: int) -> None:
        """Write zeros to the area in the unit of every possible CPU, where bytes were ever written."""
        area = chunk.base_addr + offset_bytes
        if self.access is not None:
            clear_by_access(self.access, self.places, cpu, area, size_bytes)
        elif chunk.written:
            clear_in_units(self.places, self.space, self.memory, area, size_bytes)

    def unit_page_addr(self, chunk: Chunk, cpu: int, page: int) -> int:
        """Return the virtual address of a page of a CPU's unit. Source: pcpu_chunk_addr()."""
        return chunk.base_addr + self.places.unit_offsets[cpu] + (page << PAGE_SHIFT)

    def _span(self, chunk: Chunk, page_start: int, page_end: int) -> tuple[int, int]:
        """Return the addresses from the lowest unit's page_start to the highest unit's page_end."""
        offsets = [self.places.unit_offsets[cpu] for cpu in self.places.cpus]
        low, high = chunk.base_addr + min(offsets), chunk.base_addr + max(offsets)
        return low + (page_start << PAGE_SHIFT), high + (page_end << PAGE_SHIFT)

    def _table_node(self, cpu: int, owner: int) -> int:
        """Return the node that page tables for owner's unit come from: the running CPU's.

        Recordings of the "plain" profile were made with the owner's.
        """
        plain = self.pages.profile == PROFILE_PLAIN
        return self.places.node_of_cpu[owner if plain else cpu]

    def _unmap(self, chunk: Chunk, page_start: int, page_end: int) -> list[int]:
        pfns: list[int] = []
        for owner in self.places.cpus:
            for page in range(page_start, page_end):
                pfn = self.space.unmap_page(self.unit_page_addr(chunk, owner, page))
                if pfn is not None:
                    pfns.append(pfn)
        return pfns


def clear_by_access(
    access: MemoryAccess, places: UnitPlaces, cpu: int, area_addr: int, size_bytes: int
) -> None:
    """Write zeros to an area in every unit as a CPU does, through its TLB. Raises PageFault.

    area_addr: where it is in a unit at offset 0.
    """
    zeros = bytes(size_bytes)
    for owner in places.cpus:
        access.write(cpu, area_addr + places.unit_offsets[owner], zeros)


def clear_in_units(
    places: UnitPlaces,
    space: KernelAddressSpace,
    memory: PhysicalMemory,
    area_addr: int,
    size_bytes: int,
) -> None:
    """Write zeros to an area in every unit; a page that nobody ever wrote to is zero already.

    area_addr: where it is in a unit at offset 0.
    """
    for cpu in places.cpus:
        virt = area_addr + places.unit_offsets[cpu]
        end = virt + size_bytes
        while virt < end:
            nr_bytes = min(end - virt, PAGE_SIZE_BYTES - virt % PAGE_SIZE_BYTES)
            phys = space.translate(virt)
            if phys is not None and memory.is_touched(phys >> PAGE_SHIFT):
                memory.write(phys, bytes(nr_bytes))
            virt += nr_bytes
