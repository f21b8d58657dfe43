"""On a machine of any system every command that looks either answers or says in one line what it is for."""

from __future__ import annotations

import pytest

from kernel_sim.mm.page import PAGE_SIZE_BYTES
from tests.tui.system_sessions import EVERY, OTHERS, busy_session_of, ptrs_of, tell
from tui.debugger.commands.catalogue import REGISTRY
from tui.debugger.commands.looking import view_names
from tui.debugger.commands.percpu_systems import COMMANDS
from tui.debugger.console import answer_now, complete
from tui.debugger.errors import CommandError
from tui.debugger.session import Session
from tui.debugger.views.proc import proc_names

ONLY_BITMAP = ("chunks", "blocks", "slots", "stats")


def lines_of(session: Session) -> list[str]:
    """Return every looking command with arguments that make sense."""
    ptr, last = ptrs_of(session)[0], session.machine.online_cpus()[-1]
    addr = session.machine.system.copy_addr(ptr, last)
    given = {
        "blocks": ["first"], "walk": [f"{addr:#x}"], "whatis": [f"{addr:#x}", f"percpu:{ptr:#x}"],
        "x": [f"{addr:#x}"],
        "references": [f"0 percpu:{ptr:#x}", f"0 percpu:{ptr:#x} {last}"],
        "proc": list(proc_names()), "module": [], "stack": ["", "0"], "tlb": ["", "0"],
    }  # fmt: skip
    return [f"{name} {words}" for name in view_names() for words in given.get(name, [""])]


@pytest.mark.parametrize(("system", "arch"), EVERY)
def test_everything_that_looks_answers_or_says_what_it_is_for(system: str, arch: str) -> None:
    session = busy_session_of(system, arch)
    for line in lines_of(session):
        name = line.split()[0]
        try:
            for as_json in (False, True):
                text, _ = answer_now(session, line, as_json)
                assert text
        except CommandError as problem:
            assert system != "bitmap", line
            assert "\n" not in str(problem) and f"is '{system}'" in str(problem), line
            assert name in ONLY_BITMAP or line.split()[-1] in proc_names(), line


@pytest.mark.parametrize("system", OTHERS)
def test_completion_never_fails(system: str) -> None:
    session = busy_session_of(system)
    for name in REGISTRY:
        complete(session, f"{name} ")
        complete(session, f"{name} 0 ")


def test_the_commands_are_in_the_registry_and_can_be_shown() -> None:
    assert all(REGISTRY[command.name] is command for command in COMMANDS)
    assert {command.name for command in COMMANDS} <= set(view_names())


def test_a_ptr_may_be_given_by_symbol_and_an_area_by_page() -> None:
    session = busy_session_of("bitmap")
    table = tell(session, f"references 0 {ptrs_of(session)[0]:#x} 1").table
    assert table is not None and table.rows[-1][9] in (PAGE_SIZE_BYTES, 1 << 21)
