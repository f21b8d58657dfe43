"""Counters and the figures about how a chunk is cut up."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_sim.percpu.chunk import Chunk
from kernel_sim.percpu.first_chunk import served_region
from kernel_sim.percpu.statistics import Fragmentation, PercpuStatistics, fragmentation


def fresh() -> Chunk:
    return Chunk.fresh(number=1, base_addr=0xFFFFE8FF00000000, nr_pages=2)


def cut(*areas: tuple[int, int]) -> Chunk:
    chunk = fresh()
    for bit, nr_bits in areas:
        chunk.take_exactly(bit, nr_bits)
    return chunk


def test_an_empty_chunk_has_no_figures() -> None:
    assert fragmentation(fresh()) == Fragmentation(0, 0, 0, 0, 0)


def test_space_behind_the_last_area_is_no_fragment() -> None:
    assert fragmentation(cut((0, 10))) == Fragmentation(0, 0, 40, 40, 40)


def test_gaps_before_areas_are_summed_and_the_middle_one_of_all_is_the_median() -> None:
    chunk = cut((2, 1), (10, 4), (15, 2))
    assert fragmentation(chunk) == Fragmentation(
        sum_frag=40, max_frag=28, cur_min_alloc=4, cur_med_alloc=8, cur_max_alloc=16
    )


def test_an_area_up_to_the_end_reads_one_granule_short() -> None:
    assert fragmentation(cut((0, 2048))).cur_max_alloc == 4 * 2047
    assert fragmentation(cut((0, 2047))).cur_max_alloc == 4 * 2047


def test_an_area_of_the_last_granule_alone_is_seen_only_if_nothing_else_is_taken() -> None:
    assert fragmentation(cut((0, 1), (2047, 1))) == Fragmentation(0, 0, 4, 4, 4)


def test_hidden_ends_are_neither_area_nor_gap() -> None:
    chunk = served_region(0, 0x1000 + 400, 4000)
    assert fragmentation(chunk) == Fragmentation(0, 0, 0, 0, 0)
    chunk.take_exactly(100 + 3, 5)
    assert fragmentation(chunk) == Fragmentation(12, 12, 20, 20, 20)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 40)), min_size=1, max_size=25))
@settings(deadline=None)
def test_figures_are_those_of_the_plain_list(pieces: list[tuple[int, int]]) -> None:
    chunk = fresh()
    gaps: list[int] = []
    areas: list[int] = []
    at = 0
    for gap, nr_bits in pieces:
        at += gap
        chunk.take_exactly(at, nr_bits)
        at += nr_bits
        gaps += [gap * 4] if gap else []
        areas.append(nr_bits * 4)
    ordered = sorted([-gap for gap in gaps]) + sorted(areas)
    assert fragmentation(chunk) == Fragmentation(
        sum(gaps),
        max(gaps, default=0),
        min(areas),
        ordered[(len(gaps) + len(ordered) - 1) // 2],
        max(areas),
    )


def test_counters_keep_the_most_and_the_least() -> None:
    counters = PercpuStatistics(min_alloc_bytes=32768)
    a, b = fresh(), fresh()
    counters.area_alloc(a, 100)
    counters.area_alloc(b, 8)
    counters.area_dealloc(a)
    counters.area_alloc(b, 16)
    assert (counters.nr_alloc, counters.nr_dealloc, counters.nr_cur_alloc) == (3, 1, 2)
    assert (counters.nr_max_alloc, counters.min_alloc_bytes, counters.max_alloc_bytes) == (
        2,
        8,
        100,
    )
    assert (a.nr_alloc, a.max_alloc_bytes, b.nr_alloc, b.max_alloc_bytes) == (0, 100, 2, 16)


def test_chunks_are_counted_now_and_at_most() -> None:
    counters = PercpuStatistics()
    counters.chunk_alloc()
    counters.chunk_alloc()
    counters.chunk_dealloc()
    assert (counters.nr_chunks, counters.nr_max_chunks) == (1, 2)
