"""__alloc_percpu() and free_percpu() of the first commit, February 2009: one mutex around everything.

    __alloc_percpu   search │ no room: a new chunk, used at once │ pages, zeros
    free_percpu      area back │ now wholly free, and another is, too: pcpu_kill_chunk(the other)

Both may sleep. A request that fails is silent.
Source: Linux commit fbf59bc9d74d ("percpu: implement new dynamic percpu allocator"), mm/percpu.c.
"""

from __future__ import annotations

from dataclasses import dataclass

from kernel_sim.events import PercpuFreePercpu
from kernel_sim.percpu.area_chunk import AreaChunk
from kernel_sim.percpu.area_map import FIRST_CAPACITY
from kernel_sim.percpu.area_percpu import AreaBacking, AreaPercpu
from kernel_sim.percpu.area_slots import NO_SLOT
from kernel_sim.percpu.protocol import IntPath


@dataclass(frozen=True, slots=True)
class AreaAllocV1:
    """The paths of one allocator."""

    percpu: AreaPercpu
    backing: AreaBacking

    def pcpu_alloc(
        self, cpu: int, size: int, align: int, reserved: bool, gfp: int, call_site: str
    ) -> IntPath:
        """Return the path of __alloc_percpu()."""
        return alloc_percpu(self, cpu, size, align, reserved, gfp, call_site)

    def search(self, size: int, align: int) -> tuple[AreaChunk, int] | None:
        """Take an area of the fullest chunk that has a place; returns (chunk, offset), or None."""
        for chunk in self.percpu.slots.candidates(size):
            offset = self.take(chunk, size, align)
            if offset is not None:
                return chunk, offset
        return None

    def take(self, chunk: AreaChunk, size: int, align: int) -> int | None:
        """Take an area; the map's array is made at first use and doubled when it is full."""
        chunk.area_map.extend(FIRST_CAPACITY)
        offset = self.percpu.take_area(chunk, size, align)
        chunk.area_map.double_to_fit()
        return offset

    async def free_percpu(self, cpu: int, ptr: int) -> None:
        """Give an area back; 0 does nothing. Raises DoubleFree. Context: may sleep."""
        if not ptr:
            return
        percpu = self.percpu
        await percpu.mutex
        chunk, offset = percpu.area_at(cpu, ptr)
        percpu.free_area(chunk, offset)
        percpu.host.emit(cpu, PercpuFreePercpu(chunk.base_addr, offset, ptr))
        if percpu.is_wholly_free(chunk):
            others = [one for one in percpu.slots.lists[chunk.slot] if one is not chunk]
            if others:
                await self.pcpu_kill_chunk(cpu, others[0])
        percpu.mutex.release()

    async def pcpu_kill_chunk(self, cpu: int, chunk: AreaChunk) -> None:
        """Destroy a wholly free chunk. Context: pcpu_mutex held."""
        percpu = self.percpu
        await self.backing.pcpu_depopulate_chunk(cpu, chunk, 0, percpu.unit_size_bytes)
        percpu.slots.remove(chunk)
        await self.backing.pcpu_destroy_chunk(cpu, chunk)


async def __alloc_percpu(
    paths: AreaAllocV1,
    cpu: int,
    size: int,
    align: int,
    reserved: bool,
    gfp: int,
    call_site: str,
) -> int:
    """Allocate size bytes for every possible CPU; returns the ptr, 0 without room or memory.

    Context: may sleep.
    """
    percpu = paths.percpu
    if percpu.is_illegal(size, align):
        percpu.warn_illegal(cpu, size, align)
        return 0
    await percpu.mutex
    found = paths.search(size, align)
    if found is None:
        chunk = await paths.backing.pcpu_create_chunk(cpu)
        if chunk is not None:
            percpu.slots.relocate(chunk, NO_SLOT)
            offset = paths.take(chunk, size, align)
            found = None if offset is None else (chunk, offset)
    ptr = 0
    if found is not None:
        chunk, offset = found
        if await paths.backing.pcpu_populate_chunk(cpu, chunk, offset, size):
            ptr = percpu.tell_alloc(
                cpu, chunk, offset, size, align,
                reserved=reserved, gfp=gfp, call_site=call_site,
            )  # fmt: skip
        else:
            percpu.free_area(chunk, offset)
    if not ptr:
        percpu.tell_failed(cpu, size, align, reserved, "")
    percpu.mutex.release()
    return ptr


alloc_percpu = __alloc_percpu
