from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kernel_sim.percpu.stretch import FREE, Stretch
from tests.tui.debugger.test_strips import index_of
from tui.debugger.strips import StripIndex
from tui.debugger.views.strip_layout import (
    StripLayout,
    cells_that_fit,
    gutter_name_width,
    suitable_cell,
    widest_cell,
)


def strips_of(*named: tuple[str, int]) -> StripIndex:
    at, found = 0x10000, []
    for name, size in named:
        found.append(Stretch(name, at, size, FREE, "free", 0))
        at += size + 0x1000
    return index_of(*found)


def laid_out(index: StripIndex, bytes_per_cell: int, cells: int) -> StripLayout:
    index.read_all()
    layout = StripLayout(index, bytes_per_cell, cells)
    layout.lay_known()
    return layout


def test_a_long_strip_goes_on_in_the_next_row_and_groups_have_a_heading() -> None:
    index = strips_of(("alone", 64), ("block 0, cpu 0", 40), ("block 0, cpu 1", 80))
    layout = laid_out(index, 4, 16)
    assert [(line.text, [piece[1:] for piece in line.pieces]) for line in layout.lines] == [
        ("alone", [(0, 16, 0)]),
        ("block 0  0x11040", []),
        ("cpu 0", [(0, 10, 0)]),
        ("cpu 1", [(0, 16, 0)]),
        ("", [(0, 4, 64)]),
    ]
    assert [line.size_bytes for line in layout.lines] == [64, -1, 40, 80, -1]


def test_small_strips_of_one_group_share_a_row() -> None:
    index = strips_of(*((f"area 1, cpu {cpu}", 8) for cpu in range(7)), ("area 2, cpu 0", 8))
    layout = laid_out(index, 8, 10)
    assert [line.text for line in layout.lines] == ["area 1", "", "area 2"]
    assert [piece.column for piece in layout.lines[0].pieces] == [0, 2, 4, 6, 8]
    assert layout.lines[0].size_bytes == 40 and layout.lines[1].size_bytes == 16


NAMES = st.sampled_from(["alone", "block 0, cpu", "block 0, management", "area of cpu", "x, y"])


@given(
    st.lists(st.tuples(NAMES, st.integers(1, 700)), min_size=1, max_size=30),
    st.sampled_from([4, 8, 32]),
    st.sampled_from([8, 16, 64]),
)
def test_every_byte_has_a_cell_and_the_cell_says_so(
    named: list[tuple[str, int]], bytes_per_cell: int, cells: int
) -> None:
    index = strips_of(*((f"{name} {at}", size) for at, (name, size) in enumerate(named)))
    layout = laid_out(index, bytes_per_cell, cells)
    seen = set()
    for strip in index.strips:
        for at in range(0, strip.size_bytes, bytes_per_cell):
            where = layout.cell_of(strip.name, at)
            assert where is not None and where not in seen
            seen.add(where)
            place = layout.place_at(*where)
            assert place is not None and (place.strip, place.start_bytes) == (strip.name, at)
            assert place.size_bytes == min(bytes_per_cell, strip.size_bytes - at)
            assert layout.nearest_column(*where) == where[1] < cells
        assert layout.cell_of(strip.name, strip.size_bytes) is None
    shown = sum(piece.nr_cells for line in layout.lines for piece in line.pieces)
    assert shown == len(seen)


def test_lines_are_laid_out_as_far_as_somebody_looks() -> None:
    index = strips_of(*((f"area of cpu {cpu}", 4096) for cpu in range(9000)))
    layout = StripLayout(index, 64, 64, head=("title",))
    layout.reach_line(10)
    assert 10 < len(layout.lines) < 9000
    assert layout.reach_strip("area of cpu 8999") is not None and index.nr_stretches == 9000
    assert layout.reach_strip("no such") is None
    assert layout.place_at(0, 0) is None and layout.nearest_column(0, 3) is None


def test_what_suits_the_window() -> None:
    index = strips_of(("area of cpu 0", 32768), ("area of cpu 1", 32768), ("table", 1 << 20))
    assert (
        suitable_cell(index, 64, 20) == 1024
    )  # a copy takes half a row, and no more rows are left
    assert suitable_cell(index, 64, 200) == 128
    assert widest_cell(index, 64) == 1 << 14
    assert gutter_name_width(index, 20) == 13 and gutter_name_width(index, 3) == 3
    assert cells_that_fit(57) == 56 and cells_that_fit(3) == 8
