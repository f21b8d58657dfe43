"""A backing without memory: chunks come and go, pages are always there.

Placement does not depend on which page backs an area, only on whether one does. Who wants to know where
objects would lie, and not what is in them, runs the allocator on this: it is how the order of a real
log's lines is worked out before the full machine replays them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kernel_sim.events import (
    PercpuCreateChunk,
    PercpuDepopulate,
    PercpuDestroyChunk,
    PercpuPopulate,
)
from kernel_sim.mm.page import PAGE_SHIFT
from kernel_sim.percpu.bitmap import BitmapPercpu
from kernel_sim.percpu.chunk import Chunk
from kernel_sim.percpu.reclaim import should_reclaim
from kernel_sim.primitives import PREEMPT

FAKE_BASE = 0xFFFFE8FF00000000  # only the order of creation means anything here


@dataclass(slots=True)
class PlanBacking:
    """Chunks with made-up base addresses, one unit apart in order of creation."""

    name: str = "plan"
    percpu: BitmapPercpu = field(init=False)

    def attach(self, percpu: BitmapPercpu) -> None:
        """Learn which allocator it serves."""
        self.percpu = percpu

    async def pcpu_create_chunk(self, cpu: int, gfp: int) -> Chunk | None:
        """Return a new chunk; there is always room."""
        percpu = self.percpu
        number = percpu.next_number
        percpu.next_number = number + 1
        chunk = Chunk.fresh(
            number=number,
            base_addr=FAKE_BASE - number * percpu.unit_size_bytes,
            nr_pages=percpu.unit_size_bytes >> PAGE_SHIFT,
        )
        percpu.add_chunk(chunk)
        percpu.statistics.chunk_alloc()
        self.percpu.host.emit(cpu, PercpuCreateChunk(chunk.base_addr))
        return chunk

    async def pcpu_destroy_chunk(self, cpu: int, chunk: Chunk) -> None:
        """Forget the chunk."""
        await PREEMPT
        self.percpu.statistics.chunk_dealloc()
        self.percpu.host.emit(cpu, PercpuDestroyChunk(chunk.base_addr))
        self.percpu.drop_chunk(chunk)

    async def pcpu_populate_chunk(
        self, cpu: int, chunk: Chunk, page_start: int, page_end: int, gfp: int
    ) -> bool:
        """Say that the pages are there."""
        await PREEMPT
        self.percpu.host.emit(cpu, PercpuPopulate(chunk.base_addr, page_start, page_end))
        return True

    async def pcpu_depopulate_chunk(
        self, cpu: int, chunk: Chunk, page_start: int, page_end: int
    ) -> None:
        """Say that the pages are gone."""
        await PREEMPT
        self.percpu.host.emit(cpu, PercpuDepopulate(chunk.base_addr, page_start, page_end))

    async def pcpu_post_unmap_tlb_flush(
        self, cpu: int, chunk: Chunk, page_start: int, page_end: int
    ) -> None:
        """There is nothing to flush, but here the lock is free for a moment."""
        await PREEMPT

    def pcpu_should_reclaim_chunk(self, percpu: BitmapPercpu, chunk: Chunk) -> bool:
        """Judge as percpu-vm does."""
        return should_reclaim(percpu.nr_empty_pop_pages, chunk)

    def clear_area(self, cpu: int, chunk: Chunk, offset_bytes: int, size_bytes: int) -> None:
        """There is nothing to clear."""
