"""alloc_percpu() and free_percpu() of 2.6.31 and later, and the work that gives chunks back.

    pcpu_alloc     mutex │ pcpu_lock: search │ lock dropped: map grows, chunk is made │ search again …
                         │ area taken, lock dropped │ pages, zeros │ mutex let go
    free_percpu    pcpu_lock: area back │ another chunk wholly free, too? │ ask for the work
    pcpu_reclaim   mutex │ pcpu_lock: all wholly free chunks but the first off the list │ destroy them

Maps are under the spinlock, so an interrupt may free; only the mutex is held while pages are fetched.
Source: Linux 2.6.34 mm/percpu.c.
"""

from __future__ import annotations

from dataclasses import dataclass

from kernel_sim.events import PercpuFreePercpu
from kernel_sim.percpu.area_chunk import AreaChunk
from kernel_sim.percpu.area_percpu import RECLAIM_WORK, AreaBacking, AreaPercpu
from kernel_sim.percpu.area_slots import NO_SLOT
from kernel_sim.primitives import PREEMPT


@dataclass(frozen=True, slots=True)
class AreaAlloc:
    """The paths of one allocator."""

    percpu: AreaPercpu
    backing: AreaBacking

    async def pcpu_alloc(
        self, cpu: int, size: int, align: int, reserved: bool, gfp: int, call_site: str
    ) -> int:
        """Allocate size bytes for every possible CPU; returns the ptr, 0 without room or memory.

        Sizes are not rounded. gfp is not looked at: there are no atomic requests yet. Context: may sleep.
        """
        percpu = self.percpu
        if percpu.is_illegal(size, align):
            percpu.warn_illegal(cpu, size, align)
            return 0
        await percpu.mutex
        await percpu.spinlock
        error = ""
        while (found := self._search(size, align, reserved)) is None or found[1] is None:
            if found is not None:
                await self.pcpu_extend_area_map(found[0], cpu)
                continue
            percpu.spinlock.release()
            if reserved and percpu.reserved_chunk is not None:
                error = "alloc from reserved chunk failed"
                break
            chunk = await self.backing.pcpu_create_chunk(cpu)
            if chunk is None:
                error = "failed to allocate new chunk"
                break
            await percpu.spinlock
            percpu.slots.relocate(chunk, NO_SLOT)
        if found is not None and found[1] is not None:
            chunk, offset = found[0], found[1]
            percpu.spinlock.release()
            if await self.backing.pcpu_populate_chunk(cpu, chunk, offset, size):
                percpu.mutex.release()
                return percpu.tell_alloc(
                    cpu, chunk, offset, size, align,
                    reserved=reserved, gfp=gfp, call_site=call_site,
                )  # fmt: skip
            await percpu.spinlock
            percpu.free_area(chunk, offset)
            percpu.spinlock.release()
            error = "failed to populate"
        percpu.mutex.release()
        percpu.tell_failed(cpu, size, align, reserved, error)
        return 0

    def _search(self, size: int, align: int, reserved: bool) -> tuple[AreaChunk, int | None] | None:
        """Return a chunk and the offset of the area taken in it; no offset: its map must grow first.

        None: no chunk has room.
        """
        percpu = self.percpu
        special = percpu.reserved_chunk if reserved else None
        candidates = percpu.slots.candidates(size)
        if special is not None:
            candidates = iter([special] if size <= special.area_map.contig_hint else [])
        for chunk in candidates:
            if chunk.area_map.wanted_capacity():
                return chunk, None
            offset = percpu.take_area(chunk, size, align)
            if offset is not None:
                return chunk, offset
        return None

    async def pcpu_extend_area_map(self, chunk: AreaChunk, cpu: int) -> None:
        """Give a chunk's map a larger array. Context: pcpu_lock held, dropped while memory is got."""
        wanted = chunk.area_map.wanted_capacity()
        self.percpu.spinlock.release()
        await PREEMPT
        await self.percpu.spinlock
        chunk.area_map.extend(wanted)

    async def free_percpu(self, cpu: int, ptr: int) -> None:
        """Give an area back; 0 does nothing. Raises DoubleFree. Context: any."""
        if not ptr:
            return
        percpu = self.percpu
        await percpu.spinlock
        chunk, offset = percpu.area_at(cpu, ptr)
        percpu.free_area(chunk, offset)
        percpu.host.emit(cpu, PercpuFreePercpu(chunk.base_addr, offset, ptr))
        if percpu.is_wholly_free(chunk):
            last = percpu.slots.lists[percpu.slots.last]
            if any(other is not chunk for other in last):
                percpu.host.schedule_work(cpu, RECLAIM_WORK)
        percpu.spinlock.release()

    async def pcpu_reclaim(self, cpu: int) -> None:
        """Destroy all wholly free chunks but the first on the list. Context: kworker."""
        percpu = self.percpu
        await percpu.mutex
        await percpu.spinlock
        spare = percpu.slots.lists[percpu.slots.last][1:]
        for chunk in spare:
            percpu.slots.remove(chunk)
        percpu.spinlock.release()
        for chunk in reversed(spare):
            await self.backing.pcpu_depopulate_chunk(cpu, chunk, 0, percpu.unit_size_bytes)
            await self.backing.pcpu_destroy_chunk(cpu, chunk)
        percpu.mutex.release()
