from __future__ import annotations

import asyncio

import pytest

from tui.debugger.commands.catalogue import REGISTRY
from tui.debugger.commands.looking import view_names
from tui.debugger.console import execute
from tui.debugger.errors import CommandError
from tui.debugger.session import Session

ARGUMENTS = {
    "areas": "0", "blocks": "0", "references": "0 0x37040", "stack": "0",
    "walk": "0", "whatis": "0", "x": "0",
    "proc": "buddyinfo",
}  # fmt: skip
OF_A_MODULE = ("module",)  # there is none on this machine; see views/test_modules.py


@pytest.mark.parametrize("name", [each for each in view_names() if each not in OF_A_MODULE])
def test_every_row_of_every_view_has_a_cell_for_every_column(busy: Session, name: str) -> None:
    for step in (0, 3, busy.end_step):
        busy.go_now(step)
        before = busy.digest()
        table = asyncio.run(execute(busy, f"{name} {ARGUMENTS.get(name, '')}")).table
        assert table is not None and len({column.name for column in table.columns}) == len(
            table.columns
        )
        assert all(len(row) == len(table.columns) for row in table.rows)
        assert busy.digest() == before


def test_every_view_is_a_command_of_that_name() -> None:
    assert [REGISTRY[name].name for name in view_names()] == list(view_names())


def test_digest_is_one_line_with_its_step(busy: Session, tell) -> None:
    assert tell("digest").lines == (f"{busy.step} {busy.digest()}",)
    assert tell("digest").table.rows == ((busy.step, busy.digest()),)


def test_x_reads_up_to_the_last_address_and_not_beyond(tell) -> None:
    assert tell("x 0xffffffffffffffff 1").table.rows[0][1] == "??"
    with pytest.raises(CommandError, match="beyond the last address"):
        tell("x 0xffffffffffffffff 2")


def test_windows_of_events_can_be_asked_for_beyond_all_reason(busy: Session, tell) -> None:
    assert (
        len(tell("events 18446744073709551615 18446744073709551615").table.rows) == busy.nr_events
    )


def test_the_stack_is_that_of_the_cpu_that_ran_last_unless_one_is_named(session, tell) -> None:
    tell("alloc 1 32000 later", "step 3")
    assert tell("stack").table.title.startswith("CPU 1 ") and tell("bt").table.rows
    assert tell("stack 0").table.title.startswith("CPU 0 ")
