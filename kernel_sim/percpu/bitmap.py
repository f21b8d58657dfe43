"""The bitmap per-CPU allocator of Linux 6.1: `alloc_percpu()`, `free_percpu()` and the work behind them.

                     pcpu_alloc ──► search the lists ──► take an area ──► back its pages ──► clear it
                         │                 │ no room
                         │                 └► pcpu_create_chunk, search again
    free_percpu ──► give the area back ──► many empty pages? ──► isolate, ask for the work
    pcpu_balance_workfn (balance.py) ──► destroy spare chunks ► take pages away ► make pages ready

Two locks: pcpu_alloc_mutex from the search of a sleeping request until its pages are there, and the
spinlock pcpu_lock around every look at chunks and lists. The async functions here are the kernel's own;
each `await` is a place where another CPU may come between.

Where areas lie inside a chunk is percpu/chunk.py; where a chunk's memory comes from is a backing.
Source: Linux 6.1 mm/percpu.c.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Protocol

from kernel_sim.errors import DoubleFree, KernelBug
from kernel_sim.events import (
    Event,
    PercpuAllocPercpu,
    PercpuAllocPercpuFail,
    PercpuFreePercpu,
)
from kernel_sim.mm.gfp import GFP_KERNEL, GFP_NOWARN
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.percpu.chunk import RESERVED, Chunk
from kernel_sim.percpu.md_block import MIN_ALLOC_BYTES, MIN_ALLOC_SHIFT
from kernel_sim.percpu.slots import SLOT_FAIL_THRESHOLD, ChunkSlots
from kernel_sim.percpu.statistics import PercpuStatistics
from kernel_sim.primitives import PREEMPT, Lock

MIN_UNIT_SIZE_BYTES = 32 << 10  # PCPU_MIN_UNIT_SIZE, also the largest request
EMPTY_POP_PAGES_LOW = 2
WARN_LIMIT = 10
KERN_WARNING = 4
KERN_INFO = 6
ADDRESS_MASK = (1 << 64) - 1


class PercpuHost(Protocol):
    """What the allocator needs of the machine around it."""

    def emit(self, cpu: int, event: Event) -> None:
        """Tell of an event."""

    def printk(self, cpu: int, level: int, text: str) -> None:
        """Add a line to the kernel log."""

    def schedule_work(self, cpu: int, work: str) -> None:
        """Queue a work item on the CPU that asks; nothing happens if it is queued already."""


class PercpuBacking(Protocol):
    """Where a chunk's memory comes from: percpu-vm, percpu-km, or nowhere (to plan)."""

    name: str

    def attach(self, percpu: BitmapPercpu) -> None:
        """Learn which allocator it serves."""

    async def pcpu_create_chunk(self, cpu: int, gfp: int) -> Chunk | None:
        """Return a new chunk that is on no list yet, or None without memory."""

    async def pcpu_destroy_chunk(self, cpu: int, chunk: Chunk) -> None:
        """Give the chunk's address space (and, for km, its memory) back."""

    async def pcpu_populate_chunk(
        self, cpu: int, chunk: Chunk, page_start: int, page_end: int, gfp: int
    ) -> bool:
        """Back the pages of every unit; False, and nothing changed, without memory."""

    async def pcpu_depopulate_chunk(
        self, cpu: int, chunk: Chunk, page_start: int, page_end: int
    ) -> None:
        """Take the pages of every unit away."""

    async def pcpu_post_unmap_tlb_flush(
        self, cpu: int, chunk: Chunk, page_start: int, page_end: int
    ) -> None:
        """Make every CPU forget the translations of the range."""

    def pcpu_should_reclaim_chunk(self, percpu: BitmapPercpu, chunk: Chunk) -> bool:
        """Say whether the chunk has so many empty pages that some should go."""

    def clear_area(self, cpu: int, chunk: Chunk, offset_bytes: int, size_bytes: int) -> None:
        """Write zeros to the area in the unit of every possible CPU, as the CPU that runs."""


@dataclass(slots=True)
class BitmapPercpu:
    """The allocator's state; sizes and offsets in bytes unless the name says otherwise."""

    host: PercpuHost
    backing: PercpuBacking
    nr_possible_cpus: int
    unit_size_bytes: int
    base_addr: int  # pcpu_base_addr: unit 0 of the first chunk
    slots: ChunkSlots
    chunks: dict[int, Chunk] = field(default_factory=dict)  # by number, in order of creation
    chunk_bases: list[int] = field(default_factory=list)  # of dynamic chunks, ascending
    chunk_by_base: dict[int, Chunk] = field(default_factory=dict)
    next_number: int = 1
    lock: Lock = field(default_factory=lambda: Lock("pcpu_lock", irqs_off=True))
    mutex: Lock = field(default_factory=lambda: Lock("pcpu_alloc_mutex", irqs_off=False))
    nr_empty_pop_pages: int = 0
    nr_populated: int = 0
    atomic_alloc_failed: bool = False
    async_enabled: bool = True
    warn_limit: int = WARN_LIMIT
    free_hint_fixed: bool = False
    reserved_offset: int = 0  # of the reserved chunk's first byte from base_addr, 0 without one
    first_offset: int = 0  # of the first chunk's dynamic part from base_addr
    statistics: PercpuStatistics = field(default_factory=PercpuStatistics)
    word_bytes: int = 8
    percpu_start: int = 0  # __per_cpu_start: what a __percpu pointer to the unit's first byte is
    address_mask: int = field(init=False)

    def __post_init__(self) -> None:
        """Introduce the backing to its allocator."""
        self.address_mask = (1 << 8 * self.word_bytes) - 1
        self.backing.attach(self)

    def ptr_of(self, addr: int) -> int:
        """Return the __percpu pointer of an address in unit 0. Source: __addr_to_pcpu_ptr()."""
        return addr - self.base_addr + self.percpu_start & self.address_mask

    def addr_of(self, ptr: int) -> int:
        """Return the address in unit 0 of a __percpu pointer. Source: __pcpu_ptr_to_addr()."""
        return ptr + self.base_addr - self.percpu_start & self.address_mask

    # -- alloc -------------------------------------------------------------------------------------

    async def pcpu_alloc(
        self, cpu: int, size: int, align: int, reserved: bool, gfp: int, call_site: str
    ) -> int:
        """Allocate size bytes for every possible CPU and return the __percpu pointer, or 0.

        size is rounded up to 4 and align raised to 4. A gfp without all of GFP_KERNEL is atomic: no
        mutex, populated pages only, no new chunk. Context: an atomic request may come from an
        interrupt. Source: Linux 6.1 mm/percpu.c, pcpu_alloc().
        """
        is_atomic = gfp & GFP_KERNEL != GFP_KERNEL
        size = size + 3 & ~3
        if align < MIN_ALLOC_BYTES:
            align = MIN_ALLOC_BYTES
        if not 0 < size <= MIN_UNIT_SIZE_BYTES or align > PAGE_SIZE_BYTES or align & (align - 1):
            self._warn_illegal(cpu, size, align, gfp)
            return 0
        request = (cpu, size, align, reserved, is_atomic, gfp)
        if not is_atomic:
            await self.mutex
        await self.lock
        while (found := self._take_area(size, align, reserved, is_atomic)) is None:
            if reserved and self.reserved_chunk is not None:
                return self._fail("alloc from reserved chunk failed", *request)
            self.lock.release()
            if is_atomic:
                return self._fail("atomic alloc failed, no space left", *request)
            if not self.slots.lists[self.slots.free]:
                fresh = await self.backing.pcpu_create_chunk(cpu, gfp)
                if fresh is None:
                    return self._fail("failed to allocate new chunk", *request)
                await self.lock
                self.relocate(fresh, -1)
            else:
                await self.lock
        chunk, off = found
        self.statistics.area_alloc(chunk, size)
        self.lock.release()
        if not is_atomic:
            page_end = off + size + PAGE_SIZE_BYTES - 1 >> PAGE_SHIFT
            for start, end in chunk.unpopulated_runs(off >> PAGE_SHIFT, page_end):
                done = await self.backing.pcpu_populate_chunk(cpu, chunk, start, end, gfp)
                await self.lock
                if not done:
                    self._free_area(chunk, off)
                    return self._fail("failed to populate", *request)
                self.count_populated(chunk, start, end)
                self.lock.release()
            self.mutex.release()
        if self.nr_empty_pop_pages < EMPTY_POP_PAGES_LOW:
            self.schedule_balance(cpu)
        await PREEMPT
        self.backing.clear_area(cpu, chunk, off, size)
        return self._tell_alloc(call_site, chunk, off, *request)

    def _warn_illegal(self, cpu: int, size: int, align: int, gfp: int) -> None:
        if not gfp & GFP_NOWARN:
            text = f"illegal size ({size}) or align ({align}) for percpu allocation"
            self.host.printk(cpu, KERN_WARNING, "WARN: " + text)

    def _take_area(
        self, size: int, align: int, reserved: bool, populated_only: bool
    ) -> tuple[Chunk, int] | None:
        """Search the lists and take an area; returns (chunk, offset in bytes), or None."""
        nr_bits = size >> MIN_ALLOC_SHIFT
        align_bits = align >> MIN_ALLOC_SHIFT
        if reserved and self.reserved_chunk is not None:
            return self._take_from(self.reserved_chunk, nr_bits, align_bits, populated_only)
        slots = self.slots
        for slot in range(slots.of_size(size), slots.free + 1):
            chunks = slots.lists[slot]
            if not chunks:
                continue
            for chunk in tuple(chunks):
                start = chunk.find_block_fit(nr_bits, align_bits, populated_only)
                if start < 0:
                    if slot < SLOT_FAIL_THRESHOLD:
                        slots.move(chunk, 0, to_front=True)
                    continue
                found = self._take_at(chunk, nr_bits, align_bits, start)
                if found is not None:
                    if chunk.isolated:
                        self.reintegrate(chunk)
                    return found
        return None

    def _take_from(
        self, chunk: Chunk, nr_bits: int, align_bits: int, populated_only: bool
    ) -> tuple[Chunk, int] | None:
        start = chunk.find_block_fit(nr_bits, align_bits, populated_only)
        return None if start < 0 else self._take_at(chunk, nr_bits, align_bits, start)

    def _take_at(
        self, chunk: Chunk, nr_bits: int, align_bits: int, start: int
    ) -> tuple[Chunk, int] | None:
        old_slot = self.slots.of_chunk(chunk)
        nr_empty = chunk.nr_empty_pop_pages
        bit = chunk.alloc_area(nr_bits, align_bits, start)
        if bit < 0:
            return None
        self._count_empty(chunk, nr_empty)
        self.relocate(chunk, old_slot)
        return chunk, bit << MIN_ALLOC_SHIFT

    def _fail(
        self,
        error: str,
        cpu: int,
        size: int,
        align: int,
        reserved: bool,
        is_atomic: bool,
        gfp: int,
    ) -> int:
        """Report a failed request; a failed atomic one asks for pages to be made ready."""
        if self.lock.holder == cpu:
            self.lock.release()
        self.host.emit(cpu, PercpuAllocPercpuFail(reserved, is_atomic, size, align))
        if not is_atomic and not gfp & GFP_NOWARN and self.warn_limit:
            text = f"allocation failed, size={size} align={align} atomic={int(is_atomic)}, {error}"
            self.host.printk(cpu, KERN_WARNING, "percpu: " + text)
            self.warn_limit -= 1
            if not self.warn_limit:
                self.host.printk(cpu, KERN_INFO, "percpu: limit reached, disable warning")
        if is_atomic:
            self.atomic_alloc_failed = True
            self.schedule_balance(cpu)
        else:
            self.mutex.release()
        return 0

    def _tell_alloc(
        self,
        call_site: str,
        chunk: Chunk,
        off: int,
        cpu: int,
        size: int,
        align: int,
        reserved: bool,
        is_atomic: bool,
        gfp: int,
    ) -> int:
        base_addr = chunk.base_addr
        ptr = base_addr + off - self.base_addr + self.percpu_start & self.address_mask
        nr_bytes = size * self.nr_possible_cpus + (size >> MIN_ALLOC_SHIFT) * self.word_bytes
        event = PercpuAllocPercpu(
            call_site, reserved, is_atomic, size, align, base_addr, off, ptr, nr_bytes, gfp
        )
        self.host.emit(cpu, event)
        return ptr

    # -- free --------------------------------------------------------------------------------------

    async def free_percpu(self, cpu: int, ptr: int) -> None:
        """Give the area at a __percpu pointer back; 0 does nothing.

        Raises DoubleFree where no area starts. Context: may be called from an interrupt.
        Source: Linux 6.1 mm/percpu.c, free_percpu().
        """
        if not ptr:
            return
        await self.lock
        chunk, off = self.area_at(cpu, ptr)
        self._free_area(chunk, off)
        need_balance = False
        if not chunk.isolated and chunk.free_bytes == self.unit_size_bytes:
            need_balance = any(other is not chunk for other in self.slots.lists[self.slots.free])
        elif self.backing.pcpu_should_reclaim_chunk(self, chunk):
            self._isolate(chunk)
            need_balance = True
        self.host.emit(cpu, PercpuFreePercpu(chunk.base_addr, off, ptr))
        self.lock.release()
        if need_balance:
            self.schedule_balance(cpu)

    def area_at(self, cpu: int, ptr: int) -> tuple[Chunk, int]:
        """Return (chunk, offset) of the live area that starts at a __percpu pointer.

        Raises DoubleFree, naming what lies there instead.
        """
        addr = self.addr_of(ptr)
        chunk = self.chunk_of(addr)
        if chunk is None:
            raise DoubleFree(f"cpu {cpu}: free of {ptr:#x}: no chunk holds that __percpu pointer")
        off = addr - chunk.base_addr
        if off % MIN_ALLOC_BYTES or not chunk.area_bits(off >> MIN_ALLOC_SHIFT):
            raise DoubleFree(
                f"cpu {cpu}: free of {ptr:#x}: no allocated area starts there"
                f" (chunk {chunk.number} at {chunk.base_addr:#x}, offset {off})"
            )
        return chunk, off

    def chunk_of(self, addr: int) -> Chunk | None:
        """Return the chunk that holds an address in unit 0, or None.

        Source: pcpu_chunk_addr_search(): the first chunk by its range, others by their pages.
        """
        offset = addr - self.base_addr
        if 0 <= offset < self.unit_size_bytes:
            first = self.chunks[0]
            if self.first_offset <= offset < self.first_end:
                return first
            if self.reserved_offset <= offset < self.first_offset:
                return self.reserved_chunk
            return None
        position = bisect_right(self.chunk_bases, addr) - 1
        if position < 0:
            return None
        base = self.chunk_bases[position]
        return self.chunk_by_base[base] if addr - base < self.unit_size_bytes else None

    def chunks_around(self, addr: int, group_offsets: tuple[int, ...]) -> list[Chunk]:
        """Return the chunks that may have a unit at an address: one for each group, and the first."""
        found = [self.chunks[number] for number in (0, RESERVED) if number in self.chunks]
        for group_offset in group_offsets:
            position = bisect_right(self.chunk_bases, addr - group_offset)
            if position:
                found.append(self.chunk_by_base[self.chunk_bases[position - 1]])
        return found

    # -- the background work -----------------------------------------------------------------------

    def schedule_balance(self, cpu: int) -> None:
        """Ask for the background work; ignored while the kernel is too young for it."""
        if self.async_enabled:
            self.host.schedule_work(cpu, "pcpu_balance_work")

    # -- what a log says, whatever the allocator would have done ---------------------------------

    def adopt_area(self, number: int, off: int, size: int) -> None:
        """Make an area exist where a real kernel put it; what is in the way is given back first.

        Pages under it must be backed already, or are backed by the caller.
        """
        chunk = self.chunks[number]
        bit, nr_bits = off >> MIN_ALLOC_SHIFT, size >> MIN_ALLOC_SHIFT
        if chunk.is_any_taken(bit, nr_bits):
            for start, length in tuple(chunk.areas()):
                if start < bit + nr_bits and bit < start + length:
                    self._free_area(chunk, start << MIN_ALLOC_SHIFT)
        old_slot = self.slots.of_chunk(chunk)
        nr_empty = chunk.nr_empty_pop_pages
        chunk.take_exactly(bit, nr_bits)
        self._count_empty(chunk, nr_empty)
        self.relocate(chunk, old_slot)
        self.statistics.area_alloc(chunk, size)
        if chunk.isolated:
            self.reintegrate(chunk)

    def forget_area(self, chunk: Chunk, off: int) -> None:
        """Give the area at an offset back and do nothing about it."""
        self._free_area(chunk, off)

    # -- chunks on lists ---------------------------------------------------------------------------

    @property
    def reserved_chunk(self) -> Chunk | None:
        """The chunk that serves modules' static areas, if the machine has one."""
        return self.chunks.get(RESERVED)

    @property
    def first_end(self) -> int:
        """End of the first chunk's own part, as an offset from base_addr."""
        first = self.chunks[0]
        return (
            first.base_addr - self.base_addr + first.nr_pages * PAGE_SIZE_BYTES - first.end_offset
        )

    def add_chunk(self, chunk: Chunk) -> None:
        """Make a new chunk findable by address and by number."""
        self.chunks[chunk.number] = chunk
        position = bisect_right(self.chunk_bases, chunk.base_addr)
        self.chunk_bases.insert(position, chunk.base_addr)
        self.chunk_by_base[chunk.base_addr] = chunk

    def enlist(self, chunk: Chunk) -> None:
        """Put a chunk that is on no list where its hint belongs."""
        self.relocate(chunk, -1)

    def delist(self, chunk: Chunk) -> None:
        """Take a chunk off its list and its empty pages out of the count."""
        if not chunk.isolated:
            self.nr_empty_pop_pages -= chunk.nr_empty_pop_pages
        self.nr_populated -= chunk.nr_populated
        self.statistics.nr_cur_alloc -= chunk.nr_alloc
        chunk.nr_alloc = 0
        self.slots.remove(chunk)

    def drop_chunk(self, chunk: Chunk) -> None:
        """Forget a destroyed chunk."""
        del self.chunks[chunk.number]
        del self.chunk_by_base[chunk.base_addr]
        self.chunk_bases.remove(chunk.base_addr)

    def _free_area(self, chunk: Chunk, off: int) -> None:
        bit = off >> MIN_ALLOC_SHIFT
        nr_bits = chunk.area_bits(bit)
        if not nr_bits:
            raise KernelBug(f"chunk {chunk.number}: no area starts at offset {off}")
        self.statistics.area_dealloc(chunk)
        old_slot = self.slots.of_chunk(chunk)
        nr_empty = chunk.nr_empty_pop_pages
        chunk.free_area(bit, nr_bits, self.free_hint_fixed)
        self._count_empty(chunk, nr_empty)
        self.relocate(chunk, old_slot)

    def relocate(self, chunk: Chunk, old_slot: int) -> None:
        """Move the chunk if the list it belongs on is another than before: up to a head, down to a tail."""
        slot = self.slots.of_chunk(chunk)
        if slot != old_slot and not chunk.isolated and chunk.number != RESERVED:
            self.slots.move(chunk, slot, to_front=old_slot < slot)

    def _count_empty(self, chunk: Chunk, nr_before: int) -> None:
        if (
            chunk.nr_empty_pop_pages != nr_before
            and not chunk.isolated
            and chunk.number != RESERVED
        ):
            self.nr_empty_pop_pages += chunk.nr_empty_pop_pages - nr_before

    def count_populated(self, chunk: Chunk, page_start: int, page_end: int) -> None:
        """Take note that pages of a chunk are backed. Context: pcpu_lock held."""
        nr_before = chunk.nr_empty_pop_pages
        chunk.set_populated(page_start, page_end)
        self.nr_populated += page_end - page_start
        self._count_empty(chunk, nr_before)

    def count_depopulated(self, chunk: Chunk, page_start: int, page_end: int) -> None:
        """Take note that pages of a chunk are gone. Context: pcpu_lock held."""
        nr_before = chunk.nr_empty_pop_pages
        chunk.set_depopulated(page_start, page_end)
        self.nr_populated -= page_end - page_start
        self._count_empty(chunk, nr_before)

    def _isolate(self, chunk: Chunk) -> None:
        if not chunk.isolated:
            chunk.isolated = True
            self.nr_empty_pop_pages -= chunk.nr_empty_pop_pages
        self.slots.move(chunk, self.slots.to_depopulate, to_front=True)

    def reintegrate(self, chunk: Chunk) -> None:
        """Let an isolated chunk be found again by all. Context: pcpu_lock held."""
        if chunk.isolated:
            chunk.isolated = False
            self.nr_empty_pop_pages += chunk.nr_empty_pop_pages
            self.relocate(chunk, -1)
