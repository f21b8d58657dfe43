"""Where a request may lie in a chunk: what hints refuse, what the bits say."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_sim.percpu.chunk import Chunk
from kernel_sim.percpu.fit import (
    better_aligned,
    find_block_fit,
    find_zero_area,
    next_fit_region,
    unpopulated_end,
)
from kernel_sim.percpu.md_block import BLOCK_BITS

NR_PAGES = 4
ALIGNS = st.sampled_from([1, 2, 4, 16, 64, 1024])


def fresh(nr_pages: int = NR_PAGES) -> Chunk:
    return Chunk.fresh(number=1, base_addr=0xFFFFE8FF00000000, nr_pages=nr_pages)


def with_taken(bits: list[int], nr_pages: int = NR_PAGES) -> Chunk:
    chunk = fresh(nr_pages)
    for bit in sorted(dict.fromkeys(bits)):
        chunk.take_exactly(bit, 1)
    return chunk


@given(
    st.lists(st.integers(0, 2047), max_size=60),
    st.integers(0, 2000),
    st.integers(1, 1100),
    ALIGNS,
)
@settings(max_examples=150, deadline=None)
def test_the_first_aligned_free_place_in_the_window_is_found(
    bits: list[int], start: int, nr_bits: int, align_bits: int
) -> None:
    taken = dict.fromkeys(bits)
    chunk = with_taken(bits, 2)
    end = min(start + nr_bits + BLOCK_BITS, 2048)
    truth = next(
        (
            at
            for at in range(-(-start // align_bits) * align_bits, end - nr_bits + 1, align_bits)
            if not any(at <= bit < at + nr_bits for bit in taken)
        ),
        -1,
    )
    bit, passed_at, passed = find_zero_area(chunk, start, end, nr_bits, align_bits)
    assert bit == truth
    if passed:
        assert passed_at >= start and passed_at % align_bits == 0 and passed < nr_bits
        assert not any(passed_at <= bit < passed_at + passed for bit in taken)
        assert passed_at + passed in taken


@given(
    st.lists(st.tuples(st.integers(1, 1200), ALIGNS, st.booleans()), max_size=25),
    st.integers(0, (1 << NR_PAGES) - 1),
)
@settings(max_examples=100, deadline=None)
def test_an_area_for_an_atomic_request_lies_in_populated_pages(
    requests: list[tuple[int, int, bool]], populated: int
) -> None:
    chunk = fresh()
    for page in range(NR_PAGES):
        if populated >> page & 1:
            chunk.set_populated(page, page + 1)
    for nr_bits, align_bits, atomic in requests:
        start = find_block_fit(chunk, nr_bits, align_bits, atomic)
        bit = chunk.alloc_area(nr_bits, align_bits, start) if start >= 0 else -1
        if atomic and bit >= 0:
            pages = range(bit // BLOCK_BITS, (bit + nr_bits - 1) // BLOCK_BITS + 1)
            assert all(populated >> page & 1 for page in pages)


@given(st.lists(st.integers(0, 4095), max_size=40), st.integers(1, 2000), ALIGNS)
@settings(max_examples=100, deadline=None)
def test_what_the_hints_call_a_fit_is_one(bits: list[int], nr_bits: int, align_bits: int) -> None:
    chunk = with_taken(bits)
    start = find_block_fit(chunk, nr_bits, align_bits, False)
    if start >= 0:
        assert chunk.alloc_area(nr_bits, align_bits, start) >= start


def test_a_request_is_refused_if_alignment_eats_the_hint() -> None:
    chunk = with_taken([0], 1)
    assert find_block_fit(chunk, 1020, 8, False) == -1
    start = find_block_fit(chunk, 1016, 8, False)
    assert chunk.alloc_area(1016, 8, start) == 8


def test_free_ends_of_neighbouring_blocks_are_joined() -> None:
    chunk = with_taken([1000, 2048 + 24])
    assert next_fit_region(chunk, 1001, 1060, 1) == (1001, 23 + 1024 + 24)


def test_a_chunk_without_a_region_gives_its_end() -> None:
    chunk = with_taken(list(range(0, 4096, 8)))
    assert next_fit_region(chunk, 0, 8, 1) == (4096, 0)


@pytest.mark.parametrize(
    ("populated", "bit", "length", "resume"),
    [
        (0b1111, 0, 4096, -1),
        (0b1011, 0, 2048, -1),
        (0b1011, 0, 2049, 3072),
        (0b1011, 0, 4096, 3072),
        (0b0001, 0, 3000, 3072),
        (0b0000, 1500, 10, 2048),
        (0b0100, 1500, 1000, 2048),
    ],
)
def test_behind_missing_pages_the_search_resumes_at_the_next_backed_one(
    populated: int, bit: int, length: int, resume: int
) -> None:
    chunk = fresh()
    chunk.populated = populated
    assert unpopulated_end(chunk, bit, length) == resume


@pytest.mark.parametrize(
    ("at", "held", "origin", "wins"),
    [
        (8, 4, 0, True),
        (4, 8, 0, False),
        (0, 8, 0, True),
        (8, 0, 0, False),
        (8, 0, 1024, False),
        (12, 4, 4, True),
    ],
)
def test_better_alignment_wins_counted_from_the_origin(
    at: int, held: int, origin: int, wins: bool
) -> None:
    assert better_aligned(at, held, origin) is wins


def test_of_the_runs_passed_over_the_largest_is_named() -> None:
    chunk = with_taken([0, 1, 10, 15], 1)
    assert find_zero_area(chunk, 0, 1024, 10, 1) == (16, 2, 8)


def test_of_equal_runs_passed_over_the_best_aligned_is_named() -> None:
    chunk = with_taken([0, 5, 6, 7, 12, 13, 14, 19], 1)  # runs of four at 1, 8 and 15
    assert find_zero_area(chunk, 0, 1024, 10, 1) == (20, 8, 4)
