from __future__ import annotations

import pytest

from kernel_sim.percpu.stretch import DYNAMIC
from tests.tui.system_sessions import EVERY, busy_session_of
from tui.debugger.views import stretches
from tui.debugger.views.stretches import stretches_view


@pytest.mark.parametrize(("system", "arch"), EVERY)
def test_every_stretch_is_a_row(system: str, arch: str) -> None:
    session = busy_session_of(system, arch)
    rows = stretches_view(session).rows
    all_of_them = list(session.machine.system.stretches())
    assert [(row[0], row[1], row[2], row[3]) for row in rows] == [
        (each.strip, each.addr, each.size_bytes, each.kind) for each in all_of_them
    ]
    dynamic = stretches_view(session, DYNAMIC).rows
    assert len(dynamic) == sum(each.kind == DYNAMIC for each in all_of_them) >= 12
    word = all_of_them[0].strip
    assert all(word in str(row[0]) for row in stretches_view(session, word).rows)


def test_a_long_listing_says_what_it_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stretches, "ROWS_MAX", 2)
    session = busy_session_of("bitmap")
    table = stretches_view(session)
    nr = sum(1 for _ in session.machine.system.stretches())
    assert len(table.rows) == 2 and table.title.startswith(f"{nr} stretches of bitmap")
    assert table.notes == (f"and {nr - 2} more: name a strip",)
