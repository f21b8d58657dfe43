from __future__ import annotations

from kernel_sim.modules.module import Module, ModuleSymbol
from tests.tui.debugger.views.conftest import column
from tui.debugger.session import Session
from tui.debugger.views.percpu_symbols import percpu_symbols_view


def test_static_variables_are_listed_with_the_room_up_to_the_next(demo: Session) -> None:
    table = percpu_symbols_view(demo)
    rows = {row[1]: row for row in table.rows}
    assert rows["runqueues"][0] == 0x31C40
    assert rows["runqueues"][4] == demo.machine.percpu.base_addr + 0x31C40
    assert sum(column(table, "room")) == demo.machine.alloc_info.static_size_bytes
    ptrs = column(table, "ptr")
    assert ptrs == sorted(ptrs)


def test_variables_of_modules_follow(session: Session) -> None:
    module = Module("m", percpu_ptr=0x36000, percpu_size_bytes=8)
    module.symbols = [ModuleSymbol("x", 0x36000, 8, "d", True)]
    session.machine.modules.modules.append(module)
    assert [row[:4] for row in percpu_symbols_view(session).rows] == [(0x36000, "x", 8, "m")]


def test_a_machine_without_system_map_says_so(session: Session) -> None:
    assert "no System.map" in percpu_symbols_view(session).notes[0]
