"""The allocator with area maps: its chunks and lists, and what every path through it does with them.

    addr ──► chunk_of() ──► the first chunk by range, reserved part or rest; others by their base
    take_area()  first chunk on the lists that has a place, or None and which map must grow first

What the kernel's paths are, with their locks and preemption points, is area_alloc.py for 2.6.31 and later
and area_alloc_v1.py for the first commit; where a chunk's memory comes from is a backing.
Source: Linux 2.6.34 mm/percpu.c.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import Final, Protocol

from kernel_sim.errors import DoubleFree
from kernel_sim.events import PercpuAllocPercpu, PercpuAllocPercpuFail
from kernel_sim.mm.page import PAGE_SIZE_BYTES
from kernel_sim.percpu.area_chunk import FIRST, RESERVED, AreaChunk
from kernel_sim.percpu.area_slots import NO_SLOT, AreaSlots
from kernel_sim.percpu.area_stage import AreaStage
from kernel_sim.percpu.bitmap import PercpuHost
from kernel_sim.primitives import Lock

MIN_UNIT_BYTES: Final = 64 << 10
"""PCPU_MIN_UNIT_SIZE until 2.6.36: also the largest request."""
WARN_LIMIT: Final = 10
KERN_WARNING: Final = 4
KERN_INFO: Final = 6
RECLAIM_WORK: Final = "pcpu_reclaim_work"


class AreaBacking(Protocol):
    """Where a chunk's memory comes from: vmalloc space, or blocks of the direct map."""

    async def pcpu_create_chunk(self, cpu: int) -> AreaChunk | None:
        """Return a new chunk that is on no list yet, or None without memory."""

    async def pcpu_destroy_chunk(self, cpu: int, chunk: AreaChunk) -> None:
        """Give the chunk's address space, or its block, back."""

    async def pcpu_populate_chunk(
        self, cpu: int, chunk: AreaChunk, offset_bytes: int, size_bytes: int
    ) -> bool:
        """Back and clear an area in every unit; False without memory."""

    async def pcpu_depopulate_chunk(
        self, cpu: int, chunk: AreaChunk, offset_bytes: int, size_bytes: int
    ) -> None:
        """Take the pages of a range away from every unit."""


@dataclass(slots=True)
class AreaPercpu:
    """The allocator's state; sizes and offsets in bytes unless the name says otherwise."""

    host: PercpuHost
    stage: AreaStage
    nr_possible_cpus: int
    unit_size_bytes: int
    base_addr: int  # pcpu_base_addr: unit 0 of the first chunk
    word_bytes: int = 8
    percpu_start: int = 0
    min_unit_bytes: int = MIN_UNIT_BYTES
    reserved_limit_bytes: int = 0  # pcpu_reserved_chunk_limit, 0 without a reserved chunk
    chunks: dict[int, AreaChunk] = field(default_factory=dict)  # by number, in order of creation
    chunk_bases: list[int] = field(default_factory=list)  # of later chunks, ascending
    chunk_by_base: dict[int, AreaChunk] = field(default_factory=dict)
    next_number: int = 1
    warn_limit: int = WARN_LIMIT
    mutex: Lock = field(init=False)
    lock: Lock | None = field(init=False)  # there is none where the mutex is all
    slots: AreaSlots = field(init=False)
    address_mask: int = field(init=False)

    def __post_init__(self) -> None:
        at_once = self.stage.frees_at_once
        self.mutex = Lock("pcpu_mutex" if at_once else "pcpu_alloc_mutex", irqs_off=False)
        self.lock = None if at_once else Lock("pcpu_lock", irqs_off=True)
        self.slots = AreaSlots(self.unit_size_bytes, self.stage.has_free_slot)
        self.address_mask = (1 << 8 * self.word_bytes) - 1

    @property
    def locks(self) -> tuple[Lock, ...]:
        """The mutex, and the spinlock where there is one."""
        return (self.mutex,) if self.lock is None else (self.mutex, self.lock)

    @property
    def spinlock(self) -> Lock:
        """pcpu_lock, on paths of a stage that has it."""
        if self.lock is None:
            raise AssertionError(f"stage {self.stage.name} has no pcpu_lock")
        return self.lock

    @property
    def reserved_chunk(self) -> AreaChunk | None:
        """The chunk that serves modules, if there is one."""
        return self.chunks.get(RESERVED)

    def ptr_of(self, addr: int) -> int:
        """Return the ptr of an address in unit 0. Source: __addr_to_pcpu_ptr()."""
        return addr - self.base_addr + self.percpu_start & self.address_mask

    def addr_of(self, ptr: int) -> int:
        """Return the address in unit 0 of a ptr. Source: __pcpu_ptr_to_addr()."""
        return ptr + self.base_addr - self.percpu_start & self.address_mask

    # -- chunks ------------------------------------------------------------------------------------

    def add_first(self, chunks: list[AreaChunk], reserved_limit_bytes: int) -> None:
        """Take the chunks that boot made of the first unit."""
        self.reserved_limit_bytes = reserved_limit_bytes
        for chunk in chunks:
            self.chunks[chunk.number] = chunk
            self.slots.relocate(chunk, NO_SLOT)

    def new_chunk(self, base_addr: int, nr_pages: int, data: tuple[int, ...]) -> AreaChunk:
        """Return a wholly free chunk that can be found by its address; it is on no list."""
        chunk = AreaChunk.fresh(number=self.next_number, base_addr=base_addr, nr_pages=nr_pages)
        chunk.data = data
        self.next_number += 1
        self.add_chunk(chunk)
        return chunk

    def add_chunk(self, chunk: AreaChunk) -> None:
        """Let a chunk be found by its address."""
        self.chunks[chunk.number] = chunk
        if chunk.number > FIRST:
            self.chunk_by_base[chunk.base_addr] = chunk
            at = bisect_left(self.chunk_bases, chunk.base_addr)
            self.chunk_bases.insert(at, chunk.base_addr)

    def drop_chunk(self, chunk: AreaChunk) -> None:
        """Forget a chunk."""
        del self.chunks[chunk.number]
        del self.chunk_by_base[chunk.base_addr]
        del self.chunk_bases[bisect_left(self.chunk_bases, chunk.base_addr)]

    def chunk_of(self, addr: int) -> AreaChunk | None:
        """Return the chunk that holds an address in unit 0. Source: pcpu_chunk_addr_search()."""
        offset = addr - self.base_addr
        if 0 <= offset < self.unit_size_bytes:
            return self.chunks.get(RESERVED if offset < self.reserved_limit_bytes else FIRST)
        at = bisect_right(self.chunk_bases, addr) - 1
        if at < 0 or addr - self.chunk_bases[at] >= self.unit_size_bytes:
            return None
        return self.chunk_by_base[self.chunk_bases[at]]

    def find_area(self, ptr: int) -> tuple[AreaChunk, int] | None:
        """Return (chunk, offset) of the live area that starts at a ptr, or None."""
        addr = self.addr_of(ptr)
        chunk = self.chunk_of(addr)
        if chunk is None:
            return None
        offset = addr - chunk.base_addr
        is_area = offset >= chunk.hidden_bytes and chunk.area_map.used_bytes_at(offset)
        return (chunk, offset) if is_area else None

    def area_at(self, cpu: int, ptr: int) -> tuple[AreaChunk, int]:
        """Return (chunk, offset) of the live area that starts at a ptr.

        Raises DoubleFree where the kernel meets a BUG_ON or a page that is no chunk's.
        """
        found = self.find_area(ptr)
        if found is not None:
            return found
        addr = self.addr_of(ptr)
        chunk = self.chunk_of(addr)
        if chunk is None:
            raise DoubleFree(f"cpu {cpu}: free of {ptr:#x}: no chunk holds that __percpu pointer")
        raise DoubleFree(
            f"cpu {cpu}: free of {ptr:#x}: no allocated area starts there"
            f" (chunk {chunk.number} at {chunk.base_addr:#x}, offset {addr - chunk.base_addr})"
        )

    def linear_offset(self, chunk: AreaChunk, offset_bytes: int) -> int:
        """Return an offset in the mail's numbering: chunks end to end, one unit of each."""
        return max(chunk.number, FIRST) * self.unit_size_bytes + offset_bytes

    # -- areas -------------------------------------------------------------------------------------

    def is_illegal(self, size_bytes: int, align_bytes: int) -> bool:
        """Say whether a request is refused unseen."""
        return not 0 < size_bytes <= self.min_unit_bytes or align_bytes > PAGE_SIZE_BYTES

    def take_area(self, chunk: AreaChunk, size_bytes: int, align_bytes: int) -> int | None:
        """Take an area of a chunk and put the chunk on its list. Source: pcpu_alloc_area().

        An alignment of 0, which the kernel never asks for, counts as 1.
        """
        old_slot = self.slots.of_chunk(chunk)
        offset = chunk.area_map.alloc(size_bytes, max(align_bytes, 1))
        self.slots.relocate(chunk, old_slot)
        return offset

    def free_area(self, chunk: AreaChunk, offset_bytes: int) -> None:
        """Give an area back and put the chunk on its list. Source: pcpu_free_area()."""
        old_slot = self.slots.of_chunk(chunk)
        chunk.area_map.free(offset_bytes)
        self.slots.relocate(chunk, old_slot)

    def is_wholly_free(self, chunk: AreaChunk) -> bool:
        """Say whether nothing of a chunk is in use."""
        return chunk.area_map.free_bytes == self.unit_size_bytes

    # -- telling -----------------------------------------------------------------------------------

    def warn_illegal(self, cpu: int, size_bytes: int, align_bytes: int) -> None:
        """Print the warning about a request that is refused unseen."""
        text = f"illegal size ({size_bytes}) or align ({align_bytes}) for percpu allocation"
        self.host.printk(cpu, KERN_WARNING, "WARN: " + text)

    def tell_failed(
        self, cpu: int, size_bytes: int, align_bytes: int, reserved: bool, error: str
    ) -> None:
        """Tell of a request that failed; the first ten, where the stage says why, are printed."""
        self.host.emit(cpu, PercpuAllocPercpuFail(reserved, False, size_bytes, align_bytes))
        if self.stage.frees_at_once or not self.warn_limit:
            return
        prefix = self.stage.log_prefix
        text = f"{prefix}: allocation failed, size={size_bytes} align={align_bytes}, {error}"
        self.host.printk(cpu, KERN_WARNING, text)
        self.warn_limit -= 1
        if not self.warn_limit:
            self.host.printk(cpu, KERN_INFO, f"{prefix}: limit reached, disable warning")

    def tell_alloc(
        self,
        cpu: int,
        chunk: AreaChunk,
        offset_bytes: int,
        size_bytes: int,
        align_bytes: int,
        *,
        reserved: bool,
        gfp: int,
        call_site: str,
    ) -> int:
        """Tell of an area that was given out and return its ptr."""
        ptr = self.ptr_of(chunk.base_addr + offset_bytes)
        event = PercpuAllocPercpu(
            call_site, reserved, False, size_bytes, align_bytes, chunk.base_addr, offset_bytes, ptr,
            size_bytes * self.nr_possible_cpus, gfp,
        )  # fmt: skip
        self.host.emit(cpu, event)
        return ptr
