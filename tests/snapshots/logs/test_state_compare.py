"""Every field of a recorded state is compared, and the right one is named."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from kernel_sim.machine import Machine
from snapshots.logs.allocator_state import AllocatorState, ChunkState, MdBlock
from snapshots.logs.state_compare import POPULATION_FIELDS, Difference, compare_state
from tests.snapshots.conftest import BUSY, recorded, small_config


@pytest.fixture(scope="module")
def machine() -> Machine:
    return recorded(small_config(cpus=4, nodes=2, reserved_bytes=4096), BUSY).machine


def state_of(machine: Machine) -> AllocatorState:
    """What a debugger would have recorded of a kernel in the state of this machine."""
    percpu, info, places = machine.percpu, machine.alloc_info, machine.places
    chunks = tuple(
        ChunkState(
            role={-1: "reserved", 0: "first"}.get(number, "dynamic"),
            slot=chunk.slot if chunk.slot >= 0 else None,
            slot_position=[other.number for other in percpu.slots.lists[chunk.slot]].index(number)
            if chunk.slot >= 0
            else None,
            base_addr=chunk.base_addr,
            free_bytes=chunk.free_bytes,
            chunk_md=MdBlock(*chunk.md.row(), chunk.nr_bits),
            immutable=chunk.immutable,
            isolated=chunk.isolated,
            start_offset_bytes=chunk.start_offset,
            end_offset_bytes=chunk.end_offset,
            nr_pages=chunk.nr_pages,
            nr_populated=chunk.nr_populated,
            nr_empty_pop_pages=chunk.nr_empty_pop_pages,
            populated_page_runs=tuple(chunk.populated_runs()),
            areas=tuple((bit * 4, bits * 4) for bit, bits in chunk.areas()),
            md_blocks=tuple(MdBlock(*block.row(), 1024) for block in chunk.blocks),
        )
        for number, chunk in percpu.chunks.items()
    )
    return AllocatorState(
        label="marker: now", pcpu_base_addr=percpu.base_addr,
        unit_size_bytes=percpu.unit_size_bytes, unit_pages=percpu.unit_size_bytes // 4096,
        nr_units=info.nr_units, atom_size_bytes=info.atom_size_bytes, nr_groups=len(info.groups),
        nr_slots=len(percpu.slots.lists), free_slot=percpu.slots.free,
        sidelined_slot=percpu.slots.sidelined, to_depopulate_slot=percpu.slots.to_depopulate,
        nr_empty_pop_pages=percpu.nr_empty_pop_pages, nr_populated=percpu.nr_populated,
        async_enabled=True, low_unit_cpu=0, high_unit_cpu=0, nr_cpu_ids=4,
        group_offsets=places.group_offsets, group_sizes=places.group_sizes,
        unit_offsets_by_cpu=places.unit_offsets, unit_map_by_cpu=(),
        per_cpu_offset=tuple(cpu.gs_base for cpu in machine.cpus.values()), chunks=chunks,
    )  # fmt: skip


def numbers_of(machine: Machine) -> dict[int, int]:
    return {chunk.base_addr: number for number, chunk in machine.percpu.chunks.items()}


def differences(machine: Machine, state: AllocatorState) -> list[Difference]:
    return compare_state(machine, state, numbers_of(machine))


def with_chunk(state: AllocatorState, **changed: object) -> AllocatorState:
    *others, last = state.chunks
    return replace(state, chunks=(*others, replace(last, **changed)))  # type: ignore[arg-type]


def test_a_machine_is_equal_to_its_own_state(machine: Machine) -> None:
    state = state_of(machine)
    assert {chunk.role for chunk in state.chunks} == {"reserved", "first", "dynamic"}
    assert differences(machine, state) == []


WHOLE = {
    "unit_size_bytes": "unit_size",
    "nr_slots": "nr_slots",
    "free_slot": "free_slot",
    "nr_empty_pop_pages": "all nr_empty_pop_pages",
    "nr_populated": "all nr_populated",
    "pcpu_base_addr": "pcpu_base_addr",
    "unit_offsets_by_cpu": "unit offsets",
    "group_offsets": "group offsets",
    "per_cpu_offset": "__per_cpu_offset",
}
CHUNK = {
    "slot": "slot",
    "slot_position": "position",
    "free_bytes": "free_bytes",
    "chunk_md": "chunk_md",
    "immutable": "immutable",
    "isolated": "isolated",
    "start_offset_bytes": "start_offset",
    "end_offset_bytes": "end_offset",
    "nr_pages": "nr_pages",
    "nr_populated": "nr_populated",
    "nr_empty_pop_pages": "nr_empty_pop_pages",
    "populated_page_runs": "populated pages",
    "areas": "areas",
}


def other(value: object) -> object:
    if isinstance(value, bool):
        return not value
    if isinstance(value, MdBlock):
        return value._replace(contig_hint=value.contig_hint + 1)
    if isinstance(value, tuple):
        return (*value, (9, 9))
    assert isinstance(value, int)
    return value + 1


@pytest.mark.parametrize("name", WHOLE)
def test_a_field_of_the_whole_is_compared(machine: Machine, name: str) -> None:
    state = state_of(machine)
    changed = replace(state, **{name: other(getattr(state, name))})  # type: ignore[arg-type]
    found = differences(machine, changed)
    assert [(row.chunk, row.field) for row in found] == [("", WHOLE[name])]
    assert found[0].expected != found[0].got


@pytest.mark.parametrize("name", CHUNK)
def test_a_field_of_a_chunk_is_compared(machine: Machine, name: str) -> None:
    state = state_of(machine)
    last = state.chunks[-1]
    found = differences(machine, with_chunk(state, **{name: other(getattr(last, name))}))
    number = list(machine.percpu.chunks)[-1]
    assert [(row.chunk, row.field) for row in found] == [(f"chunk {number}", CHUNK[name])]
    assert found[0].expected != found[0].got


def test_no_field_of_a_chunk_is_forgotten() -> None:
    elsewhere = {"role", "base_addr", "md_blocks"}
    assert {row.name for row in fields(ChunkState)} == {*CHUNK, *elsewhere}


def test_a_hint_of_a_block_is_compared(machine: Machine) -> None:
    state = state_of(machine)
    blocks = list(state.chunks[-1].md_blocks)
    blocks[3] = blocks[3]._replace(scan_hint=77)
    found = differences(machine, with_chunk(state, md_blocks=tuple(blocks)))
    assert [row.field for row in found] == ["block 3"]


def test_chunks_that_only_one_side_has_are_named(machine: Machine) -> None:
    state = state_of(machine)
    *others, last = state.chunks
    number = list(machine.percpu.chunks)[-1]
    fewer = differences(machine, replace(state, chunks=tuple(others)))
    assert fewer == [Difference(f"chunk {number}", "exists", "no", "yes")]
    more = replace(state, chunks=(*state.chunks, replace(last, base_addr=4096)))
    assert Difference("0x1000", "exists", "yes", "no") in differences(machine, more)


def test_chunks_are_matched_by_the_names_that_the_log_gives(machine: Machine) -> None:
    state = state_of(machine)
    shifted = replace(
        state,
        chunks=tuple(replace(row, base_addr=row.base_addr + 4096) for row in state.chunks),
    )
    numbers = {base + 4096: number for base, number in numbers_of(machine).items()}
    assert {row.field for row in compare_state(machine, shifted, numbers)} == {"base_addr"}


def test_the_fields_of_population_are_fields() -> None:
    assert {*POPULATION_FIELDS} <= {*WHOLE.values(), *CHUNK.values()}
