from __future__ import annotations

from tui.debugger.session import Session
from tui.debugger.views.log import log_lines, log_view


def test_log_lines_bear_their_level(session: Session) -> None:
    assert log_lines(session)[0].startswith("<6>")
    assert len(log_lines(session)) == len(session.machine.kernel_log)


def test_log_rows_and_lines_cannot_disagree(session: Session, tell) -> None:
    nr_boot = len(log_lines(session))
    tell("alloc 0 99999999")  # more than a unit can hold: the kernel warns
    rows = log_view(session).rows
    assert len(rows) == nr_boot + 1
    assert log_lines(session) == tuple(f"<{level}>{text}" for _, level, text in rows)
    assert rows[-1][1] == 4 and "illegal size" in str(rows[-1][2])
    tell("goto start")
    assert len(log_view(session).rows) == nr_boot
