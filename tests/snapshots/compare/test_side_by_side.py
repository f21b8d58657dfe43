"""One position for all systems: whatever is shown there is what a run up to there would have shown."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snapshots.compare.generated import generated_workload
from snapshots.compare.measures import Trouble
from snapshots.compare.side_by_side import BEGIN, CANNOT, DONE, FAILED, MOOT, STOPPED, SideBySide
from snapshots.compare.workload import Access, Alloc, Free, Workload
from snapshots.state_codec import state_digest
from snapshots.what_if.program import finished
from tests.snapshots.compare.conftest import compared

WORK = generated_workload("gen:mixed,seed=6,ops=160")


@pytest.fixture(scope="module")
def side() -> SideBySide:
    return SideBySide(compared(WORK))


@settings(deadline=None, max_examples=15)
@given(st.lists(st.integers(0, 160), min_size=1, max_size=5))
def test_every_system_stands_where_its_run_was_after_so_many_operations(
    side: SideBySide, positions: list[int]
) -> None:
    for position in positions:
        side.go(position)
        assert side.position == position
        assert all(run.machine.step == run.ends[position] for run in side.comparison.runs)


def test_it_shows_what_a_shorter_run_would_show(side: SideBySide) -> None:
    for position in (160, 40, 121, 0):
        side.go(position)
        part = Workload("part", "test", WORK.operations[:position], WORK.nr_cpus)
        for run in side.comparison.runs:
            (again,) = compared(part, run.label).runs
            assert finished(side.totals(run)) == again.measured.at_end.total
            assert state_digest(run.machine) == state_digest(again.machine)


def test_it_begins_at_the_end_and_does_not_leave_the_work(side: SideBySide) -> None:
    assert SideBySide(side.comparison).position == 160
    side.go(500)
    assert side.position == 160
    side.go(-3)
    assert side.position == 0
    assert side.operation is None
    side.go(7)
    assert side.operation == WORK.operations[6]


def test_a_move_that_is_given_up_counts_for_nothing(side: SideBySide) -> None:
    side.go(100)
    next(side.moves(3))
    assert side.position == 100
    side.go(100)
    assert all(run.machine.step == run.ends[100] for run in side.comparison.runs)


def test_the_outcome_of_each_operation_is_told() -> None:
    operations = (Alloc(1, 99_999, 8), Alloc(2, 8, 8), Access(1, 0, 0), Access(2, 0, 0), Free(2))
    side = SideBySide(compared(Workload("t", "test", operations), "bitmap"))
    (run,) = side.comparison.runs
    told = []
    for position in range(6):
        side.go(position)
        told.append(side.outcome(run))
    assert [each.what for each in told] == [BEGIN, FAILED, DONE, MOOT, DONE, DONE]
    assert "illegal size" in told[1].reason
    assert told[2].nr_steps > 0
    assert told[4].cost is not None
    assert told[4].cost.nr_references == 1
    assert side.nr_troubles(run) == 1
    side.go(0)
    assert side.nr_troubles(run) == 0


def test_troubles_are_found_either_way() -> None:
    bad, good = Alloc(1, 99_999, 8), Alloc(2, 8, 8)
    work = Workload("t", "test", (good, bad, good._replace(number=3), bad._replace(number=4)))
    side = SideBySide(compared(work, "bitmap"))
    side.go(0)
    assert side.trouble_position(forward=True) == 2
    assert side.trouble_position(forward=False) is None
    side.go(2)
    assert side.trouble_position(forward=True) == 4
    side.go(4)
    assert side.trouble_position(forward=False) == 2


def test_after_a_fault_nothing_is_done_and_it_is_told() -> None:
    side = SideBySide(compared(Workload("t", "test", (Alloc(1, 8, 8), Alloc(2, 8, 8))), "bitmap"))
    (run,) = side.comparison.runs
    run.measured.stopped = Trouble(0, Alloc(1, 8, 8), "the machine stopped: BUG")
    run.measured.cannot.append(Trouble(1, Alloc(2, 8, 8), "not here"))
    side = SideBySide(side.comparison)
    assert side.outcome(run).what == CANNOT
    side.go(1)
    assert side.outcome(run)[::2] == (STOPPED, "the machine stopped: BUG")
