from __future__ import annotations

from tests.tui.debugger.views.conftest import column
from tui.debugger.session import Session
from tui.debugger.views.events import events_view


def test_events_marks_the_present(busy: Session) -> None:
    busy.go_now(busy.event(1).step)
    table = events_view(busy)
    for when, step in zip(column(table, "when"), column(table, "step"), strict=True):
        assert when == ("" if step < busy.step else "now" if step == busy.step else "later")
    assert "now" in column(table, "when") and "later" in column(table, "when")


def test_events_shows_no_more_than_was_asked_for(busy: Session) -> None:
    busy.go_now(busy.event(2).step)
    assert column(events_view(busy, 2, 1), "number") == [1, 2, 3]
    assert column(events_view(busy, 0, 0), "number") == []


def test_a_run_without_events_says_so(session: Session) -> None:
    table = events_view(session)
    assert (table.rows, table.title) == ((), "No events in this run, at step 0")


def test_an_event_of_a_log_shows_task_and_line(session: Session) -> None:
    args = (64, 8, False, 0xCC0, "f+0x1/0x2")
    session.timeline.give("pcpu_alloc", 1, args, line=17, by="ip-412")
    session.timeline.advance(1 << 62)
    table = events_view(session)
    assert (column(table, "line"), column(table, "task")) == ([17], ["ip-412"])
