"""Per-CPU variables by name: the kernel's static ones, then those of modules, lowest first.

offset in the unit   0x31000   runqueues         kernel
__percpu pointer     0x35040   nft_counter       nft_ct
"""

from __future__ import annotations

from tui.debugger.session import Session
from tui.debugger.symbols import percpu_symbols
from tui.debugger.table import DEC, HEX, Cell, Column, Table

COLUMNS = (
    Column("ptr", HEX, "the __percpu pointer; on x86-64 it is the offset in every unit"),
    Column("name"),
    Column("room", DEC, "bytes up to the next one"),
    Column("module", help="whose it is; blank: the kernel's own"),
    Column("cpu0", HEX, "where the first CPU's copy is"),
)


def percpu_symbols_view(session: Session) -> Table:
    """Return a row for every per-CPU variable that has a name."""
    machine = session.machine
    static = percpu_symbols(machine)
    ends = [*(offset for offset, _ in static[1:]), machine.system.static_bytes]
    start = machine.system.percpu_start
    found: list[tuple[int, str, int, str]] = [
        (start + offset, name, end - offset, "")
        for (offset, name), end in zip(static, ends, strict=False)
    ]
    found += [
        (symbol.value, symbol.name, symbol.size_bytes, module.name)
        for module in reversed(machine.modules.modules)
        for symbol in sorted(module.percpu_symbols, key=lambda each: each.value)
    ]
    first = machine.topology.possible[0]
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (ptr, name, room, module or None, machine.system.copy_addr(ptr, first))
        for ptr, name, room, module in found
    )
    title = f"{len(rows)} per-CPU variables at step {session.step}"
    notes = () if rows else ("no System.map was given: the static part has no names",)
    return Table(title, COLUMNS, rows, notes)
