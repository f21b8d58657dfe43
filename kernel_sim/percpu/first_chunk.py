"""The first chunk: what is left of the unit that holds the kernel's own static per-CPU variables.

    unit of a CPU   | static | reserved (modules) | dynamic | unused tail given back |
    offset          0        s                    s+r       s+r+d
    served by         nobody   the reserved chunk   the first chunk

Both chunks begin on a page boundary; what they share of a page with their neighbour is hidden by bits
that count as allocated. All their pages are there from the start and stay.
Source: Linux 6.1 mm/percpu.c, pcpu_setup_first_chunk() and pcpu_alloc_first_chunk().
"""

from __future__ import annotations

from kernel_sim.alignment import align_down, align_up
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.percpu.bitmap import BitmapPercpu
from kernel_sim.percpu.chunk import RESERVED, Chunk
from kernel_sim.percpu.md_block import BLOCK_BITS, MIN_ALLOC_BYTES


def setup_first_chunk(
    percpu: BitmapPercpu,
    *,
    static_size_bytes: int,
    reserved_size_bytes: int,
    dyn_size_bytes: int,
) -> None:
    """Give the allocator its first and, if asked for, its reserved chunk.

    A static size that is no multiple of 4 is rounded up at the expense of the dynamic part.
    """
    static_bytes = align_up(static_size_bytes, MIN_ALLOC_BYTES)
    dyn_bytes = dyn_size_bytes - (static_bytes - static_size_bytes)
    start = percpu.base_addr + static_bytes
    if reserved_size_bytes:
        percpu.chunks[RESERVED] = served_region(RESERVED, start, reserved_size_bytes)
        percpu.reserved_offset = static_bytes
        start += reserved_size_bytes
    first = served_region(0, start, dyn_bytes)
    percpu.chunks[0] = first
    percpu.first_offset = start - percpu.base_addr
    percpu.nr_empty_pop_pages = first.nr_empty_pop_pages
    slot = percpu.slots.of_chunk(first)
    percpu.slots.move(first, slot, to_front=True)
    percpu.nr_populated += static_size_bytes + reserved_size_bytes + dyn_size_bytes >> PAGE_SHIFT
    percpu.statistics.min_alloc_bytes = percpu.unit_size_bytes
    percpu.statistics.chunk_alloc()


def served_region(number: int, start: int, size_bytes: int) -> Chunk:
    """Return an immutable, fully populated chunk that serves size_bytes from address start."""
    base_addr = align_down(start, PAGE_SIZE_BYTES)
    start_offset = start - base_addr
    region_bytes = align_up(start_offset + size_bytes, PAGE_SIZE_BYTES)
    nr_pages = region_bytes >> PAGE_SHIFT
    chunk = Chunk.fresh(number=number, base_addr=base_addr, nr_pages=nr_pages)
    chunk.start_offset = start_offset
    chunk.end_offset = region_bytes - start_offset - size_bytes
    chunk.immutable = True
    chunk.populated = (1 << nr_pages) - 1
    chunk.nr_populated = chunk.nr_empty_pop_pages = nr_pages
    chunk.free_bytes = size_bytes
    _hide(chunk, 0, start_offset // MIN_ALLOC_BYTES)
    hidden_bits = chunk.end_offset // MIN_ALLOC_BYTES
    _hide(chunk, chunk.nr_bits - hidden_bits, hidden_bits)
    return chunk


def _hide(chunk: Chunk, bit: int, nr_bits: int) -> None:
    """Make bits at either end of the region count as allocated."""
    if not nr_bits:
        return
    for i in range(bit, bit + nr_bits):
        chunk.alloc_map[i // BLOCK_BITS] |= 1 << i % BLOCK_BITS
    for bound in (bit, bit + nr_bits):
        chunk.bound_map[bound // BLOCK_BITS] |= 1 << bound % BLOCK_BITS
    if bit == 0:
        chunk.md.first_free = nr_bits
    chunk.free_tail = max(chunk.free_tail, (bit + nr_bits - 1) // BLOCK_BITS + 1)
    chunk.update_hint_alloc(bit, nr_bits)
