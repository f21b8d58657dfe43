"""The real allocator's inner state at a moment, as a debugger saw it: rows of states.jsonl.

    AllocatorState ── label "marker: mods begin", pcpu_base_addr, unit layout, slots
        └─ chunks: first, reserved, dynamic …
              └─ summary (chunk_md) and md_blocks: hints in bits of 4 bytes
                 populated_page_runs [from, to), areas [offset, length] in bytes

Names are the kernel's. A hint's unit is one bit of the allocation map, which stands for 4 bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from snapshots.logs.json_rows import JsonRow, json_rows


class MdBlock(NamedTuple):
    """struct pcpu_block_md: positions and lengths in bits of 4 bytes."""

    scan_hint: int
    scan_hint_start: int
    contig_hint: int
    contig_hint_start: int
    left_free: int
    right_free: int
    first_free: int
    nr_bits: int


@dataclass(frozen=True, slots=True)
class ChunkState:
    """struct pcpu_chunk; the reserved one is on no list, so its slot and position are None."""

    role: str  # 'first' | 'reserved' | 'dynamic'
    slot: int | None
    slot_position: int | None
    base_addr: int
    free_bytes: int
    chunk_md: MdBlock
    immutable: bool
    isolated: bool
    start_offset_bytes: int
    end_offset_bytes: int
    nr_pages: int
    nr_populated: int
    nr_empty_pop_pages: int
    populated_page_runs: tuple[tuple[int, int], ...]  # [from, to)
    areas: tuple[tuple[int, int], ...]  # live areas: offset, length in bytes
    md_blocks: tuple[MdBlock, ...]


@dataclass(frozen=True, slots=True)
class AllocatorState:
    """All of it at one moment; tuples by CPU are indexed by CPU number."""

    label: str
    pcpu_base_addr: int
    unit_size_bytes: int
    unit_pages: int
    nr_units: int
    atom_size_bytes: int
    nr_groups: int
    nr_slots: int
    free_slot: int
    sidelined_slot: int
    to_depopulate_slot: int
    nr_empty_pop_pages: int
    nr_populated: int
    async_enabled: bool
    low_unit_cpu: int
    high_unit_cpu: int
    nr_cpu_ids: int
    group_offsets: tuple[int, ...]
    group_sizes: tuple[int, ...]
    unit_offsets_by_cpu: tuple[int, ...]
    unit_map_by_cpu: tuple[int, ...]
    per_cpu_offset: tuple[int, ...]
    chunks: tuple[ChunkState, ...]

    @property
    def marker(self) -> str | None:
        """The text of the trace mark at which the state was taken, if it was one."""
        return self.label.removeprefix("marker: ") if self.label.startswith("marker: ") else None

    @property
    def group_addrs(self) -> tuple[int, ...]:
        """The address of each group's first unit of the first chunk."""
        return tuple(self.pcpu_base_addr + offset for offset in self.group_offsets)


def parse_states(lines: Iterable[str], source: str) -> Iterator[AllocatorState]:
    """Yield the states of a states.jsonl, each read when it is asked for.

    Raises: InputError if a row is malformed; source, line and key are named.
    """
    for row in json_rows(lines, source):
        fields = row.value("md_block_fields")
        if fields != list(MdBlock._fields):
            raise row.error("md_block_fields", f"expected {', '.join(MdBlock._fields)}")
        yield _state(row)


def _state(row: JsonRow) -> AllocatorState:
    return AllocatorState(
        label=row.text("label"),
        pcpu_base_addr=row.address("pcpu_base_addr"),
        unit_size_bytes=row.integer("pcpu_unit_size"),
        unit_pages=row.integer("pcpu_unit_pages"),
        nr_units=row.integer("pcpu_nr_units"),
        atom_size_bytes=row.integer("pcpu_atom_size"),
        nr_groups=row.integer("pcpu_nr_groups"),
        nr_slots=row.integer("pcpu_nr_slots"),
        free_slot=row.integer("pcpu_free_slot"),
        sidelined_slot=row.integer("pcpu_sidelined_slot"),
        to_depopulate_slot=row.integer("pcpu_to_depopulate_slot"),
        nr_empty_pop_pages=row.integer("pcpu_nr_empty_pop_pages"),
        nr_populated=row.integer("pcpu_nr_populated"),
        async_enabled=bool(row.integer("pcpu_async_enabled")),
        low_unit_cpu=row.integer("pcpu_low_unit_cpu"),
        high_unit_cpu=row.integer("pcpu_high_unit_cpu"),
        nr_cpu_ids=row.integer("nr_cpu_ids"),
        group_offsets=row.integers("group_offsets"),
        group_sizes=row.integers("group_sizes"),
        unit_offsets_by_cpu=row.integers("unit_offsets_by_cpu"),
        unit_map_by_cpu=row.integers("unit_map_by_cpu"),
        per_cpu_offset=row.addresses("per_cpu_offset"),
        chunks=tuple(_chunk(chunk) for chunk in row.rows("chunks")),
    )


def _chunk(row: JsonRow) -> ChunkState:
    summary = row.row("chunk_md")
    return ChunkState(
        role=row.text("role", "first", "reserved", "dynamic"),
        slot=row.optional_integer("slot"),
        slot_position=row.optional_integer("pos"),
        base_addr=row.address("base_addr"),
        free_bytes=row.integer("free_bytes"),
        chunk_md=MdBlock(*(summary.integer(name) for name in MdBlock._fields)),
        immutable=bool(row.integer("immutable")),
        isolated=bool(row.integer("isolated")),
        start_offset_bytes=row.integer("start_offset"),
        end_offset_bytes=row.integer("end_offset"),
        nr_pages=row.integer("nr_pages"),
        nr_populated=row.integer("nr_populated"),
        nr_empty_pop_pages=row.integer("nr_empty_pop_pages"),
        populated_page_runs=_pairs(row, "populated_page_runs"),
        areas=_pairs(row, "areas_off_len"),
        md_blocks=tuple(MdBlock(*block) for block in row.tuples("md_blocks", len(MdBlock._fields))),
    )


def _pairs(row: JsonRow, key: str) -> tuple[tuple[int, int], ...]:
    return tuple((first, second) for first, second in row.tuples(key, 2))
