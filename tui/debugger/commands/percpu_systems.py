"""Looking at per-CPU memory of any system: map, stretches, account, cost of an access, the catalogue."""

from __future__ import annotations

from collections.abc import Callable

from tui.debugger.commands.registry import (
    CPU,
    NUMBER,
    PTR,
    TEXT,
    Argument,
    Carry,
    Command,
    Seat,
)
from tui.debugger.output import Output
from tui.debugger.table import Table
from tui.debugger.views.account import account_view
from tui.debugger.views.references import references_view
from tui.debugger.views.stretch_map import map_view
from tui.debugger.views.stretches import stretches_view
from tui.debugger.views.systems import systems_view

GROUP = "per-CPU systems"


def _shows(view: Callable[..., Table]) -> Carry:
    async def show(seat: Seat, *values: int | str) -> Output:
        return Output(table=view(seat.session, *values))

    return show


COMMANDS = (
    Command(
        "map", (), GROUP, (Argument("BYTES", NUMBER, optional=True),),
        "all per-CPU memory as strips of cells, BYTES a cell", _shows(map_view),
    ),
    Command(
        "stretches", (), GROUP, (Argument("STRIP|KIND", TEXT, optional=True),),
        "all per-CPU memory piece by piece; only strips with a word in their name, or of a kind",
        _shows(stretches_view),
    ),
    Command(
        "account", (), GROUP, (), "bytes by kind of every CPU and node, page tables, TLB entries",
        _shows(account_view),
    ),
    Command(
        "references", ("refs",), GROUP,
        (Argument("CPU", CPU), Argument("PTR", PTR), Argument("OWNER", CPU, optional=True)),
        "every memory reference of a CPU's access to its own copy, or to OWNER's",
        _shows(references_view),
    ),
    Command(
        "systems", (), GROUP, (), "the per-CPU systems there are, and their switches",
        _shows(systems_view),
    ),
)  # fmt: skip
