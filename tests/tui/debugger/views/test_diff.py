"""The diff as a table: a row a difference, summed up in the title."""

from __future__ import annotations

from snapshots.diff.rows import DiffRow
from tests.tui.debugger.views.conftest import column
from tui.debugger.render import table_text
from tui.debugger.views.diff import diff_view

ROWS = (
    DiffRow("areas", "born", "area of 8 bytes", "chunk 1 +0x0", None, "0x1000 in unit 0"),
    DiffRow("areas", "died", "area of 64 bytes", "chunk 1 +0x40", "0x1040 in unit 0", None),
    DiffRow("counters", "changed", "step", "", 1, 2),
)


def test_the_title_sums_up_and_the_rows_are_those_of_the_diff() -> None:
    table = diff_view(ROWS, "step 1 ► step 2")
    assert table.title == "step 1 ► step 2: 1 area born, 1 area died, 1 counter changed"
    assert column(table, "group") == ["areas", "areas", "counters"]
    assert column(table, "was") == [None, "0x1040 in unit 0", 1]
    assert not table.notes
    assert table_text(table).splitlines()[4].split() == ["counters", "changed", "step", "1", "2"]


def test_a_screen_gets_what_it_can_use_and_a_note_on_the_rest() -> None:
    table = diff_view(ROWS, "x", rows_max=1)
    assert len(table.rows) == 1
    assert table.notes == ("and 2 differences more",)
    assert "1 counter changed" in table.title, "all of them are summed up"


def test_no_difference_is_said_so() -> None:
    assert diff_view((), "step 1 ► step 1").title == "step 1 ► step 1: the same"
