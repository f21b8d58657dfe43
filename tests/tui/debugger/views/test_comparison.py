"""The listings of a comparison: every figure in them is one that was measured."""

from __future__ import annotations

import pytest

from snapshots.compare.accounts import CLASSES
from snapshots.compare.runner import Comparison, NotRun
from snapshots.compare.workload import Alloc, Free, ModuleLoad, Workload
from tests.snapshots.compare.conftest import compared
from tui.debugger.table import Table
from tui.debugger.views.comparison import BRIEF, EMPTY_TOLD, VIEWS, per, summary_view, trouble_view


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return compared("gen:mixed,seed=3,ops=300")


def rows_of(table: Table) -> list[dict[str, object]]:
    rows = table.to_json()["rows"]
    assert isinstance(rows, list)
    return rows


def test_every_view_names_every_system_that_ran(comparison: Comparison) -> None:
    labels = [run.label for run in comparison.runs]
    for name, view in VIEWS.items():
        if name not in ("troubles", "not_run"):
            told = [row["system"] for row in rows_of(view(comparison))]
            assert list(dict.fromkeys(told)) == labels


def test_the_summary_has_the_figures_that_were_measured(comparison: Comparison) -> None:
    table = summary_view(comparison)
    assert table.title.startswith("mixed 3: 300 operations on ")
    for run, row in zip(comparison.runs, rows_of(table), strict=True):
        uses = run.measured.all_uses
        assert row["refs"] == f"{uses.nr_references / uses.nr_accesses:.2f}"
        assert row["tlb"] == run.measured.tlb_entries_needed
        assert row["wasted"] == run.measured.at_peak.total["wasted"]
        assert row["failed"] == len(run.measured.failures)


def test_memory_adds_up(comparison: Comparison) -> None:
    for name in ("peak", "end"):
        for row in rows_of(VIEWS[name](comparison)):
            assert row["total"] == sum(int(str(row[each])) for each in CLASSES)
    by_cpu = rows_of(VIEWS["by_cpu"](comparison))
    for row in rows_of(VIEWS["peak"](comparison)):
        mine = [each for each in by_cpu if each["system"] == row["system"]]
        assert sum(int(str(each["asked"])) for each in mine) == row["asked"]
        assert {each["cpu"] for each in mine} >= {"0", "1", "2", "3"}


def test_uses_and_steps_add_up(comparison: Comparison) -> None:
    for run in comparison.runs:
        uses = [row for row in rows_of(VIEWS["uses"](comparison)) if row["system"] == run.label]
        assert sum(int(str(row["accesses"])) for row in uses) == run.measured.all_uses.nr_accesses
        steps = [row for row in rows_of(VIEWS["steps"](comparison)) if row["system"] == run.label]
        assert sum(int(str(row["steps"])) for row in steps) == run.measured.nr_steps


def test_troubles_are_told_with_their_reason_and_number() -> None:
    work = Workload(
        "t",
        "test",
        (Alloc(1, 99_999, 8), Alloc(2, 88_888, 8), Free(1), ModuleLoad("m", 9999, 8, 1)),
    )
    rows = rows_of(trouble_view(compared(work, "bitmap")))
    assert [(row["what"], row["times"]) for row in rows] == [
        ("failed", 2), ("failed", 1), ("had nothing to do", 1),
    ]  # fmt: skip
    assert "illegal size" in str(rows[0]["reason"])
    assert rows[0]["first"] == "1: alloc #1 99999 B align 8 on cpu 0"
    assert "reserved chunk" in str(rows[1]["reason"])


def test_where_nothing_went_wrong_it_says_so() -> None:
    comparison = compared("gen:small,ops=20", "bitmap")
    assert trouble_view(comparison).title == "everything was done"
    assert VIEWS["not_run"](comparison).title == "every system ran"
    comparison.not_run.append(NotRun("other", "it never ran on x86-64"))
    assert rows_of(VIEWS["not_run"](comparison)) == [
        {"system": "other", "reason": "it never ran on x86-64"}
    ]


def test_what_was_left_out_of_the_work_is_noted() -> None:
    work = Workload("t", "test", (Alloc(1, 8, 8),), 1, {"kmalloc_node": 3}, ("a note",))
    notes = summary_view(compared(work, "bitmap")).notes
    assert notes[1:] == ("a note", "left out, for no operation stands for it: 3 kmalloc_node")


def test_a_ratio_of_nothing_is_blank() -> None:
    assert per(3, 0) is None
    assert per(5, 2) == "2.50"
    assert per(5, 2, 0) == "2"


def test_lists_of_views_name_views() -> None:
    assert set(BRIEF) | set(EMPTY_TOLD) <= set(VIEWS)
