from __future__ import annotations

from tests.tui.debugger.conftest import OBJECTS
from tests.tui.debugger.views.conftest import column
from tui.debugger.session import Session
from tui.debugger.views.inputs import inputs_view


def test_inputs_tells_given_from_later_ones(busy: Session) -> None:
    busy.go_now(busy.timeline.input_at(2).step)
    whens = column(inputs_view(busy), "when")
    assert whens == ["", ""] + ["later"] * (busy.timeline.nr_inputs - 2)


def test_inputs_shows_arguments_line_and_task_of_a_log(session: Session) -> None:
    args = (64, 8, False, 0xCC0, "f+0x1/0x2")
    session.timeline.give("pcpu_alloc", 1, args, line=17, by="ip-412")
    session.timeline.advance(1 << 62)
    assert inputs_view(session).rows == (
        ("", 0, 0, 1, "pcpu_alloc", "64 8 False 3264 f+0x1/0x2", 17, "ip-412"),
    )


def test_a_run_without_inputs_says_so(session: Session) -> None:
    table = inputs_view(session)
    assert (table.rows, table.title) == ((), "No inputs in this run, at step 0")


def test_a_file_that_was_given_is_told_by_size_and_digest(session: Session, tell) -> None:
    tell(f"insmod {OBJECTS / 'plain-x86-64.o'}")
    arguments = str(column(inputs_view(session), "arguments")[0])
    assert arguments.startswith("[736 bytes, sha256 ") and len(arguments) < 80
