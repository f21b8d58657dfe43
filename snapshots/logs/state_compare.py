"""Is the machine what the real kernel was at that moment? Field by field, chunk by chunk.

A recorded state is the allocator's real inside: lists, hints of every block, live areas, populated pages.
Chunks are matched by the log's base addresses, which the caller has translated to the machine's numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from kernel_sim.machine import Machine
from kernel_sim.percpu.bitmap import BitmapPercpu
from kernel_sim.percpu.chunk import RESERVED, Chunk
from kernel_sim.percpu.md_block import MIN_ALLOC_BYTES
from snapshots.logs.allocator_state import AllocatorState, ChunkState

POPULATION_FIELDS = (
    "populated pages", "nr_populated", "nr_empty_pop_pages", "all nr_populated", "all nr_empty_pop_pages",
)  # fmt: skip
NO_CHUNK = -9
SHOWN_CHARS = 200


class Difference(NamedTuple):
    """A field in which machine and recorded state differ."""

    chunk: str
    field: str
    expected: str
    got: str


def compare_state(
    machine: Machine, state: AllocatorState, numbers: Mapping[int, int]
) -> list[Difference]:
    """Return all differences; numbers gives the machine's chunk for a logged base address."""
    return [
        *_compare_places(machine, state),
        *compare_allocator(machine.percpu, state, numbers),
        *_compare_bases(machine.percpu, state, numbers),
    ]


def compare_allocator(
    percpu: BitmapPercpu, state: AllocatorState, numbers: Mapping[int, int]
) -> Iterator[Difference]:
    """Yield all differences but those of addresses, which an allocator without memory has none of."""
    pairs = (
        ("unit_size", state.unit_size_bytes, percpu.unit_size_bytes),
        ("nr_slots", state.nr_slots, len(percpu.slots.lists)),
        ("free_slot", state.free_slot, percpu.slots.free),
        ("all nr_empty_pop_pages", state.nr_empty_pop_pages, percpu.nr_empty_pop_pages),
        ("all nr_populated", state.nr_populated, percpu.nr_populated),
    )
    yield from _unequal("", pairs)
    seen: dict[int, None] = {}
    for expected in state.chunks:
        chunk = percpu.chunks.get(number_of(expected, numbers))
        if chunk is None:
            yield Difference(f"{expected.base_addr:#x}", "exists", "yes", "no")
            continue
        seen[chunk.number] = None
        yield from _compare_chunk(percpu, chunk, expected)
    for number in percpu.chunks:
        if number not in seen:
            yield Difference(f"chunk {number}", "exists", "no", "yes")


def number_of(expected: ChunkState, numbers: Mapping[int, int]) -> int:
    """Return the machine's number of a recorded chunk, one that no chunk has if it is unknown."""
    if expected.role == "reserved":
        return RESERVED
    return 0 if expected.role == "first" else numbers.get(expected.base_addr, NO_CHUNK)


def _compare_places(machine: Machine, state: AllocatorState) -> Iterator[Difference]:
    gs_bases = tuple(cpu.gs_base for cpu in machine.cpus.values())
    pairs = (
        ("pcpu_base_addr", state.pcpu_base_addr, machine.percpu.base_addr),
        ("unit offsets", state.unit_offsets_by_cpu, machine.places.unit_offsets),
        ("group offsets", state.group_offsets, machine.places.group_offsets),
        ("__per_cpu_offset", state.per_cpu_offset, gs_bases),
    )
    yield from _unequal("", pairs)


def _compare_bases(
    percpu: BitmapPercpu, state: AllocatorState, numbers: Mapping[int, int]
) -> Iterator[Difference]:
    for expected in state.chunks:
        chunk = percpu.chunks.get(number_of(expected, numbers))
        if chunk is not None and chunk.base_addr != expected.base_addr:
            want, got = f"{expected.base_addr:#x}", f"{chunk.base_addr:#x}"
            yield Difference(f"chunk {chunk.number}", "base_addr", want, got)


def _compare_chunk(
    percpu: BitmapPercpu, chunk: Chunk, expected: ChunkState
) -> Iterator[Difference]:
    listed = chunk.slot >= 0
    position = None
    if listed:
        numbers = [other.number for other in percpu.slots.lists[chunk.slot]]
        position = numbers.index(chunk.number)
    areas = tuple((bit * MIN_ALLOC_BYTES, n * MIN_ALLOC_BYTES) for bit, n in chunk.areas())
    pairs: tuple[tuple[str, object, object], ...] = (
        ("slot", expected.slot, chunk.slot if listed else None),
        ("position", expected.slot_position, position),
        ("free_bytes", expected.free_bytes, chunk.free_bytes),
        ("chunk_md", tuple(expected.chunk_md)[:7], chunk.md.row()),
        ("immutable", expected.immutable, chunk.immutable),
        ("isolated", expected.isolated, chunk.isolated),
        ("start_offset", expected.start_offset_bytes, chunk.start_offset),
        ("end_offset", expected.end_offset_bytes, chunk.end_offset),
        ("nr_pages", expected.nr_pages, chunk.nr_pages),
        ("nr_populated", expected.nr_populated, chunk.nr_populated),
        ("nr_empty_pop_pages", expected.nr_empty_pop_pages, chunk.nr_empty_pop_pages),
        ("populated pages", expected.populated_page_runs, tuple(chunk.populated_runs())),
        ("areas", expected.areas, areas),
    )
    name = f"chunk {chunk.number}"
    yield from _unequal(name, pairs)
    for index, (row, block) in enumerate(zip(expected.md_blocks, chunk.blocks, strict=False)):
        if tuple(row)[:7] != block.row():
            yield Difference(name, f"block {index}", str(tuple(row)[:7]), str(block.row()))


def _unequal(chunk: str, pairs: Iterable[tuple[str, object, object]]) -> Iterator[Difference]:
    for field, want, got in pairs:
        if want != got:
            nr_equal = _nr_equal(want, got)
            yield Difference(chunk, field, _short(want, nr_equal), _short(got, nr_equal))


def _nr_equal(want: object, got: object) -> int:
    """Return how many items two lists have in common at their beginning."""
    if not isinstance(want, tuple) or not isinstance(got, tuple):
        return 0
    pairs = enumerate(zip(want, got, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(want), len(got)))


def _short(value: object, nr_equal: int) -> str:
    """Return a value in few words: of a long list what comes behind the part that is equal."""
    text = str(value)
    if len(text) > SHOWN_CHARS and isinstance(value, tuple):
        text = f"after {nr_equal} equal ones {value[nr_equal:]}"
    return text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 3] + "..."
