from __future__ import annotations

import pytest

from kernel_sim.machine_state import dump_parts
from kernel_sim.percpu.reference_count import count_references
from tests.tui.system_sessions import EVERY, busy_session_of, ptrs_of, session_of, tell
from tui.debugger.errors import CommandError
from tui.debugger.views.references import references_view


@pytest.mark.parametrize(("system", "arch"), EVERY)
def test_the_rows_are_the_path_that_is_really_walked(system: str, arch: str) -> None:
    session = busy_session_of(system, arch)
    machine = session.machine
    ptr = ptrs_of(session)[0]
    before = session.digest()
    for owner in (None, 3):
        table = references_view(session, 1, ptr, owner)
        assert dump_parts(machine) and session.digest() == before, "a look changed something"
        trial = count_references(machine, 1, ptr, owner, access=machine.access.trial(1))
        assert [(row[1], row[4]) for row in table.rows] == [(e.addr, e.value) for e in trial]
        assert table.rows[-1][1] == machine.system.copy_addr(ptr, 1 if owner is None else owner)
        assert str(table.rows[-1][3]).startswith("the datum: ")
        assert all(row[3] != "memory of no per-CPU system" for row in table.rows)


def test_a_remote_reference_is_named() -> None:
    session = busy_session_of("bitmap")
    table = tell(session, f"references 0 percpu:{ptrs_of(session)[0]:#x} 3").table
    assert table is not None
    assert [row[6] for row in table.rows] == [False, True]
    assert "1 of the references go to another node" in table.notes[0]


def test_a_path_into_nowhere_is_said_in_one_line() -> None:
    session = session_of("bitmap")
    with pytest.raises(CommandError, match="cpu 0 on its way to 0x7000000000: BUG: unable"):
        references_view(session, 0, 0x7000000000)
