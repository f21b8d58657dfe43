from __future__ import annotations

from tests.tui.debugger.views.conftest import column
from tui.debugger.session import Session
from tui.debugger.views.locks import locks_view


def test_a_quiet_machine_holds_no_lock(session: Session) -> None:
    assert locks_view(session).rows == (
        ("pcpu_alloc_mutex", "mutex", None, ""),
        ("pcpu_lock", "spinlock", None, ""),
        ("module_mutex", "mutex", None, ""),
        ("cpu_add_remove_lock", "mutex", None, ""),
        ("cpu_hotplug_lock", "mutex", None, ""),
    )


def test_locks_names_the_holder_and_all_that_wait_for_it(session: Session, tell) -> None:
    tell("alloc 0 8 later", "alloc 1 8 later", "alloc 2 8 later", "step 4")
    table = locks_view(session)
    assert column(table, "holder")[0] == session.machine.percpu.mutex.holder == 0
    assert column(table, "waiters")[0] == "1 2"
