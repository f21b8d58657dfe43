"""Holes between areas: any history beside a row of pages that are free or not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kernel_sim.errors import InvariantBroken
from kernel_sim.mm.address_holes import AddressHoles

PAGE = 4096
NR_PAGES = 96


def spans_of(free: list[bool]) -> list[tuple[int, int]]:
    """Return the runs of True as (start, end) in bytes."""
    spans, start = [], None
    for index, is_free in enumerate([*free, False]):
        if is_free and start is None:
            start = index
        elif not is_free and start is not None:
            spans.append((start * PAGE, index * PAGE))
            start = None
    return spans


class HolesAgainstPages(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.holes = AddressHoles.between(0, NR_PAGES * PAGE, ())
        self.free = [True] * NR_PAGES

    @rule(first=st.integers(0, NR_PAGES - 1), nr_pages=st.integers(1, 12))
    def take(self, first: int, nr_pages: int) -> None:
        end = first + nr_pages
        is_free = end <= NR_PAGES and all(self.free[first:end])
        assert self.holes.is_free(first * PAGE, end * PAGE) == is_free
        if is_free:
            self.holes.take(first * PAGE, end * PAGE)
            self.free[first:end] = [False] * nr_pages
        else:
            with pytest.raises(InvariantBroken, match="are not free"):
                self.holes.take(first * PAGE, end * PAGE)

    @precondition(lambda self: not all(self.free))
    @rule(data=st.data(), nr_pages=st.integers(1, 12))
    def give(self, data: st.DataObject, nr_pages: int) -> None:
        first = data.draw(st.sampled_from([i for i in range(NR_PAGES) if not self.free[i]]))
        end = min(first + nr_pages, NR_PAGES)
        if any(self.free[first:end]):
            with pytest.raises(InvariantBroken, match="free in part already"):
                self.holes.give(first * PAGE, end * PAGE)
            return
        self.holes.give(first * PAGE, end * PAGE)
        self.free[first:end] = [True] * (end - first)

    @rule(
        nr_pages=st.integers(1, 12),
        align_pages=st.sampled_from([1, 2, 4, 8]),
        lowest=st.integers(0, NR_PAGES),
        limit=st.integers(0, NR_PAGES),
    )
    def find_lowest(self, nr_pages: int, align_pages: int, lowest: int, limit: int) -> None:
        expected = next(
            (
                first * PAGE
                for first in range(0, NR_PAGES, align_pages)
                if lowest <= first
                and first + nr_pages <= limit
                and all(self.free[first : first + nr_pages])
            ),
            None,
        )
        assert expected == self.holes.find_lowest(
            nr_pages * PAGE, align_pages * PAGE, lowest=lowest * PAGE, limit=limit * PAGE
        )

    @rule(address=st.integers(0, NR_PAGES * PAGE))
    def hole_from(self, address: int) -> None:
        below = [span for span in spans_of(self.free) if span[0] <= address]
        assert self.holes.hole_from(address) == (below[-1] if below else None)

    @invariant()
    def holes_are_the_free_runs(self) -> None:
        self.holes.check_invariants()
        assert list(self.holes.spans()) == spans_of(self.free)


TestHolesAgainstPages = HolesAgainstPages.TestCase
TestHolesAgainstPages.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(st.lists(st.booleans(), min_size=NR_PAGES, max_size=NR_PAGES))
def test_holes_made_at_once_are_those_made_one_by_one(free: list[bool]) -> None:
    taken = spans_of([not is_free for is_free in free])
    one_by_one = AddressHoles.between(0, NR_PAGES * PAGE, ())
    for start, end in reversed(taken):
        one_by_one.take(start, end)
    assert AddressHoles.between(0, NR_PAGES * PAGE, taken) == one_by_one
    one_by_one.check_invariants()


def test_damage_is_named_by_the_check() -> None:
    holes = AddressHoles.between(0, 10 * PAGE, [(2 * PAGE, 3 * PAGE)])
    holes.end_of[0] = 3 * PAGE
    with pytest.raises(InvariantBroken, match="touches the one below"):
        holes.check_invariants()
    holes.end_of[0] = PAGE
    with pytest.raises(InvariantBroken, match="wrong lists"):
        holes.check_invariants()
