"""Every stretch of the per-CPU system's memory, in the order of the map: where, how long, what for, whose."""

from __future__ import annotations

from kernel_sim.percpu.stretch import SHARED
from tui.debugger.session import Session
from tui.debugger.table import DEC, HEX, Cell, Column, Table, count

ROWS_MAX = 20_000
COLUMNS = (
    Column("strip", help="the piece of memory it is drawn in"),
    Column("addr", HEX),
    Column("size", DEC, "bytes"),
    Column("kind", help="static, dynamic, module, free, padding, reserved, table, metadata, hole"),
    Column("what"),
    Column("cpu", DEC, "whose copy it is"),
    Column("node", DEC, "where it should lie"),
    Column("ptr", HEX, "of the area that it is a copy of"),
)


def stretches_view(session: Session, text: str = "") -> Table:
    """Return a row for every stretch; text: only of strips whose name has it, or of that kind."""
    machine = session.machine
    rows: list[tuple[Cell, ...]] = []
    nr_left_out = 0
    for each in machine.system.stretches():
        if text and text not in each.strip and text != each.kind:
            continue
        if len(rows) == ROWS_MAX:
            nr_left_out += 1
            continue
        rows.append(
            (
                each.strip,
                each.addr,
                each.size_bytes,
                each.kind,
                each.what,
                None if each.cpu == SHARED else each.cpu,
                None if each.node < 0 else each.node,
                each.ptr or None,
            )
        )
    about = f" with {text!r}" if text else ""
    title = f"{count(len(rows) + nr_left_out, 'stretch').replace('stretchs', 'stretches')}{about}"
    notes = (f"and {nr_left_out} more: name a strip",) if nr_left_out else ()
    return Table(
        f"{title} of {machine.system.name} at step {session.step}", COLUMNS, tuple(rows), notes
    )
