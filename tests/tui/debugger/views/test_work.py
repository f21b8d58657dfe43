from __future__ import annotations

from tui.debugger.session import Session
from tui.debugger.views.work import work_view


def test_work_shows_what_is_queued_and_where(session: Session, tell) -> None:
    tell("alloc 3 24000 later")  # leaves fewer empty pages than an atomic request may need
    for _ in range(50):
        if session.machine.work.queued_cpu < 0:
            tell("step")
    facts = dict(work_view(session).rows)
    assert (facts["queued"], facts["queued_on_cpu"]) == (True, 3)


def test_work_that_runs_is_told_by_its_cpu(session: Session, tell) -> None:
    assert dict(work_view(session).rows)["queued_on_cpu"] is None
    session.give(2, "kworker")
    tell("step")
    assert dict(work_view(session).rows)["running_on"] == "cpu 2"
    tell("run")
    assert dict(work_view(session).rows)["running_on"] == ""
