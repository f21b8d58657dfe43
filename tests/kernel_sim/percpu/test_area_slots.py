"""Which list a chunk is on, and where on it."""

from __future__ import annotations

import pytest

from kernel_sim.errors import InvariantBroken
from kernel_sim.percpu.area_chunk import RESERVED, AreaChunk
from kernel_sim.percpu.area_slots import NO_SLOT, AreaSlots, slot_of_size

UNIT = 65536


def chunk_of(number: int, slots: AreaSlots) -> AreaChunk:
    chunk = AreaChunk.fresh(number=number, base_addr=number << 20, nr_pages=16)
    slots.relocate(chunk, NO_SLOT)
    return chunk


def take(slots: AreaSlots, chunk: AreaChunk, size: int) -> int:
    old = slots.of_chunk(chunk)
    offset = chunk.area_map.alloc(size, 1)
    slots.relocate(chunk, old)
    assert offset is not None
    return offset


def numbers(slots: AreaSlots, slot: int) -> list[int]:
    return [chunk.number for chunk in slots.lists[slot]]


@pytest.mark.parametrize(
    ("size", "slot"),
    [(1, 1), (15, 1), (16, 2), (31, 2), (32, 3), (63, 3), (4096, 10), (8191, 10), (65536, 14), (131072, 15)],
)  # fmt: skip
def test_the_slot_of_a_size(size: int, slot: int) -> None:
    assert slot_of_size(size) == slot


def test_how_many_lists_there_are() -> None:
    assert len(AreaSlots(UNIT, has_free_slot=True).lists) == 16
    assert len(AreaSlots(UNIT, has_free_slot=False).lists) == 15


def test_a_wholly_free_chunk_has_a_list_of_its_own_from_2_6_31_on() -> None:
    slots = AreaSlots(UNIT, has_free_slot=True)
    chunk = chunk_of(1, slots)
    assert (chunk.slot, slots.last, slots.of_size(UNIT)) == (15, 15, 15)
    take(slots, chunk, 1)
    assert chunk.slot == 13
    early = AreaSlots(UNIT, has_free_slot=False)
    assert chunk_of(1, early).slot == 14


def test_what_rises_goes_to_the_front_what_falls_to_the_end() -> None:
    slots = AreaSlots(UNIT, has_free_slot=True)
    first, second = chunk_of(1, slots), chunk_of(2, slots)
    assert numbers(slots, 15) == [2, 1]
    offsets = [take(slots, chunk, 40000) for chunk in (first, second)]
    assert numbers(slots, 12) == [1, 2], "each fell to the end"
    first.area_map.free(offsets[0])
    slots.relocate(first, 12)
    take(slots, first, 30000)
    assert numbers(slots, 13) == [1]
    second.area_map.free(offsets[1])
    slots.relocate(second, 12)
    assert numbers(slots, 15) == [2]


def test_all_that_is_free_counts_not_the_largest_run() -> None:
    slots = AreaSlots(UNIT, has_free_slot=True)
    chunk = chunk_of(1, slots)
    offsets = [take(slots, chunk, 1024) for _ in range(64)]
    assert chunk.slot == 0
    for offset in offsets[::2]:
        old = slots.of_chunk(chunk)
        chunk.area_map.free(offset)
        slots.relocate(chunk, old)
    assert (chunk.area_map.contig_hint, chunk.slot) == (1024, slot_of_size(32 * 1024))


def test_a_chunk_whose_holes_are_all_tiny_is_on_list_0() -> None:
    slots = AreaSlots(UNIT, has_free_slot=True)
    chunk = chunk_of(1, slots)
    ones = [take(slots, chunk, 1) for _ in range(40)]
    take(slots, chunk, UNIT - 40)
    assert chunk.slot == 0
    for offset in ones[::2]:
        chunk.area_map.free(offset)
        slots.relocate(chunk, 0)
    assert (chunk.area_map.free_bytes, chunk.slot) == (20, 0), "no hole has 4 bytes"


def test_a_failed_scan_takes_a_chunk_to_list_0_and_the_search_goes_on() -> None:
    slots = AreaSlots(UNIT, has_free_slot=True)
    stale, other = chunk_of(1, slots), chunk_of(2, slots)
    eight = take(slots, stale, 8)
    ones = [take(slots, stale, 1) for _ in range(40)]
    take(slots, stale, UNIT - 48)
    for offset in (eight, *ones[1::2]):
        old = slots.of_chunk(stale)
        stale.area_map.free(offset)
        slots.relocate(stale, old)
    take(slots, stale, 8)
    take(slots, other, UNIT - 24)
    assert stale.area_map.contig_hint == 8 and stale.slot == other.slot == 2
    found = []
    for chunk in slots.candidates(8):
        found.append(chunk.number)
        old = slots.of_chunk(chunk)
        chunk.area_map.alloc(8, 1)
        slots.relocate(chunk, old)
    assert found == [1, 2] or found == [2, 1]
    assert stale.slot == 0 and stale.area_map.contig_hint == 1


def test_the_search_skips_what_the_hint_excludes() -> None:
    slots = AreaSlots(UNIT, has_free_slot=True)
    chunk_of(1, slots)
    small = chunk_of(2, slots)
    take(slots, small, UNIT - 100)
    assert [chunk.number for chunk in slots.candidates(100)] == [2, 1]
    assert [chunk.number for chunk in slots.candidates(101)] == [1]
    assert [chunk.number for chunk in slots.candidates(UNIT)] == [1]


def test_the_reserved_chunk_is_on_no_list() -> None:
    slots = AreaSlots(UNIT, has_free_slot=True)
    chunk = AreaChunk.fresh(number=RESERVED, base_addr=0, nr_pages=16)
    slots.relocate(chunk, NO_SLOT)
    assert chunk.slot == NO_SLOT and not any(slots.lists)
    slots.check_invariants([chunk])


def test_lists_that_cannot_be_are_found() -> None:
    slots = AreaSlots(UNIT, has_free_slot=True)
    chunk = chunk_of(1, slots)
    slots.check_invariants([chunk])
    with pytest.raises(InvariantBroken, match="every chunk once"):
        slots.check_invariants([chunk, AreaChunk.fresh(number=2, base_addr=0, nr_pages=16)])
    chunk.area_map.alloc(100, 1)
    with pytest.raises(InvariantBroken, match="chunk 1 is on list 15"):
        slots.check_invariants([chunk])
    slots.relocate(chunk, 15)
    slots.remove(chunk)
    slots.remove(chunk)
    assert chunk.slot == NO_SLOT
