"""The object map against one made bit by bit, and the choice against the kernel's loop, step by step."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kernel_sim.percpu.object_map import FreeRun, find_place, make_object_map

NR_BITS = 64
START = 0xF8800000


def map_bit_by_bit(bitmap: int, currency_bytes: int) -> list[FreeRun]:
    runs: list[FreeRun] = []
    bit = 0
    while bit < NR_BITS:
        start = bit
        while bit < NR_BITS and not bitmap >> bit & 1:
            bit += 1
        if bit > start:
            runs.append(FreeRun((bit - start) * currency_bytes, start))
        bit += 1
    return sorted(runs, key=lambda run: (run.nr_bytes, run.start_bit))


def place_step_by_step(
    runs: list[FreeRun], size_bytes: int, align: int, currency_bytes: int
) -> int | None:
    """Go the kernel's way: one step of the bit, or on to the next run, at a time."""
    at = 0
    while at < len(runs) and runs[at].nr_bytes < size_bytes:
        at += 1
    if at == len(runs):
        return None
    bit = runs[at].start_bit
    while True:
        if (START + bit * currency_bytes) & (align - 1) == 0:
            return bit
        last_bit = runs[at].start_bit + runs[at].nr_bytes // currency_bytes - 1
        if (last_bit - bit + 1) * currency_bytes > size_bytes:
            bit += 1
            continue
        at += 1
        if at == len(runs):
            return None
        bit = runs[at].start_bit


bitmaps = st.integers(0, (1 << NR_BITS) - 1)
currencies = st.sampled_from([4, 8])


@given(bitmaps, currencies)
def test_map_is_that_of_a_walk_over_the_bits(bitmap: int, currency_bytes: int) -> None:
    found = make_object_map(bitmap, nr_bits=NR_BITS, currency_bytes=currency_bytes)
    assert list(found) == map_bit_by_bit(bitmap, currency_bytes)


@given(bitmaps, currencies, st.integers(1, 20), st.sampled_from([1, 2, 4, 8, 16, 64, 128, 6]))
def test_place_is_that_of_the_kernels_loop(
    bitmap: int, currency_bytes: int, nr_units: int, align: int
) -> None:
    runs = map_bit_by_bit(bitmap, currency_bytes)
    size_bytes = nr_units * currency_bytes
    found = find_place(
        runs, size_bytes=size_bytes, align=align, start_addr=START, currency_bytes=currency_bytes
    )
    assert found == place_step_by_step(runs, size_bytes, align, currency_bytes)
    if found is not None:
        assert not bitmap >> found & (1 << nr_units) - 1


def test_the_smallest_run_that_fits_is_taken_not_the_first() -> None:
    bitmap = 0b1111_0001_0000_0000_1  # 8 free from bit 1, 3 free from bit 10, then full
    bitmap |= (1 << NR_BITS) - (1 << 16)
    runs = make_object_map(bitmap, nr_bits=NR_BITS, currency_bytes=4)
    assert [run.nr_bytes for run in runs] == [12, 32]
    bit = find_place(runs, size_bytes=12, align=4, start_addr=START, currency_bytes=4)
    assert bit == runs[0].start_bit


def test_a_full_and_an_empty_bitmap() -> None:
    full = (1 << NR_BITS) - 1
    assert make_object_map(full, nr_bits=NR_BITS, currency_bytes=4) == ()
    assert make_object_map(0, nr_bits=NR_BITS, currency_bytes=4) == (FreeRun(256, 0),)
