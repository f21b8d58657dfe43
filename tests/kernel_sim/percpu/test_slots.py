"""On which list a chunk stands, and where in it."""

from __future__ import annotations

import pytest

from kernel_sim.percpu.chunk import Chunk
from kernel_sim.percpu.slots import ChunkSlots


def chunk(number: int, contig_bits: int = 0, free_bytes: int = 32768) -> Chunk:
    new = Chunk.fresh(number=number, base_addr=number << 20, nr_pages=8)
    new.md.contig_hint = contig_bits
    new.free_bytes = free_bytes
    return new


@pytest.mark.parametrize(
    ("unit", "special"), [(32768, (14, 15, 16, 17)), (262144, (17, 18, 19, 20))]
)
def test_a_unit_decides_how_many_lists_there_are(unit: int, special: tuple[int, ...]) -> None:
    slots = ChunkSlots.for_unit(unit)
    assert (slots.sidelined, slots.free, slots.to_depopulate, len(slots.lists)) == special


@pytest.mark.parametrize(
    ("size", "slot"),
    [(4, 1), (15, 1), (16, 2), (31, 2), (32, 3), (63, 3), (64, 4), (127, 4), (4096, 10),
     (32764, 12), (32768, 15)],
)  # fmt: skip
def test_a_size_has_the_list_of_its_bit_length(size: int, slot: int) -> None:
    assert ChunkSlots.for_unit(32768).of_size(size) == slot


def test_a_unit_that_is_no_request_counts_by_bit_length_below_itself() -> None:
    assert ChunkSlots.for_unit(65536).of_size(32768) == 13


def test_a_chunk_without_room_is_on_list_0() -> None:
    slots = ChunkSlots.for_unit(32768)
    assert slots.of_chunk(chunk(1, 0)) == 0
    assert slots.of_chunk(chunk(1, 4, free_bytes=0)) == 0
    assert slots.of_chunk(chunk(1, 4)) == 2
    assert slots.of_chunk(chunk(1, 8192)) == slots.free


def test_moving_puts_a_chunk_at_head_or_tail_and_on_one_list_only() -> None:
    slots = ChunkSlots.for_unit(32768)
    a, b, c = chunk(1), chunk(2), chunk(3)
    slots.move(a, 5, to_front=True)
    slots.move(b, 5, to_front=True)
    slots.move(c, 5, to_front=False)
    assert slots.lists[5] == [b, a, c]
    slots.move(b, 6, to_front=True)
    assert [other.number for other in slots.lists[5]] == [1, 3]
    assert (a.slot, b.slot) == (5, 6)
    slots.remove(a)
    assert a.slot == -1
    assert [other.number for other in slots.lists[5]] == [3]


def test_equal_chunks_are_told_apart() -> None:
    slots = ChunkSlots.for_unit(32768)
    a, b = chunk(1), chunk(1)
    slots.move(a, 5, to_front=False)
    slots.move(b, 5, to_front=False)
    slots.remove(b)
    assert slots.lists[5][0] is a


@pytest.mark.parametrize("leave", [False, True])
def test_a_chunk_says_that_its_list_changed(leave: bool) -> None:
    slots = ChunkSlots.for_unit(32768)
    a = chunk(1)
    slots.move(a, 5, to_front=True)
    a.changed = False
    if leave:
        slots.remove(a)
    else:
        slots.move(a, 6, to_front=True)
    assert a.changed
