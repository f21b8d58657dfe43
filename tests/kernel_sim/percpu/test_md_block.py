"""Hints on one stretch of free space, against the plain list of its free runs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kernel_sim.percpu.md_block import BLOCK_BITS, MdBlock

NR_BITS = 64


def runs_of(taken: int, nr_bits: int = NR_BITS) -> list[tuple[int, int]]:
    """Return [start, end) of each maximal free run."""
    runs: list[tuple[int, int]] = []
    start = None
    for bit in range(nr_bits + 1):
        free = bit < nr_bits and not taken >> bit & 1
        if free and start is None:
            start = bit
        if not free and start is not None:
            runs.append((start, bit))
            start = None
    return runs


def unknowing() -> MdBlock:
    """Return hints that know of no free bit."""
    return MdBlock(0, 0, 0, 0, 0, 0, NR_BITS, NR_BITS)


def ctz(value: int) -> int:
    return value.bit_length() if value == 0 else (value & -value).bit_length() - 1


def alignment(start: int) -> int:
    return NR_BITS if start == 0 else ctz(start)


@given(st.integers(0, (1 << NR_BITS) - 1), st.randoms(use_true_random=False))
def test_all_runs_told_in_any_order_give_exact_hints(taken: int, order: object) -> None:
    runs = runs_of(taken)
    order.shuffle(runs)  # type: ignore[attr-defined]
    md = unknowing()
    for start, end in runs:
        md.update(start, end)
    by_start = dict(runs)
    largest = max((end - start for start, end in runs), default=0)
    assert md.contig_hint == largest
    assert md.left_free == by_start.get(0, 0)
    assert md.right_free == max((end - start for start, end in runs if end == NR_BITS), default=0)
    assert md.first_free == min(by_start, default=NR_BITS)
    if largest:
        best = max(alignment(start) for start, end in runs if end - start == largest)
        assert by_start[md.contig_hint_start] - md.contig_hint_start == largest
        assert alignment(md.contig_hint_start) == best


@given(st.integers(0, (1 << NR_BITS) - 1), st.randoms(use_true_random=False))
def test_a_scan_hint_is_a_true_run_and_lies_before_a_larger_contig_hint(
    taken: int, order: object
) -> None:
    runs = runs_of(taken)
    order.shuffle(runs)  # type: ignore[attr-defined]
    md = unknowing()
    for start, end in runs:
        md.update(start, end)
        if md.scan_hint:
            assert (md.scan_hint_start, md.scan_hint_start + md.scan_hint) in runs
            assert md.scan_hint <= md.contig_hint
            assert md.scan_hint_start < md.contig_hint_start or md.scan_hint == md.contig_hint


@given(st.integers(0, (1 << NR_BITS) - 1), st.integers(1, NR_BITS))
def test_nothing_that_fits_is_skipped_by_the_next_hint(taken: int, nr_bits: int) -> None:
    runs = runs_of(taken)
    md = unknowing()
    for start, end in runs:
        md.update(start, end)
    fits = [start for start, end in runs if end - start >= nr_bits]
    if fits:
        assert md.next_hint(nr_bits) <= min(fits)


def test_fresh_bits_are_one_run() -> None:
    md = MdBlock.fresh(BLOCK_BITS)
    assert md.row() == (0, 0, 1024, 0, 1024, 1024, 0)


def test_a_larger_run_behind_makes_the_old_one_the_scan_hint() -> None:
    md = unknowing()
    md.update(4, 8)
    md.update(20, 30)
    assert md.row()[:4] == (4, 4, 10, 20)


def test_a_larger_run_before_drops_the_scan_hint() -> None:
    md = unknowing()
    md.update(4, 8)
    md.update(20, 30)
    md.update(8, 19)
    assert (md.contig_hint, md.contig_hint_start) == (11, 8)
    md.update(0, 12)
    assert (md.contig_hint, md.contig_hint_start, md.scan_hint) == (12, 0, 0)


def test_of_equal_runs_the_better_aligned_one_is_held() -> None:
    md = unknowing()
    md.update(6, 10)
    md.update(16, 20)
    assert (md.contig_hint_start, md.scan_hint) == (16, 0)


def test_a_run_at_bit_0_is_held_against_equals() -> None:
    md = unknowing()
    md.update(0, 4)
    md.update(32, 36)
    assert (md.contig_hint_start, md.scan_hint, md.scan_hint_start) == (0, 4, 32)


def test_an_end_before_the_start_changes_first_free_alone() -> None:
    md = unknowing()
    md.update(10, 14)
    row = md.row()
    md.update(5, 2)
    assert md.row() == (*row[:6], 5)


def test_a_promoted_scan_hint_is_where_the_search_goes_on() -> None:
    md = unknowing()
    md.update(4, 8)
    md.update(20, 30)
    assert md.promote_scan_hint() == 8
    assert (md.contig_hint, md.contig_hint_start, md.scan_hint) == (4, 4, 0)
    assert md.promote_scan_hint() == md.first_free == 4
    assert md.contig_hint == 0


def test_filling_keeps_first_free_and_clearing_makes_it_0() -> None:
    md = unknowing()
    md.update(4, 8)
    md.fill()
    assert md.row() == (0, 0, 0, 4, 0, 0, 4)
    md.clear()
    assert md.row() == MdBlock.fresh(NR_BITS).row()
