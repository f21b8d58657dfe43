"""When a chunk has so many empty pages that some of them go back."""

from __future__ import annotations

import pytest

from kernel_sim.percpu.chunk import RESERVED, Chunk
from kernel_sim.percpu.reclaim import should_reclaim


def chunk(nr_empty: int, *, number: int = 1, isolated: bool = False) -> Chunk:
    new = Chunk.fresh(number=number, base_addr=0, nr_pages=16)
    new.nr_empty_pop_pages, new.isolated = nr_empty, isolated
    return new


@pytest.mark.parametrize(
    ("in_all", "in_chunk", "goes"),
    [(9, 4, True), (8, 4, False), (8, 3, False), (100, 3, False), (100, 4, True), (0, 0, False)],
)
def test_a_quarter_of_its_pages_must_be_empty_and_others_must_have_more_than_four(
    in_all: int, in_chunk: int, goes: bool
) -> None:
    assert should_reclaim(in_all, chunk(in_chunk)) is goes


def test_an_isolated_chunk_goes_with_any_empty_page() -> None:
    assert should_reclaim(0, chunk(1, isolated=True))
    assert not should_reclaim(100, chunk(0, isolated=True))


@pytest.mark.parametrize("number", [0, RESERVED])
def test_the_first_and_the_reserved_chunk_stay(number: int) -> None:
    assert not should_reclaim(100, chunk(16, number=number))
    assert not should_reclaim(100, chunk(16, number=number, isolated=True))
