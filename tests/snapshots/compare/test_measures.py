"""Figures as they are counted, and troubles told once for many."""

from __future__ import annotations

from collections import Counter

from snapshots.compare.access_path import Reached
from snapshots.compare.measured_access import Cost
from snapshots.compare.measures import (
    OTHERS,
    OWN_DYNAMIC,
    Measured,
    Sample,
    StepCounts,
    Trouble,
    UseCounts,
    grouped,
    trouble_text,
)
from snapshots.compare.workload import Alloc, Free


def test_uses_are_summed_over_kinds() -> None:
    measured = Measured()
    measured.uses[OWN_DYNAMIC].add(UseCounts(2, 3, 1, 4, 0))
    measured.uses[OTHERS].add(UseCounts(1, 2, 1, 0, 2))
    assert measured.all_uses == UseCounts(3, 5, 2, 4, 2)


def test_steps_are_summed_and_the_longest_kept() -> None:
    counts = StepCounts()
    for nr_steps in (3, 9, 2):
        counts.add(nr_steps)
    assert counts == StepCounts(3, 14, 9)
    assert Measured(steps={"Alloc": counts, "Free": StepCounts(1, 2, 2)}).nr_steps == 16


def test_tlb_entries_are_distinct_pages_of_the_cpu_that_meets_most() -> None:
    measured = Measured()
    small, large = Reached(0x1010, 0x1000, 12, 0), Reached(0x201000, 0x200000, 21, 1)
    measured.note_access(OWN_DYNAMIC, 0, Cost(2, 1, 3, 1, (small, large)))
    measured.note_access(OWN_DYNAMIC, 0, Cost(1, 0, 0, 0, (small,)))
    measured.note_access(OTHERS, 1, Cost(1, 0, 0, 0, (large,)))
    assert measured.tlb_entries_needed == 2
    assert measured.uses[OWN_DYNAMIC] == UseCounts(2, 3, 1, 3, 1)


def test_samples_leave_the_static_section_aside() -> None:
    measured = Measured()
    measured.sample(7, Counter({"asked": 10, "static": 100, "free": 5}))
    assert measured.samples == [Sample(7, 10, 15)]


def test_troubles_are_grouped_by_operation_and_reason_numbers_aside() -> None:
    troubles = [
        Trouble(0, Alloc(1, 100, 8), "no room for 100 bytes at 0xff00"),
        Trouble(3, Free(7), "no room for 1 bytes at 0x0"),
        Trouble(4, Alloc(2, 200, 8), "no room for 200 bytes at 0xab"),
        Trouble(5, Alloc(3, 300, 8), "another reason"),
    ]
    groups = grouped(troubles)
    assert [(group.first.at, group.nr) for group in groups] == [(0, 2), (3, 1), (5, 1)]
    assert trouble_text(troubles[0]) == (
        "operation 1: alloc #1 100 B align 8 on cpu 0: no room for 100 bytes at 0xff00"
    )
