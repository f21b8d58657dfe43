from __future__ import annotations

import pytest

from kernel_sim.modules.module import LIVE, Module, ModuleSymbol, SectionAt
from tests.tui.debugger.conftest import OBJECTS
from tests.tui.debugger.views.conftest import column
from tui.debugger.errors import CommandError
from tui.debugger.session import Session
from tui.debugger.views.modules import module_view, modules_view


def test_modules_lists_the_newest_first_with_what_the_kernel_counts(session: Session, tell) -> None:
    assert modules_view(session).rows == ()
    tell(f"insmod {OBJECTS / 'plain-x86-64.o'} 'init: a = pcpu_alloc 64 8'")
    table = modules_view(session)
    module = session.machine.modules.modules[0]
    assert column(table, "module") == ["plain_x86_64"] and column(table, "state") == ["Live"]
    assert column(table, "core_addr") == [module.core_addr] and column(table, "areas") == [1]
    fields = tell("proc modules").lines[0].split()
    assert fields[:3] == [
        "plain_x86_64",
        str(column(table, "size")[0]),
        str(column(table, "used")[0]),
    ]


def test_a_module_is_shown_from_the_inside(session: Session) -> None:
    module = Module("m", state=LIVE, percpu_ptr=0x36000, percpu_size_bytes=16, percpu_align=8)
    module.core_addr, module.core_size_bytes = 0xFFFFFFFFC0000000, 4096
    module.sections = [SectionAt(".text", module.core_addr, 32)]
    module.symbols = [
        ModuleSymbol("count", 0x36008, 8, "d", True),
        ModuleSymbol("f", module.core_addr, 32, "t", False),
    ]
    module.exports = {"f": module.symbols[1]}
    session.machine.modules.modules.append(module)
    table = module_view(session, "m")
    rows = {(row[0], row[1]): row[2:] for row in table.rows}
    base = session.machine.percpu.base_addr
    assert rows["percpu", "count"] == (0x36008, 8, base + 0x36008)
    assert list(rows) == [
        ("section", ".text"), ("percpu", "count"), ("symbol t", "f"), ("export", "f"),
    ]  # fmt: skip
    assert "per-CPU section 0x36000+0x10, aligned to 8" in table.notes


def test_a_module_that_is_not_there_is_an_error(session: Session) -> None:
    with pytest.raises(CommandError, match="no module 'nix'"):
        module_view(session, "nix")


def test_leaked_areas_are_noted(session: Session) -> None:
    session.machine.modules.leaks.append(("m", "a", 0x37000))
    assert modules_view(session).notes == ("leaked by m: area of a at 0x37000",)


def test_an_empty_list_says_how_to_load_one(session: Session) -> None:
    assert "insmod FILE" in modules_view(session).notes[0]


def test_license_and_vermagic_are_named(session: Session, tell) -> None:
    tell(f"insmod {OBJECTS / 'exporter-x86-64.o'}")
    assert "license GPL" in module_view(session, session.machine.modules.modules[0].name).notes
