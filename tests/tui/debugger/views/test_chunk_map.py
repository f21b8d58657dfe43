from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_sim.percpu.chunk import RESERVED, Chunk
from kernel_sim.percpu.first_chunk import served_region
from kernel_sim.percpu.md_block import BLOCK_BITS
from tui.debugger.session import Session
from tui.debugger.views.chunk_map import (
    CHANGED,
    GLYPHS,
    KIND_BITS,
    OBJECT,
    Before,
    Kind,
    cell_for_height,
    cells_that_fit,
    lay_out,
    row_codes,
    runs,
    widest_cell,
)

PAGE = 4096
SIZES = [4 << shift for shift in range(14)]  # 4 bytes to 32 KiB
NR_PAGES = 8


def kinds(codes: bytes) -> list[Kind]:
    return [Kind(code & KIND_BITS) for code in codes]


@st.composite
def chunks(draw: st.DrawFn) -> Chunk:
    chunk = Chunk.fresh(number=3, base_addr=1 << 46, nr_pages=NR_PAGES)
    for page in range(NR_PAGES):
        if draw(st.booleans()):
            chunk.set_populated(page, page + 1)
    for _ in range(draw(st.integers(0, 12))):
        nr_bits = draw(st.integers(1, 2 * BLOCK_BITS))
        start = chunk.find_block_fit(nr_bits, 1, False)
        if start >= 0:
            chunk.alloc_area(nr_bits, 1, start)
    for bit, nr_bits in tuple(chunk.areas()):
        if draw(st.booleans()):
            chunk.free_area(bit, nr_bits)
    return chunk


def slow_kind(chunk: Chunk, start: int, size: int) -> set[Kind]:
    """Judge a cell bit by bit."""
    taken = {bit for first, length in chunk.areas() for bit in range(first, first + length)}
    bits = range(start // 4, (start + size) // 4)
    nr_used = sum(bit in taken for bit in bits)
    pages = {bit // BLOCK_BITS for bit in bits}
    is_backed = any(chunk.populated >> page & 1 for page in pages)
    if not nr_used:
        in_use = any(bit // BLOCK_BITS in pages for bit in taken)
        return {Kind.UNPOPULATED if not is_backed else Kind.FREE if in_use else Kind.EMPTY}
    if not is_backed:
        return {Kind.UNBACKED}
    if nr_used == len(bits):
        return {Kind.AREA, Kind.AREA_ODD}
    return {(Kind.LOW, Kind.MIDDLE, Kind.HIGH)[nr_used * 3 // len(bits)]}


@given(chunks(), st.sampled_from(SIZES), st.data())
def test_every_cell_is_what_its_bits_are(chunk: Chunk, size: int, data: st.DataObject) -> None:
    nr_cells = NR_PAGES * PAGE // size
    first = data.draw(st.integers(0, nr_cells - 1))
    count = min(nr_cells - first, 40)
    codes = row_codes(chunk, 0, first * size, count, size)
    for at, kind in enumerate(kinds(codes)):
        assert kind in slow_kind(chunk, (first + at) * size, size)


@given(chunks())
def test_neighbouring_areas_differ_in_shade_and_an_area_has_one(chunk: Chunk) -> None:
    nr_cells = NR_PAGES * BLOCK_BITS
    shades = kinds(row_codes(chunk, 0, 0, nr_cells, 4))
    areas = [
        (bit, nr_bits)
        for bit, nr_bits in chunk.areas()
        if chunk.populated >> bit // BLOCK_BITS & 1
        and chunk.populated >> (bit + nr_bits - 1) // BLOCK_BITS & 1
    ]
    for bit, nr_bits in areas:
        seen = {shade for shade in shades[bit : bit + nr_bits] if shade is not Kind.UNBACKED}
        assert len(seen) == 1
    for (bit, nr_bits), (after, _) in pairwise(areas):
        if bit + nr_bits == after:
            assert shades[bit] is not shades[after]


@given(chunks(), st.sampled_from(SIZES), st.integers(1, 200))
def test_exactly_the_cells_that_differ_from_the_last_stop_are_marked(
    chunk: Chunk, size: int, nr_bits: int
) -> None:
    before = Before.of(chunk)
    start = chunk.find_block_fit(nr_bits, 1, False)
    bit = chunk.alloc_area(nr_bits, 1, start) if start >= 0 else -1
    codes = row_codes(chunk, 0, 0, NR_PAGES * PAGE // size, size, before=before)
    marked = {at for at, code in enumerate(codes) if code & CHANGED}
    wanted = set(range(bit * 4 // size, -(-(bit + nr_bits) * 4 // size))) if bit >= 0 else set()
    assert marked == wanted


def test_a_page_that_was_backed_is_marked_too() -> None:
    chunk = Chunk.fresh(number=1, base_addr=0, nr_pages=4)
    before = Before.of(chunk)
    chunk.set_populated(1, 2)
    assert [code & CHANGED for code in row_codes(chunk, 0, 0, 4, PAGE, before=before)] == [
        0,
        CHANGED,
        0,
        0,
    ]


def test_a_boot_chunk_shows_static_before_it_hidden_ends_and_nothing_behind() -> None:
    chunk = served_region(0, 0x3010, 0x1000)  # begins 0x10 into page 3, ends 0x10 into page 4
    codes = kinds(row_codes(chunk, 0x3000, 0x2FF0, 3, 16, static_bytes=0x3010))
    assert codes == [Kind.STATIC, Kind.HIDDEN, Kind.EMPTY] or codes == [
        Kind.STATIC,
        Kind.HIDDEN,
        Kind.FREE,
    ]
    assert kinds(row_codes(chunk, 0x3000, 0x4000, 3, 16)) == [Kind.FREE, Kind.HIDDEN, Kind.HIDDEN]
    assert kinds(row_codes(chunk, 0x3000, 0x5000, 1, 16)) == [Kind.OUTSIDE]


def test_free_space_of_the_reserved_chunk_has_a_kind_of_its_own() -> None:
    chunk = served_region(RESERVED, 0, PAGE)
    assert set(kinds(row_codes(chunk, 0, 0, 16, 256))) == {Kind.RESERVED}


def test_what_nobody_knows_is_unknown_and_a_cell_with_something_known_is_not() -> None:
    chunk = Chunk.fresh(number=1, base_addr=0, nr_pages=1)
    chunk.set_populated(0, 1)
    chunk.alloc_area(8, 1, 0)
    chunk.alloc_area(8, 1, 8)
    unknown = {0: 0xFF}
    assert kinds(row_codes(chunk, 0, 0, 2, 32, unknown=unknown)) == [Kind.UNKNOWN, Kind.AREA_ODD]
    assert kinds(row_codes(chunk, 0, 0, 1, 64, unknown=unknown)) == [Kind.AREA]


def test_the_cells_of_the_object_under_the_cursor_are_told_apart() -> None:
    chunk = Chunk.fresh(number=1, base_addr=0, nr_pages=1)
    codes = row_codes(chunk, 0, 0, 8, 16, marked=(20, 40))
    assert [bool(code & OBJECT) for code in codes] == [False, True, True] + [False] * 5


def test_every_kind_has_a_glyph_of_its_own() -> None:
    assert set(GLYPHS) == set(Kind)
    assert len(set(GLYPHS.values())) == len(Kind)


@given(st.binary(max_size=50))
def test_runs_put_together_are_the_line(codes: bytes) -> None:
    found = runs(codes)
    assert b"".join(bytes([code]) * (end - start) for start, end, code in found) == codes
    assert all(a[2] != b[2] for a, b in pairwise(found))


@pytest.mark.parametrize("size", SIZES)
def test_line_and_column_of_a_byte_lead_back_to_its_cell(boot_example, size: int) -> None:  # type: ignore[no-untyped-def]
    session: Session = boot_example("numa2-4cpu")
    layout = lay_out(session.machine, size, 64)
    assert layout.nr_lines == sum(band.nr_lines for band in layout.bands)
    for band in layout.bands:
        chunk = session.machine.percpu.chunks[band.number]
        for off in (0, 4, chunk.nr_pages * PAGE // 2, chunk.nr_pages * PAGE - 4):
            at = band.origin_bytes + off
            cell = layout.cell_of(band.number, at)
            assert cell is not None
            place = layout.place_at(*cell)
            assert place is not None and place.number == band.number
            assert place.start_bytes <= at < place.start_bytes + place.size_bytes


def test_only_a_map_of_more_than_one_line_a_chunk_has_headings(boot_example) -> None:  # type: ignore[no-untyped-def]
    session: Session = boot_example("numa2-4cpu")
    unit = session.machine.percpu.unit_size_bytes
    assert [band.nr_lines for band in lay_out(session.machine, unit // 64, 64).bands] == [1, 1]
    finer = lay_out(session.machine, unit // 128, 64)
    assert [band.nr_headings for band in finer.bands] == [1, 1]
    assert finer.place_at(finer.bands[0].top_line, 0) is None


@pytest.mark.parametrize(
    ("width", "cells"), [(8, 8), (63, 32), (64, 64), (110, 64), (128, 128), (3, 8)]
)
def test_a_line_has_a_power_of_two_of_cells(width: int, cells: int) -> None:
    assert cells_that_fit(width) == cells


def test_a_suitable_cell_is_the_smallest_that_keeps_a_unit_in_the_window() -> None:
    assert widest_cell(1 << 20, 64) == 16384
    for nr_rows in (1, 2, 3, 4, 9, 100):
        size = cell_for_height(1 << 20, 64, nr_rows)
        assert -(-(1 << 20) // (size * 64)) <= nr_rows
        assert size == 4 or (1 << 20) // (size // 2 * 64) > nr_rows
    assert cell_for_height(32 << 10, 64, 1 << 20) == 4
