"""Chunks side by side: areas by place or by name, pages by runs, hints by block."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_sim.machine_state import Parts
from kernel_sim.mm.paging_modes import paging_mode
from kernel_sim.percpu.chunk import Chunk
from kernel_sim.percpu.state import dump_chunk
from snapshots.diff.chunks import chunk_rows
from snapshots.diff.rows import AreaName, DiffRow, DiffSide

MODE = paging_mode("x86-64", 4)
BASE = 0x10000


def side_of(*chunks: Chunk, **names: AreaName) -> DiffSide:
    parts: Parts = {f"chunk.{chunk.number}": dump_chunk(chunk) for chunk in chunks}
    by_addr = {int(addr.removeprefix("at_"), 16): name for addr, name in names.items()}
    return DiffSide(parts, {}, 1, MODE, by_addr)


def fresh(number: int = 1, base_addr: int = BASE) -> Chunk:
    chunk = Chunk.fresh(number=number, base_addr=base_addr, nr_pages=4)
    chunk.set_populated(0, 2)
    return chunk


def with_areas(*areas: tuple[int, int], number: int = 1, base_addr: int = BASE) -> Chunk:
    """Return a chunk with areas of (offset, size) in bytes."""
    chunk = fresh(number, base_addr)
    for offset, size_bytes in areas:
        chunk.take_exactly(offset // 4, size_bytes // 4)
    return chunk


def rows_between(one: DiffSide, other: DiffSide, *groups: str) -> list[DiffRow]:
    names = [n for n in {**one.parts, **other.parts} if one.parts.get(n) != other.parts.get(n)]
    return [row for _, row in chunk_rows(one, other, names) if not groups or row.group in groups]


AREAS = st.dictionaries(
    st.integers(0, 30).map(lambda at: at * 64), st.integers(1, 16).map(lambda n: n * 4)
)


@settings(max_examples=150, deadline=None)
@given(AREAS, AREAS)
def test_areas_born_and_died_are_the_difference_of_two_lists(
    was: dict[int, int], now: dict[int, int]
) -> None:
    rows = rows_between(
        side_of(with_areas(*was.items())), side_of(with_areas(*now.items())), "areas"
    )
    assert sorted((row.change, row.what, row.where) for row in rows) == sorted(
        (word, f"area of {size} bytes", f"chunk 1 +{offset:#x}")
        for word, mine, yours in (("died", was, now), ("born", now, was))
        for offset, size in mine.items()
        if yours.get(offset) != size
    )


def test_a_named_area_that_lies_elsewhere_has_moved_also_to_another_chunk() -> None:
    name = AreaName("f+0x1", 64, 1)
    one = side_of(
        with_areas((0, 64)), with_areas((0, 8), number=2, base_addr=0x90000), at_10000=name
    )
    other = side_of(
        with_areas(), with_areas((0, 8), (128, 64), number=2, base_addr=0x90000), at_90080=name
    )
    assert rows_between(one, other, "areas") == [
        DiffRow(
            "areas",
            "moved",
            "area of 64 bytes",
            "from f+0x1, its #1",
            "chunk 1 +0x0",
            "chunk 2 +0x80",
        )
    ]
    assert not rows_between(one, other, "chunks")


def test_an_area_at_the_same_place_under_another_name_is_another_one() -> None:
    one = side_of(with_areas((0, 64), (512, 8)), at_10000=AreaName("f", 64, 1))
    other = side_of(with_areas((0, 64)), at_10000=AreaName("g", 64, 1))
    assert [(row.change, row.was, row.now) for row in rows_between(one, other, "areas")] == [
        ("died", "from f, its #1", None),
        ("died", "0x10200 in unit 0", None),
        ("born", None, "from g, its #1"),
    ]


def test_pages_are_told_in_runs() -> None:
    one, other = fresh(), fresh()
    other.set_depopulated(1, 2)
    other.set_populated(2, 4)
    rows = rows_between(side_of(one), side_of(other), "chunk pages")
    assert [row[1:] for row in rows] == [
        ("populated", "pages 2-3", "chunk 1 +0x2000-0x3fff, every unit", None, 2),
        ("depopulated", "page 1", "chunk 1 +0x1000-0x1fff, every unit", 1, None),
    ]


def test_hints_are_one_row_a_block_with_the_fields_that_differ() -> None:
    rows = rows_between(side_of(with_areas()), side_of(with_areas((0, 4096))), "hints")
    assert [(row.what, row.was, row.now) for row in rows] == [
        (
            "chunk_md",
            "contig_hint 4096, contig_hint_start 0, right_free 4096, first_free 0",
            "contig_hint 3072, contig_hint_start 1024, right_free 3072, first_free 1024",
        ),
        (
            "block 0",
            "contig_hint 1024, left_free 1024, right_free 1024, first_free 0",
            "contig_hint 0, left_free 0, right_free 0, first_free 1024",
        ),
    ]


def test_a_chunk_is_born_dies_and_lies_elsewhere() -> None:
    one, other = side_of(), side_of(fresh())
    born, pages = rows_between(one, other)
    assert born[:5] == ("chunks", "born", "chunk 1", "0x10000", None)
    assert born.now == "4 pages a unit, 16384 bytes free"
    assert (pages.change, pages.what) == ("populated", "pages 0-1")
    assert rows_between(other, one)[0].change == "died"
    (moved,) = rows_between(other, side_of(fresh(base_addr=0x20000)))
    assert moved == ("chunks", "moved", "chunk 1", "base_addr", "0x10000", "0x20000")


def test_bits_outside_of_areas_and_figures_are_told_too() -> None:
    hidden = fresh()
    hidden.start_offset = 64
    stray = replace(hidden, alloc_map=[0xF, *hidden.alloc_map[1:]])
    assert [row.what for row in rows_between(side_of(hidden), side_of(stray))] == [
        "alloc map of chunk 1"
    ]
    values: dict[str, Any] = {"slot": 7, "free_bytes": 12, "written": True}
    for name, value in values.items():
        other = replace(hidden, **{name: value})
        assert [row.what for row in rows_between(side_of(hidden), side_of(other))] == [name]
    other = replace(hidden, data=(5,))
    assert [row.what for row in rows_between(side_of(hidden), side_of(other))] == [
        "memory of chunk 1"
    ]
