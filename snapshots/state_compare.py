"""Is the machine what the real kernel was at that moment? Field by field, chunk by chunk.

A recorded state is the allocator's real inside: lists, hints of every block, live areas, populated pages.
Chunks are matched by the log's base addresses, which the caller has translated to the machine's numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from kernel_sim.machine import Machine
from kernel_sim.percpu.chunk import RESERVED, Chunk
from kernel_sim.percpu.md_block import MIN_ALLOC_BYTES
from snapshots.allocator_state import AllocatorState, ChunkState

POPULATION_FIELDS = (
    "populated pages", "nr_populated", "nr_empty_pop_pages", "all nr_populated", "all nr_empty_pop_pages",
)  # fmt: skip


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
    found = list(_compare_whole(machine, state))
    seen: dict[int, None] = {}
    for expected in state.chunks:
        number = numbers.get(expected.base_addr)
        if expected.role == "reserved":
            number = RESERVED
        elif expected.role == "first":
            number = 0
        chunk = machine.percpu.chunks.get(number) if number is not None else None
        if chunk is None:
            found.append(Difference(f"{expected.base_addr:#x}", "exists", "yes", "no"))
            continue
        seen[chunk.number] = None
        found += _compare_chunk(machine, chunk, expected)
    for number in machine.percpu.chunks:
        if number not in seen:
            found.append(Difference(f"chunk {number}", "exists", "no", "yes"))
    return found


def _compare_whole(machine: Machine, state: AllocatorState) -> Iterator[Difference]:
    percpu = machine.percpu
    pairs = (
        ("unit_size", state.unit_size_bytes, percpu.unit_size_bytes),
        ("nr_slots", state.nr_slots, len(percpu.slots.lists)),
        ("free_slot", state.free_slot, percpu.slots.free),
        ("all nr_empty_pop_pages", state.nr_empty_pop_pages, percpu.nr_empty_pop_pages),
        ("all nr_populated", state.nr_populated, percpu.nr_populated),
        ("pcpu_base_addr", state.pcpu_base_addr, percpu.base_addr),
        ("unit offsets", state.unit_offsets_by_cpu, machine.places.unit_offsets),
        ("group offsets", state.group_offsets, machine.places.group_offsets),
        ("__per_cpu_offset", state.per_cpu_offset, tuple(c.gs_base for c in machine.cpus.values())),
    )
    for name, expected, got in pairs:
        if expected != got:
            yield Difference("", name, str(expected), str(got))


def _compare_chunk(machine: Machine, chunk: Chunk, expected: ChunkState) -> Iterator[Difference]:
    listed = chunk.slot >= 0
    position = machine.percpu.slots.lists[chunk.slot].index(chunk) if listed else None
    areas = tuple((bit * MIN_ALLOC_BYTES, n * MIN_ALLOC_BYTES) for bit, n in chunk.areas())
    pairs: tuple[tuple[str, object, object], ...] = (
        ("base_addr", expected.base_addr, chunk.base_addr),
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
    for field, want, got in pairs:
        if want != got:
            yield Difference(name, field, _short(want), _short(got))
    for index, (row, block) in enumerate(zip(expected.md_blocks, chunk.blocks, strict=False)):
        if tuple(row)[:7] != block.row():
            yield Difference(name, f"block {index}", str(tuple(row)[:7]), str(block.row()))


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 200 else text[:197] + "..."
