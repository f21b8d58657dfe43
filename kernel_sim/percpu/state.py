"""The allocator's state as builtin types, and back.

Chunks dump one by one, so that a keyframe need not write the chunks that nothing touched. Blocks that are
as at birth are left out, and bitmaps become bytes, because a bit per 4 bytes of a unit that is mostly
empty is mostly nothing.
"""

from __future__ import annotations

from typing import TypeAlias, cast

from kernel_sim.errors import KernelBug
from kernel_sim.percpu.bitmap import BitmapPercpu
from kernel_sim.percpu.chunk import RESERVED, Chunk
from kernel_sim.percpu.md_block import BLOCK_BITS, MdBlock, MdRow
from kernel_sim.percpu.statistics import PercpuStatistics

Dump: TypeAlias = tuple[object, ...]
SparseRows: TypeAlias = tuple[tuple[int, MdRow], ...]
SparseBits: TypeAlias = tuple[tuple[int, bytes], ...]

BLOCK_BYTES = BLOCK_BITS // 8
FRESH_ROW = MdBlock.fresh(BLOCK_BITS).row()
CHUNK_SCALARS = (
    "number", "base_addr", "nr_pages", "start_offset", "end_offset", "free_bytes", "nr_populated",
    "nr_empty_pop_pages", "immutable", "isolated", "slot", "nr_alloc", "max_alloc_bytes", "written",
)  # fmt: skip
PERCPU_SCALARS = (
    "next_number", "nr_empty_pop_pages", "nr_populated", "atomic_alloc_failed", "async_enabled",
    "warn_limit", "free_hint_fixed", "reserved_offset", "first_offset",
)  # fmt: skip
STATISTICS = tuple(PercpuStatistics.__slots__)


def dump_chunk(chunk: Chunk) -> Dump:
    """Return the chunk as builtin types; equal chunks give equal dumps."""
    rows = tuple(
        (index, block.row())
        for index, block in enumerate(chunk.blocks)
        if block.contig_hint != BLOCK_BITS or block.row() != FRESH_ROW
    )
    populated_bytes = chunk.populated.to_bytes(chunk.nr_pages // 8 + 1, "little")
    return (
        tuple(getattr(chunk, name) for name in CHUNK_SCALARS),
        populated_bytes,
        chunk.md.row(),
        rows,
        _sparse(chunk.alloc_map),
        _sparse(chunk.bound_map),
        chunk.data,
    )


def _sparse(bits: list[int]) -> SparseBits:
    return tuple((i, word.to_bytes(BLOCK_BYTES, "little")) for i, word in enumerate(bits) if word)


def load_chunk(dump: Dump) -> Chunk:
    """Return the chunk that dump_chunk() described."""
    scalars, populated, md_row, rows, alloc_map, bound_map, data = dump
    named = dict(zip(CHUNK_SCALARS, cast("tuple[int, ...]", scalars), strict=True))
    if len(cast("bytes", populated)) != named["nr_pages"] // 8 + 1:
        raise KernelBug(
            f"the dump of a chunk claims {named['nr_pages']} pages and has not their bits"
        )
    chunk = Chunk.fresh(
        number=named["number"], base_addr=named["base_addr"], nr_pages=named["nr_pages"]
    )
    for name, value in named.items():
        setattr(chunk, name, value)
    chunk.populated = int.from_bytes(cast("bytes", populated), "little")
    chunk.md = MdBlock(*cast("MdRow", tuple(cast("MdRow", md_row))), chunk.nr_bits)
    for index, row in cast("SparseRows", rows):
        chunk.blocks[index] = MdBlock(*row, BLOCK_BITS)
    for index, word in cast("SparseBits", alloc_map):
        chunk.alloc_map[index] = int.from_bytes(word, "little")
    for index, word in cast("SparseBits", bound_map):
        chunk.bound_map[index] = int.from_bytes(word, "little")
    while chunk.nr_pages > chunk.free_tail and any(chunk.alloc_map[chunk.free_tail :]):
        chunk.free_tail += 1
    chunk.data = tuple(cast("tuple[int, ...]", data))
    chunk.changed = False
    return chunk


def dump_percpu(percpu: BitmapPercpu) -> Dump:
    """Return all but the chunks themselves: counters, locks, and which chunk stands where on which list."""
    return (
        tuple(getattr(percpu, name) for name in PERCPU_SCALARS),
        tuple(getattr(percpu.statistics, name) for name in STATISTICS),
        tuple(percpu.chunks),
        tuple(tuple(chunk.number for chunk in chunks) for chunks in percpu.slots.lists),
        percpu.lock.holder,
        percpu.mutex.holder,
    )


def load_percpu(percpu: BitmapPercpu, dump: Dump, chunks: dict[int, Chunk]) -> None:
    """Bring the allocator to the dumped state; chunks holds every chunk the dump names, by number."""
    scalars, statistics, numbers, lists, lock_holder, mutex_holder = dump
    for name, value in zip(PERCPU_SCALARS, cast("tuple[int, ...]", scalars), strict=True):
        setattr(percpu, name, value)
    for name, value in zip(STATISTICS, cast("tuple[int, ...]", statistics), strict=True):
        setattr(percpu.statistics, name, value)
    percpu.chunks = {number: chunks[number] for number in cast("tuple[int, ...]", numbers)}
    dynamic = [chunk for number, chunk in percpu.chunks.items() if number not in (0, RESERVED)]
    percpu.chunk_by_base = {chunk.base_addr: chunk for chunk in dynamic}
    percpu.chunk_bases = sorted(percpu.chunk_by_base)
    for slot, members in enumerate(cast("tuple[tuple[int, ...], ...]", lists)):
        percpu.slots.lists[slot][:] = [chunks[number] for number in members]
    percpu.lock.holder = cast("int", lock_holder)
    percpu.mutex.holder = cast("int", mutex_holder)
