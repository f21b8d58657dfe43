"""The allocator's state as builtin types, and back.

Chunks dump one by one, so that a keyframe need not write the chunks that nothing touched. Blocks that are
as at birth are left out, and bitmaps become bytes, because a bit per 4 bytes of a unit that is mostly
empty is mostly nothing.

A dump may be a stranger's: lengths and places are held against the chunk's own before anything is built.
Whether its figures can be true, and of this machine: bitmap_loaded.py.
"""

from __future__ import annotations

from typing import TypeAlias, cast

from kernel_sim.errors import KernelBug
from kernel_sim.mm.page import PAGE_SHIFT
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
FLAGS = (
    "immutable", "isolated", "written", "atomic_alloc_failed", "async_enabled", "free_hint_fixed",
)  # fmt: skip
NR_PAGES_MAX = 1 << 18
"""Pages of the largest unit that a chunk is built for: 1 GiB."""
FIGURE_MAX = (1 << 64) - 1


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
    """Return the chunk that dump_chunk() described. Raises KernelBug for a dump of no chunk."""
    scalars, populated, md_row, rows, alloc_map, bound_map, data = dump
    named = _named(CHUNK_SCALARS, scalars, "a chunk")
    populated_bits = int.from_bytes(cast("bytes", populated), "little")
    _check_chunk(named, cast("bytes", populated), populated_bits)
    nr_pages = named["nr_pages"]
    chunk = Chunk.fresh(number=named["number"], base_addr=named["base_addr"], nr_pages=nr_pages)
    for name, value in named.items():
        setattr(chunk, name, value)
    chunk.populated = populated_bits
    chunk.md = MdBlock(*cast("MdRow", tuple(cast("MdRow", md_row))), chunk.nr_bits)
    for index, row in cast("SparseRows", rows):
        _expect(named, "block", 0 <= index < nr_pages)
        chunk.blocks[index] = MdBlock(*row, BLOCK_BITS)
    for bitmap, words in ((chunk.alloc_map, alloc_map), (chunk.bound_map, bound_map)):
        for index, word in cast("SparseBits", words):
            _expect(named, "word", 0 <= index < len(bitmap) and len(word) == BLOCK_BYTES)
            bitmap[index] = int.from_bytes(word, "little")
    _expect(named, "bound", chunk.bound_map[nr_pages] <= 1)
    while chunk.nr_pages > chunk.free_tail and any(chunk.alloc_map[chunk.free_tail :]):
        chunk.free_tail += 1
    chunk.data = tuple(cast("tuple[int, ...]", data))
    chunk.changed = False
    return chunk


def _named(names: tuple[str, ...], values: object, what: str) -> dict[str, int]:
    """Return values by name; flags and numbers are told apart."""
    row = tuple(cast("tuple[int, ...]", values))
    if len(row) != len(names):
        raise KernelBug(f"the dump of {what} has {len(row)} figures; expected {len(names)}")
    for name, value in zip(names, row, strict=True):
        if isinstance(value, bool) != (name in FLAGS) or abs(value) > FIGURE_MAX:
            raise KernelBug(f"the dump of {what}: {name} is {value}")
    return dict(zip(names, row, strict=True))


def _check_chunk(named: dict[str, int], populated: bytes, populated_bits: int) -> None:
    nr_pages = named["nr_pages"]
    _expect(named, "nr_pages", 0 < nr_pages <= NR_PAGES_MAX)
    if len(populated) != nr_pages // 8 + 1 or populated_bits >> nr_pages:
        raise KernelBug(f"the dump of a chunk claims {nr_pages} pages and has not their bits")
    hidden = named["start_offset"], named["end_offset"]
    _expect(named, "hidden bytes", min(hidden) >= 0 and sum(hidden) <= nr_pages << PAGE_SHIFT)


def _expect(named: dict[str, int], what: str, holds: bool) -> None:
    if not holds:
        raise KernelBug(f"the dump of chunk {named['number']}: {what} cannot be of {named}")


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
    """Bring the allocator to the dumped state; chunks holds every chunk the dump names, by number.

    Raises KernelBug for lists of chunks that are not there, or that this machine has not.
    """
    scalars, statistics, numbers, lists, lock_holder, mutex_holder = dump
    figures = _named(PERCPU_SCALARS, scalars, "the allocator")
    counters = _named(STATISTICS, statistics, "its statistics")
    named = cast("tuple[int, ...]", numbers)
    rows = cast("tuple[tuple[int, ...], ...]", lists)
    if len(dict.fromkeys(named)) != len(named) or sorted(named) != sorted(chunks):
        raise KernelBug(f"the allocator names chunks {named}; expected {tuple(chunks)}, each once")
    if len(rows) != len(percpu.slots.lists):
        raise KernelBug(f"the allocator has {len(rows)} lists; expected {len(percpu.slots.lists)}")
    strange = [number for members in rows for number in members if number not in chunks]
    if strange:
        raise KernelBug(f"a list has chunk {strange[0]}, which is not there")
    for name, value in figures.items():
        setattr(percpu, name, value)
    for name, value in counters.items():
        setattr(percpu.statistics, name, value)
    percpu.chunks = {number: chunks[number] for number in named}
    dynamic = [chunk for number, chunk in percpu.chunks.items() if number not in (0, RESERVED)]
    percpu.chunk_by_base = {chunk.base_addr: chunk for chunk in dynamic}
    percpu.chunk_bases = sorted(percpu.chunk_by_base)
    for slot, members in enumerate(rows):
        percpu.slots.lists[slot][:] = [chunks[number] for number in members]
    percpu.lock.holder = cast("int", lock_holder)
    percpu.mutex.holder = cast("int", mutex_holder)
