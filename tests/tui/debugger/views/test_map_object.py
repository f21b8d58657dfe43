from __future__ import annotations

from tui.debugger.births import first_areas
from tui.debugger.session import Session
from tui.debugger.views.chunk_map import Place
from tui.debugger.views.map_object import (
    address_of,
    band_title,
    count,
    describe,
    object_span,
    unknown_bits,
)

FIRST = 0x37000  # unit offset of the first chunk on this machine
CELL = 4


def test_a_byte_of_unit_space_lies_in_every_cpus_unit(busy: Session) -> None:
    machine = busy.machine
    for cpu, offset in enumerate(machine.places.unit_offsets):
        assert address_of(machine, 0, 0, cpu) == machine.percpu.base_addr + offset
        wanted = machine.percpu.chunks[1].base_addr + offset + 8
        assert address_of(machine, 1, 8, cpu) == wanted
    assert address_of(machine, 99, 0, 0) is None


def test_the_object_under_a_cell_is_the_whole_area(busy: Session) -> None:
    bit, nr_bits = next(busy.machine.percpu.chunks[0].areas())
    start = FIRST + bit * 4
    assert object_span(busy.machine, Place(0, start + 4, CELL)) == (start, start + nr_bits * 4)
    assert object_span(busy.machine, Place(0, start, 4096)) is None
    assert object_span(busy.machine, Place(0, 0, CELL)) is None


def test_a_cell_is_described_by_what_it_holds(busy: Session) -> None:
    bit, nr_bits = next(busy.machine.percpu.chunks[0].areas())
    text = describe(busy, Place(0, FIRST + bit * 4, CELL))
    assert f"+{bit * 4:#x}  {nr_bits * 4} B" in text and "born at step" in text
    assert "is not populated" in describe(busy, Place(1, 0xFF000, CELL))
    assert "static +0x0" in describe(busy, Place(-1, 0, CELL))
    assert "given back" in describe(busy, Place(0, 0x80000, CELL))
    assert "served by the reserved chunk" in describe(busy, Place(0, 0x35000, CELL))
    assert "4 pages" in describe(busy, Place(1, 0, 4 * 4096))
    assert "there is no chunk 7" in describe(busy, Place(7, 0, CELL))


def test_a_heading_says_how_full_a_chunk_is(busy: Session) -> None:
    title = band_title(busy.machine, busy.machine.percpu.chunks[1])
    assert title.startswith("chunk 1 ") and "/256 pages" in title and "1 area " in title


def test_areas_from_before_the_record_are_unknown_until_they_are_freed(busy: Session) -> None:
    chunk = busy.machine.percpu.chunks[0]
    assert first_areas(busy.timeline) == {}
    known = tuple(chunk.areas())
    older = ((known[0][0], known[0][1]),)
    assert unknown_bits(busy, chunk, {chunk.base_addr: older}) == {}  # the record tells of it
    other = busy.machine.percpu.chunks[1]
    other.alloc_area(8, 1, 0x8000)
    bits = unknown_bits(busy, other, {other.base_addr: ((0x8000, 8),)})
    assert bits == {32: 0xFF}


def test_words_agree_with_numbers() -> None:
    assert [count(number, "area") for number in (0, 1, 2)] == ["0 areas", "1 area", "2 areas"]
