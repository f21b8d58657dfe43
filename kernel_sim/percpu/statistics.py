"""The allocator's lifetime counters and the figures of /sys/kernel/debug/percpu_stats.

Source: Linux 6.1 mm/percpu-stats.c and the counters of mm/percpu-internal.h.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from kernel_sim.percpu.chunk import Chunk
from kernel_sim.percpu.md_block import BLOCK_BITS, MIN_ALLOC_BYTES


@dataclass(slots=True)
class PercpuStatistics:
    """Counters since boot; sizes in bytes as rounded by the allocator."""

    nr_alloc: int = 0
    nr_dealloc: int = 0
    nr_cur_alloc: int = 0
    nr_max_alloc: int = 0
    nr_chunks: int = 0
    nr_max_chunks: int = 0
    min_alloc_bytes: int = 0
    max_alloc_bytes: int = 0

    def area_alloc(self, chunk: Chunk, size_bytes: int) -> None:
        """Count an area that was taken."""
        self.nr_alloc += 1
        self.nr_cur_alloc = current = self.nr_cur_alloc + 1
        if current > self.nr_max_alloc:
            self.nr_max_alloc = current
        if size_bytes < self.min_alloc_bytes:
            self.min_alloc_bytes = size_bytes
        if size_bytes > self.max_alloc_bytes:
            self.max_alloc_bytes = size_bytes
        chunk.nr_alloc += 1
        if size_bytes > chunk.max_alloc_bytes:
            chunk.max_alloc_bytes = size_bytes

    def area_dealloc(self, chunk: Chunk) -> None:
        """Count an area that was given back."""
        self.nr_dealloc += 1
        self.nr_cur_alloc -= 1
        chunk.nr_alloc -= 1

    def chunk_alloc(self) -> None:
        """Count a new chunk."""
        self.nr_chunks += 1
        if self.nr_chunks > self.nr_max_chunks:
            self.nr_max_chunks = self.nr_chunks

    def chunk_dealloc(self) -> None:
        """Count a destroyed chunk."""
        self.nr_chunks -= 1


class Fragmentation(NamedTuple):
    """How the space up to the last allocation is cut up; bytes."""

    sum_frag: int
    max_frag: int
    cur_min_alloc: int
    cur_med_alloc: int
    cur_max_alloc: int


def fragmentation(chunk: Chunk) -> Fragmentation:
    """Return the fragmentation figures of a chunk.

    Space behind the last allocation is no fragment. The kernel looks for that last allocation in one
    bit less than the served region and cuts it there, so one that reaches the region's end reads 4
    bytes shorter than it is.
    """
    end = _last_taken_end(chunk)
    sizes: list[int] = []
    at = chunk.start_offset // MIN_ALLOC_BYTES
    for bit, nr_bits in chunk.areas():
        if bit >= end:
            break
        if bit > at:
            sizes.append((at - bit) * MIN_ALLOC_BYTES)
        at = min(bit + nr_bits, end)
        sizes.append((at - bit) * MIN_ALLOC_BYTES)
    if not sizes:
        return Fragmentation(0, 0, 0, 0, 0)
    sizes.sort()
    nr_gaps = sum(1 for size in sizes if size < 0)
    return Fragmentation(
        sum_frag=-sum(sizes[:nr_gaps]),
        max_frag=-sizes[0] if nr_gaps else 0,
        cur_min_alloc=sizes[nr_gaps],
        cur_med_alloc=sizes[(nr_gaps + len(sizes) - 1) // 2],
        cur_max_alloc=sizes[-1],
    )


def _last_taken_end(chunk: Chunk) -> int:
    """Return the bit behind the last one in use, 0 if none is; the very last bit is looked at last."""
    size = chunk.nr_bits - chunk.end_offset // MIN_ALLOC_BYTES - 1
    last_block, at = divmod(size, BLOCK_BITS)
    below = chunk.alloc_map[last_block] & ((1 << at) - 1)
    for index in range(last_block, -1, -1):
        if index < last_block:
            below = chunk.alloc_map[index]
        if below:
            return index * BLOCK_BITS + below.bit_length()
    return size + 1 if chunk.alloc_map[last_block] >> at & 1 else 0
