"""The allocator's state as builtin types, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_sim.errors import KernelBug
from kernel_sim.percpu.chunk import Chunk
from kernel_sim.percpu.first_chunk import served_region
from kernel_sim.percpu.state import (
    CHUNK_SCALARS,
    PERCPU_SCALARS,
    dump_chunk,
    dump_percpu,
    load_chunk,
    load_percpu,
)

DERIVED = ("free_tail", "changed")  # not state: follows from the bitmap; bookkeeping of dumps
IN_OTHER_PLACES = ("populated", "md", "blocks", "alloc_map", "bound_map", "data")


def is_builtin(value: object) -> bool:
    if isinstance(value, (tuple, list)):
        return all(is_builtin(each) for each in value)
    return type(value) in (int, str, bool, bytes)


@given(
    st.lists(st.integers(1, 1500), max_size=20),
    st.lists(st.booleans(), min_size=20, max_size=20),
    st.integers(0, 15),
)
@settings(deadline=None)
def test_a_chunk_survives_the_way_out_and_in(
    sizes: list[int], freed: list[bool], populated: int
) -> None:
    chunk = served_region(0, 0x1000 + 500, 4 * 3000)
    for page in range(4):
        if not populated >> page & 1:
            chunk.set_depopulated(page, page + 1)
    taken = []
    for nr_bits in sizes:
        start = chunk.find_block_fit(nr_bits, 2, False)
        bit = chunk.alloc_area(nr_bits, 2, start) if start >= 0 else -1
        if bit >= 0:
            taken.append((bit, nr_bits))
    for (bit, nr_bits), free in zip(taken, freed, strict=False):
        if free:
            chunk.free_area(bit, nr_bits)
    chunk.data = (1, 2)
    dump = dump_chunk(chunk)
    assert is_builtin(dump)
    loaded = load_chunk(dump)
    assert loaded == chunk
    assert not loaded.changed
    assert dump_chunk(loaded) == dump


def test_a_dump_is_plain_and_shares_nothing_with_the_chunk() -> None:
    chunk = Chunk.fresh(number=3, base_addr=0x1000, nr_pages=8)
    dump = dump_chunk(chunk)
    chunk.take_exactly(0, 5000)
    assert load_chunk(dump) == Chunk.fresh(number=3, base_addr=0x1000, nr_pages=8)


def test_every_field_of_a_chunk_is_in_the_dump_or_named_as_derived() -> None:
    assert sorted((*CHUNK_SCALARS, *IN_OTHER_PLACES, *DERIVED)) == sorted(Chunk.__slots__)


def test_wholly_free_blocks_cost_nothing() -> None:
    chunk = Chunk.fresh(number=3, base_addr=0x1000, nr_pages=256)
    assert dump_chunk(chunk)[3:6] == ((), (), ())


def test_the_allocator_survives_the_way_out_and_in(small_kernel: Callable[..., Any]) -> None:
    kernel, other = small_kernel(), small_kernel()
    kernel.use_up_ready_space()
    live = [kernel.alloc(3000) for _ in range(20)]
    for ptr in live[:12]:
        kernel.free(ptr)
    percpu = kernel.machine.percpu
    assert len(percpu.chunks) > 3
    dump = dump_percpu(percpu)
    chunks = {number: load_chunk(dump_chunk(c)) for number, c in percpu.chunks.items()}
    load_percpu(other.machine.percpu, dump, chunks)
    again = other.machine.percpu
    assert is_builtin(dump)
    assert dump_percpu(again) == dump
    assert again.chunk_bases == percpu.chunk_bases
    assert list(again.chunks) == list(percpu.chunks)
    for base in percpu.chunk_bases:
        assert again.chunk_by_base[base] is again.chunks[percpu.chunk_by_base[base].number]


def test_every_plain_field_of_the_allocator_is_in_the_dump() -> None:
    from kernel_sim.percpu.bitmap import BitmapPercpu

    fixed = (
        "host", "backing", "nr_possible_cpus", "unit_size_bytes", "base_addr", "word_bytes",
        "percpu_start", "address_mask",
    )  # fmt: skip
    otherwise = (
        "slots", "chunks", "chunk_bases", "chunk_by_base", "lock", "mutex", "statistics",
    )  # fmt: skip
    assert sorted((*PERCPU_SCALARS, *fixed, *otherwise)) == sorted(BitmapPercpu.__slots__)


def spoilt_chunk(**values: object) -> tuple[object, ...]:
    """A chunk's dump with one of its figures, or one of its other pieces by number, changed."""
    chunk = served_region(0, 0x1000 + 500, 4 * 3000)
    chunk.alloc_area(10, 1, 200)
    dump = list(dump_chunk(chunk))
    for name, value in values.items():
        if name in CHUNK_SCALARS:
            scalars = list(dump[0])  # type: ignore[call-overload]
            scalars[CHUNK_SCALARS.index(name)] = value
            dump[0] = tuple(scalars)
        else:
            dump[int(name.removeprefix("piece"))] = value
    return tuple(dump)


HINTS = (0, 0, 0, 0, 0, 0, 0)
WORD = bytes(128)


@pytest.mark.parametrize(
    "values",
    [
        {"nr_pages": 1 << 60}, {"nr_pages": -1}, {"nr_pages": 0}, {"start_offset": -4},
        {"end_offset": 1 << 40}, {"immutable": 1}, {"slot": True}, {"base_addr": 1 << 70},
        {"piece0": (1, 2, 3)}, {"piece1": b""}, {"piece1": b"\xff"}, {"piece3": ((4, HINTS),)},
        {"piece3": ((-1, HINTS),)}, {"piece4": ((-1, WORD),)}, {"piece4": ((4, WORD),)},
        {"piece4": ((0, WORD + b"1"),)}, {"piece5": ((5, WORD),)},
        {"piece5": ((4, b"\x02" + WORD[1:]),)},
    ],
)  # fmt: skip
def test_a_dump_of_no_chunk_is_refused_before_anything_is_built(values: dict[str, object]) -> None:
    load_chunk(spoilt_chunk())
    with pytest.raises(KernelBug, match="the dump of"):
        load_chunk(spoilt_chunk(**values))


def test_lists_of_chunks_that_are_not_there_are_refused(small_kernel: Callable[..., Any]) -> None:
    percpu = small_kernel().machine.percpu
    dump = dump_percpu(percpu)
    scalars, statistics, numbers, lists, *_ = dump
    chunks = dict(percpu.chunks)
    for at, value in (
        (0, scalars[:-1]), (0, (True, *scalars[1:])), (1, statistics[1:]), (2, (*numbers, 0)),  # type: ignore[index,misc]
        (2, (0,)), (2, (*numbers, 9)), (3, lists[1:]), (3, ((9,), *lists[1:])),  # type: ignore[index,misc]
    ):  # fmt: skip
        with pytest.raises(KernelBug):
            load_percpu(percpu, (*dump[:at], value, *dump[at + 1 :]), chunks)
        assert dump_percpu(percpu) == dump, "nothing was taken over"
    load_percpu(percpu, dump, chunks)
