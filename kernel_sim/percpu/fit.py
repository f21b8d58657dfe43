"""Where in a chunk a request may lie: first by hints, then bit by bit.

    hints    pass over whole blocks that cannot hold the request; they may refuse a hole, never invent one
    bits     the first aligned run of clear bits from there on, at most one block beyond the request

The two are the kernel's own two looks; a request is placed where they meet.
Source: Linux 6.1 mm/percpu.c, pcpu_find_block_fit(), pcpu_next_fit_region(), pcpu_find_zero_area().
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel_sim.alignment import trailing_zeros
from kernel_sim.percpu.md_block import BLOCK_BITS

if TYPE_CHECKING:
    from kernel_sim.percpu.chunk import Chunk


def find_block_fit(chunk: Chunk, nr_bits: int, align_bits: int, populated_only: bool) -> int:
    """Return the bit from which alloc_area() should look, or -1.

    The judgement is by hints alone: usable holes that no hint knows are passed over. With
    populated_only every page the proposed region touches must be backed.
    Source: pcpu_find_block_fit().
    """
    md = chunk.md
    pad = -md.contig_hint_start % align_bits
    if pad + nr_bits > md.contig_hint:
        return -1
    bit = md.next_hint(nr_bits)
    limit = chunk.nr_pages * BLOCK_BITS
    while True:
        bit, length = next_fit_region(chunk, bit, nr_bits, align_bits)
        if bit >= limit:
            return -1
        if not populated_only:
            return bit
        resume = unpopulated_end(chunk, bit, length)
        if resume < 0:
            return bit
        bit = resume


def next_fit_region(chunk: Chunk, bit: int, nr_bits: int, align_bits: int) -> tuple[int, int]:
    """Return (start, length) of the next region that the hints call large enough."""
    index, after = divmod(bit, BLOCK_BITS)
    length = 0
    blocks = chunk.blocks
    for i in range(index, chunk.nr_pages):
        block = blocks[i]
        if length:  # a run that reached the end of the block before
            left = block.left_free
            length += left
            if length >= nr_bits:
                return bit, length
            if left == BLOCK_BITS:
                continue
        hint = block.contig_hint
        if hint:
            hint_start = block.contig_hint_start
            pad = -hint_start % align_bits
            if hint_start >= after and hint >= pad + nr_bits:
                start = block.next_hint(nr_bits)
                return i * BLOCK_BITS + start, pad + nr_bits + hint_start - start
        after = 0
        at = BLOCK_BITS - block.right_free
        at += -at % align_bits
        length = BLOCK_BITS - at
        bit = i * BLOCK_BITS + at
        if length >= nr_bits:
            return bit, length
    return chunk.nr_pages * BLOCK_BITS, 0


def unpopulated_end(chunk: Chunk, bit: int, length: int) -> int:
    """Return the bit behind the first hole in the pages under the region, or -1 if none."""
    page = bit // BLOCK_BITS
    page_end = -(-(bit + length) // BLOCK_BITS)
    window = (1 << (page_end - page)) - 1
    missing = ~(chunk.populated >> page) & window
    if not missing:
        return -1
    first = trailing_zeros(missing)
    backed = (chunk.populated >> page) & window & ~((1 << first) - 1)
    return (page + trailing_zeros(backed)) * BLOCK_BITS if backed else page_end * BLOCK_BITS


def find_zero_area(
    chunk: Chunk, start: int, end: int, nr_bits: int, align_bits: int
) -> tuple[int, int, int]:
    """Search [start, end) bit by bit for nr_bits free ones.

    Returns (bit or -1, start of the largest run passed over, its length).
    Source: pcpu_find_zero_area().
    """
    first = start // BLOCK_BITS
    last = (end - 1) // BLOCK_BITS
    alloc_map = chunk.alloc_map
    window = alloc_map[first]
    for i in range(first + 1, last + 1):
        if alloc_map[i]:
            window |= alloc_map[i] << ((i - first) * BLOCK_BITS)
    origin = first * BLOCK_BITS
    want = (1 << nr_bits) - 1
    skipped_at = skipped = 0
    at = start - origin
    limit = end - origin - nr_bits
    tail = window >> at  # always the bits from `at` on
    while True:
        jump = (~tail & (tail + 1)).bit_length() - 1  # over bits in use
        jump += -(at + jump) % align_bits
        at += jump
        if at > limit:
            return -1, skipped_at + origin if skipped else 0, skipped
        tail >>= jump
        taken = tail & want
        if not taken:
            return at + origin, skipped_at + origin if skipped else 0, skipped
        run = (taken & -taken).bit_length() - 1
        if run >= skipped and (run > skipped or (run and better_aligned(at, skipped_at, origin))):
            skipped_at, skipped = at, run
        at += run + 1
        tail >>= run + 1


def better_aligned(at: int, held_at: int, origin: int) -> bool:
    """Say whether a run at bit `at` beats an equally long one at `held_at`; both count from origin.

    A run held at bit 0 of the chunk is never beaten, and bit 0 beats all others.
    """
    held = held_at + origin
    place = at + origin
    return bool(held) and (not place or trailing_zeros(place) > trailing_zeros(held))
