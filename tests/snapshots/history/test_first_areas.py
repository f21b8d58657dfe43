from __future__ import annotations

import pytest

from snapshots.history.first_areas import areas_at_beginning
from tests.tui.system_sessions import EVERY, busy_session_of, session_of


@pytest.mark.parametrize(("system", "arch"), EVERY)
def test_a_run_from_boot_begins_without_areas(system: str, arch: str) -> None:
    session = busy_session_of(system, arch)
    step = session.step
    assert areas_at_beginning(session.timeline) == {}
    assert session.step == step


def test_a_run_that_begins_later_has_those_that_were_there() -> None:
    session = session_of("bitmap")
    machine = session.machine
    ptr = machine.run_call(machine.give(0, "pcpu_alloc", (96, 8, False, 0xCC0, "f")))
    machine.run(1 << 60)
    from snapshots.timeline import Timeline

    assert areas_at_beginning(Timeline(machine)) == {ptr: 96}
