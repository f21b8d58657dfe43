"""The first chunk: what boot leaves of a unit for others to allocate from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_sim.percpu.bitmap_check import check_chunk
from kernel_sim.percpu.chunk import RESERVED
from kernel_sim.percpu.first_chunk import served_region

BASE = 0xFFFF888000000000


@given(st.integers(0, 4000), st.integers(1, 6000))
def test_what_lies_outside_the_region_counts_as_taken(start: int, size: int) -> None:
    start, size = 4 * start, 4 * size
    chunk = served_region(0, BASE + start, size)
    first = BASE + start - chunk.base_addr
    assert (chunk.start_offset, chunk.base_addr % 4096, chunk.free_bytes) == (first, 0, size)
    taken = 0
    for index, word in enumerate(chunk.alloc_map):
        taken |= word << 1024 * index
    free = ((1 << size // 4) - 1) << first // 4
    assert taken == ((1 << chunk.nr_bits) - 1) ^ free
    assert chunk.md.contig_hint <= size // 4
    assert chunk.md.first_free == first // 4
    check_chunk(chunk)


def test_a_region_on_page_boundaries_is_wholly_free() -> None:
    chunk = served_region(0, BASE, 8192)
    assert (chunk.start_offset, chunk.end_offset, chunk.nr_empty_pop_pages) == (0, 0, 2)
    assert chunk.md.contig_hint == 2048


def test_pages_that_are_partly_hidden_are_not_empty() -> None:
    chunk = served_region(0, BASE + 4, 3 * 4096)
    assert (chunk.nr_pages, chunk.nr_populated, chunk.nr_empty_pop_pages) == (4, 4, 2)
    assert chunk.immutable


@pytest.mark.parametrize("reserved", [True, False])
def test_the_parts_of_the_unit_follow_each_other(
    small_kernel: Callable[..., Any], reserved: bool
) -> None:
    machine = small_kernel(reserved=reserved).machine
    percpu, info = machine.percpu, machine.alloc_info
    reserved_size = info.reserved_size_bytes
    assert percpu.first_offset == 6000 + reserved_size
    first = percpu.chunks[0]
    assert first.base_addr + first.start_offset == percpu.base_addr + percpu.first_offset
    assert first.free_bytes == info.dyn_size_bytes
    assert percpu.first_end == info.size_sum_bytes
    if reserved:
        chunk = percpu.chunks[RESERVED]
        assert chunk.base_addr + chunk.start_offset == percpu.base_addr + 6000
        assert (chunk.free_bytes, chunk.slot) == (8192, -1)
    else:
        assert percpu.reserved_chunk is None
    assert first in percpu.slots.lists[percpu.slots.of_chunk(first)]
    assert percpu.nr_empty_pop_pages == first.nr_empty_pop_pages
    assert percpu.nr_populated == info.size_sum_bytes // 4096
    assert percpu.statistics.nr_chunks == 1
