from __future__ import annotations

import pytest

from kernel_sim.percpu.account import account_of
from tests.tui.system_sessions import EVERY, busy_session_of, tell
from tui.debugger.views.account import account_view


@pytest.mark.parametrize(("system", "arch"), EVERY)
def test_rows_add_up_to_all(system: str, arch: str) -> None:
    session = busy_session_of(system, arch)
    table = account_view(session)
    names = [column.name for column in table.columns]
    rows = {str(row[0]): dict(zip(names, row, strict=True)) for row in table.rows}
    account = account_of(session.machine)
    everything = rows.pop("all")
    assert everything["total"] == account.total_bytes
    kinds = names[2:-1]
    assert sum(everything[kind] for kind in kinds) == everything["total"]  # type: ignore[misc]
    for kind in kinds:
        by_cpu = sum(row[kind] or 0 for row in rows.values())  # type: ignore[misc]
        beside = account.struct_bytes if kind == "metadata" else 0
        assert by_cpu + beside == everything[kind]
    by_node = sum(row["total"] for name, row in rows.items() if name.startswith("node"))  # type: ignore[misc]
    assert by_node == account.total_bytes - account.struct_bytes


def test_an_area_more_is_told() -> None:
    session = busy_session_of("bitmap")
    before = account_view(session).rows[0]
    tell(session, "alloc 0 400")
    after = account_view(session).rows[0]
    assert after[3] - before[3] == 1600 and before[5] - after[5] == 1600  # type: ignore[operator]
