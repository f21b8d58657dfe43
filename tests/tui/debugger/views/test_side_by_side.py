"""What a column tells at a position."""

from __future__ import annotations

import pytest

from snapshots.compare.side_by_side import SideBySide
from snapshots.compare.workload import Access, Alloc, Free, Workload
from snapshots.what_if.program import finished
from tests.snapshots.compare.conftest import compared
from tui.debugger.views.side_by_side import (
    column_figures,
    headline,
    outcome_text,
    reason_text,
    side_by_side_view,
)

WORK = Workload(
    "w", "test", (Alloc(1, 99_999, 8), Alloc(2, 8, 8), Access(2, 0, 3), Free(1), Access(2, 0, 0)), 4
)


@pytest.fixture(scope="module")
def side() -> SideBySide:
    return SideBySide(compared(WORK, "bitmap"))


def test_the_headline_says_where_all_stand(side: SideBySide) -> None:
    side.go(0)
    assert headline(side) == "w   0/5 (0%)   nothing is done yet"
    side.go(2)
    assert headline(side, "systems 1-2 of 4") == (
        "w   2/5 (40%)   systems 1-2 of 4   alloc #2 8 B align 8 on cpu 0"
    )


def test_each_outcome_has_its_words(side: SideBySide) -> None:
    (run,) = side.comparison.runs
    told = []
    for position in range(6):
        side.go(position)
        told.append(outcome_text(side, run))
    assert told[:2] == ["at its beginning", "failed"]
    assert told[2].startswith("done in ")
    assert told[3].startswith("2 steps; 2 refs, ")
    assert told[3].endswith("1 remote")
    assert told[4] == "nothing to do it with"
    assert told[5].startswith("2 steps; 1 ref")


def test_a_reason_is_told_where_there_is_one(side: SideBySide) -> None:
    (run,) = side.comparison.runs
    side.go(1)
    assert reason_text(side, run).startswith("bitmap: ")
    assert "illegal size" in reason_text(side, run)
    side.go(2)
    assert reason_text(side, run) == ""


def test_figures_are_those_of_the_position(side: SideBySide) -> None:
    (run,) = side.comparison.runs
    side.go(2)
    figures = dict(column_figures(side, run, finished(side.totals(run))))
    assert figures["asked"] == 4 * 8
    assert figures["not done"] == 1
    assert figures["step"] == run.ends[2] == run.machine.step
    parts = ("asked", "wasted", "metadata", "free", "static")
    assert figures["total"] == sum(int(str(figures[name])) for name in parts)


def test_the_listing_has_a_column_for_each_system(side: SideBySide) -> None:
    side.go(1)
    totals = {run.label: finished(side.totals(run)) for run in side.comparison.runs}
    table = side_by_side_view(side, totals)
    assert [column.name for column in table.columns] == ["figure", "bitmap"]
    assert table.rows[0] == ("outcome", "failed")
    assert "illegal size" in table.notes[0]
