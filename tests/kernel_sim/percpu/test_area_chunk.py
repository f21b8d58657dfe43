"""A chunk's pages and state, and the chunks that boot makes of the first unit."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kernel_sim.component import from_plain, to_plain
from kernel_sim.percpu.area_chunk import (
    BOOT_CAPACITY,
    FIRST,
    RESERVED,
    AreaChunk,
    AreaChunkRow,
    first_chunks,
    static_chunk,
)

BASE = 0x10000


def firsts(static: int, reserved: int, dyn: int) -> list[AreaChunk]:
    return first_chunks(
        base_addr=BASE,
        nr_pages=16,
        static_size_bytes=static,
        reserved_size_bytes=reserved,
        dyn_size_bytes=dyn,
    )


def test_two_chunks_share_the_first_unit_where_modules_have_room_of_their_own() -> None:
    reserved, first = firsts(1001, 8192, 5000)
    assert (reserved.number, first.number) == (RESERVED, FIRST)
    assert reserved.area_map.entries() == [-1001, 8192]
    assert first.area_map.entries() == [-9193, 5000]
    for chunk in (reserved, first):
        assert chunk.immutable and chunk.populated == 0xFFFF
        assert chunk.area_map.capacity == BOOT_CAPACITY
        assert not list(chunk.areas())
    assert (reserved.hidden_bytes, first.hidden_bytes) == (1001, 9193)


def test_without_a_reserve_there_is_one_even_with_nothing_to_serve() -> None:
    (first,) = firsts(1000, 0, 24)
    assert (first.number, first.area_map.entries()) == (FIRST, [-1000, 24])
    (first,) = firsts(1000, 0, 0)
    assert (first.number, first.area_map.entries(), first.hidden_bytes) == (FIRST, [-1000], 1000)


def test_with_a_reserve_and_nothing_dynamic_there_is_no_chunk_0() -> None:
    assert [chunk.number for chunk in firsts(1000, 8192, 0)] == [RESERVED]


def test_the_static_chunk_of_the_first_commit() -> None:
    chunk = static_chunk(base_addr=BASE, nr_pages=16, static_size_bytes=5000, serves_rest=True)
    assert (chunk.number, chunk.immutable, chunk.populated) == (FIRST, False, 0b11)
    assert chunk.area_map.entries() == [-5000, 65536 - 5000]
    assert chunk.area_map.capacity == 0
    alone = static_chunk(base_addr=BASE, nr_pages=16, static_size_bytes=5000, serves_rest=False)
    assert alone.area_map.entries() == [-5000]


@given(st.lists(st.booleans(), min_size=16, max_size=16), st.integers(0, 15), st.integers(1, 16))
def test_runs_are_what_is_there_and_what_is_not(pages: list[bool], start: int, length: int) -> None:
    chunk = AreaChunk.fresh(number=1, base_addr=BASE, nr_pages=16)
    for page, is_there in enumerate(pages):
        chunk.set_populated(page, page + 1, is_there=is_there)
    end = min(start + length, 16)
    seen: list[bool | None] = [None] * 16
    for is_there, runs in (
        (True, chunk.populated_runs(start, end)),
        (False, chunk.unpopulated_runs(start, end)),
    ):
        last = -1
        for low, high in runs:
            assert last < low < high, "runs are apart and ascending"
            last = high
            seen[low:high] = [is_there] * (high - low)
    assert seen[start:end] == pages[start:end]
    assert seen[:start] + seen[end:] == [None] * (16 - end + start)


def test_a_chunk_goes_through_plain_data() -> None:
    chunk = AreaChunk.fresh(number=3, base_addr=BASE, nr_pages=16)
    for size, align in ((100, 4), (3, 1), (4096, 4096)):
        chunk.area_map.alloc(size, align)
    chunk.area_map.free(0)
    chunk.area_map.contig_hint = 65536
    chunk.set_populated(0, 2, is_there=True)
    chunk.data, chunk.slot, chunk.written, chunk.large_pfns = (5, 6), 7, True, (8,)
    row = chunk.state_row()
    again = from_plain(AreaChunkRow, to_plain(row)).chunk()
    assert not again.is_changed and chunk.is_changed
    assert again.area_map == chunk.area_map
    assert again.state_row() == row
    again.area_map.check_invariants()
    again.area_map.alloc(8, 8)
    assert again.is_changed
