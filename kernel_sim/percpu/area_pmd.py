"""Large pages behind units: the two ideas of the mail of 13 February 2009, which no kernel has had.

    units       UNIT_SIZE is a large page; the first area of a chunk brings one for every CPU
    when_full   UNIT_SIZE is a large page, but pages come one by one; a chunk of which every byte is used
                and every page is there gets a large page for each CPU, its bytes are copied over

                PMD ─► 512 PTEs ─► 512 pages          ──►          PMD ─► 2 MiB

Either way a CPU needs one translation for its whole unit instead of one for each page it touches. The
price of the first is memory that nobody asked for; of the second, a second copy of the chunk for a
moment. If there is no block for every CPU nothing is converted. Other CPUs may use the old pages until
they are flushed: what they write then is lost, and a real kernel would have to write-protect first.
Source: the mail's last paragraphs; the rules are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kernel_sim.errors import KernelBug
from kernel_sim.events import PercpuDepopulate, PercpuPopulate
from kernel_sim.mm.empty_table import free_empty_table
from kernel_sim.mm.gfp import GFP_NOWARN
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.mm.paging import PAGE_KERNEL
from kernel_sim.percpu.area_chunk import AreaChunk
from kernel_sim.percpu.area_memory import CHUNK_GFP, PAGE_CALLER
from kernel_sim.percpu.area_vm import AreaVmBacking
from kernel_sim.primitives import PREEMPT


@dataclass(frozen=True, slots=True)
class AreaPmdBacking:
    """Chunks with large pages behind their units. vm: their address space; waits: until one is full."""

    vm: AreaVmBacking
    shift: int  # of a large page, which is a unit
    waits: bool

    async def pcpu_create_chunk(self, cpu: int) -> AreaChunk | None:
        """Return a new chunk without pages, or None if vmalloc space has no such hole."""
        return await self.vm.pcpu_create_chunk(cpu)

    async def pcpu_destroy_chunk(self, cpu: int, chunk: AreaChunk) -> None:
        """Give the chunk's address space back."""
        await self.vm.pcpu_destroy_chunk(cpu, chunk)

    async def pcpu_populate_chunk(
        self, cpu: int, chunk: AreaChunk, offset_bytes: int, size_bytes: int
    ) -> bool:
        """Back and clear an area in every unit; False without memory."""
        if chunk.immutable or self.waits:
            done = await self.vm.pcpu_populate_chunk(cpu, chunk, offset_bytes, size_bytes)
            if done and self.waits and is_full(chunk):
                await self.pcpu_map_pages(cpu, chunk)
            return done
        if not chunk.large_pfns and not await self.pcpu_map_pages(cpu, chunk):
            return False
        self.vm.memory.clear(cpu, chunk, offset_bytes, size_bytes)
        return True

    async def pcpu_map_pages(self, cpu: int, chunk: AreaChunk) -> bool:
        """Put a large page behind every unit, in place of the pages that are there; False without memory."""
        blocks = await self.pcpu_alloc_pages(cpu)
        if blocks is None:
            return False
        memory = self.vm.memory
        was_there = bool(chunk.populated)
        old_pfns: list[int] = []
        for owner, block in zip(memory.places.cpus, blocks, strict=True):
            await PREEMPT
            if was_there:
                old_pfns += self._take_over(chunk, owner, block)
            if not self._map(cpu, chunk, owner, block):
                self._undo(cpu, chunk, blocks)
                return False
        memory.note_pages(chunk, [pfn for block in blocks for pfn in self._pages(block)])
        chunk.large_pfns = tuple(blocks)
        chunk.set_populated(0, chunk.nr_pages, is_there=True)
        if was_there:
            await memory.flush(cpu, *memory.span(chunk, 0, chunk.nr_pages))
            memory.free_pages(cpu, old_pfns)
        else:
            event = PercpuPopulate(chunk.base_addr, 0, chunk.nr_pages)
            self.vm.percpu.host.emit(cpu, event)
        return True

    async def pcpu_alloc_pages(self, cpu: int) -> list[int] | None:
        """Return a block for each CPU on its node; None, and all given back, without memory."""
        blocks: list[int] = []
        memory = self.vm.memory
        for owner in memory.places.cpus:
            await PREEMPT
            pfn = memory.pages.alloc_pages(
                gfp=CHUNK_GFP | GFP_NOWARN,
                order=self.order,
                node=memory.places.node_of_cpu[owner],
                cpu=cpu,
                injectable=True,
                caller=PAGE_CALLER,
            )
            if pfn is None:
                for block in blocks:
                    memory.pages.free_pages(block, self.order, cpu)
                return None
            blocks.append(pfn)
        return blocks

    @property
    def order(self) -> int:
        """Order of a block as large as a unit."""
        return self.shift - PAGE_SHIFT

    def _pages(self, block: int) -> range:
        return range(block, block + (1 << self.order))

    def _take_over(self, chunk: AreaChunk, owner: int, block: int) -> list[int]:
        """Unmap the pages of a unit and copy them to a block; what nobody wrote to is zero there as here."""
        space, memory = self.vm.memory.space, self.vm.memory.memory
        old_pfns: list[int] = []
        for page, new in enumerate(self._pages(block)):
            old = space.unmap_page(self.vm.memory.unit_addr(chunk, owner, page))
            if old is None:
                raise KernelBug(f"chunk {chunk.number}: page {page} of cpu {owner} is not mapped")
            old_pfns.append(old)
            if memory.is_touched(old):
                memory.fill_page(new, memory.read(old << PAGE_SHIFT, PAGE_SIZE_BYTES))
            else:
                memory.clear_page(new)
        return old_pfns

    def _map(self, cpu: int, chunk: AreaChunk, owner: int, pfn: int) -> bool:
        memory = self.vm.memory
        virt, node = memory.unit_addr(chunk, owner), memory.places.node_of_cpu[cpu]
        return free_empty_table(
            memory.space, memory.pages, virt, self.shift, node=node, cpu=cpu
        ) and memory.space.map_large(
            virt=virt, pfn=pfn, shift=self.shift, flags=PAGE_KERNEL, node=node, cpu=cpu
        )

    def _undo(self, cpu: int, chunk: AreaChunk, blocks: Sequence[int]) -> None:
        """Take mapped blocks away again: a table above them needed memory, so no page was there."""
        memory = self.vm.memory
        for owner in memory.places.cpus:
            memory.space.unmap_large(memory.unit_addr(chunk, owner), self.shift)
        for block in blocks:
            memory.pages.free_pages(block, self.order, cpu)

    async def pcpu_depopulate_chunk(
        self, cpu: int, chunk: AreaChunk, offset_bytes: int, size_bytes: int
    ) -> None:
        """Take the pages of a range away; large pages go when the whole chunk does."""
        if not chunk.large_pfns:
            await self.vm.pcpu_depopulate_chunk(cpu, chunk, offset_bytes, size_bytes)
            return
        await PREEMPT
        memory = self.vm.memory
        for owner, block in zip(memory.places.cpus, chunk.large_pfns, strict=True):
            memory.space.unmap_large(memory.unit_addr(chunk, owner), self.shift)
            memory.pages.free_pages(block, self.order, cpu)
        chunk.large_pfns = ()
        chunk.set_populated(0, chunk.nr_pages, is_there=False)
        event = PercpuDepopulate(chunk.base_addr, 0, chunk.nr_pages)
        self.vm.percpu.host.emit(cpu, event)


def is_full(chunk: AreaChunk) -> bool:
    """Say whether every byte of a chunk is used, every page there, and pages are still single ones."""
    all_pages = (1 << chunk.nr_pages) - 1
    return not chunk.large_pfns and not chunk.area_map.free_bytes and chunk.populated == all_pages
