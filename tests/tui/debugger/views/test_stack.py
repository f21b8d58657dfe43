from __future__ import annotations

import pytest

from tests.tui.debugger.views.conftest import column
from tui.debugger.errors import CommandError
from tui.debugger.session import Session
from tui.debugger.views.stack import stack_view


def test_stack_has_the_innermost_function_first(session: Session, tell) -> None:
    tell("kworker 2", "alloc 2 32000 later")
    for _ in range(50):
        if len(stack_view(session, 2).rows) < 2:
            tell("step")
    functions = column(stack_view(session, 2), "function")
    assert functions[-1] == "pcpu_alloc" and functions[0] != "pcpu_alloc"
    with pytest.raises(CommandError, match="0 to 3"):
        stack_view(session, 4)


def test_stack_of_an_idle_cpu_is_empty_and_says_so(session: Session) -> None:
    table = stack_view(session, 3)
    assert (table.rows, table.title) == ((), "CPU 3 at step 0: idle")


def test_stack_notes_what_is_waited_for_and_what_comes_next(session: Session, tell) -> None:
    tell("alloc 0 8 later", "alloc 1 8 later", "alloc 1 16 later", "step 3")
    assert stack_view(session, 1).notes == (
        "waits: pcpu_alloc_mutex, held by cpu 0",
        "next in line: pcpu_alloc",
    )
