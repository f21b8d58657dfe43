"""Live areas of one chunk, lowest first, and who made each."""

from __future__ import annotations

from kernel_sim.percpu.md_block import MIN_ALLOC_BYTES
from tui.debugger.areas import birth_facts
from tui.debugger.chunk_names import chunk_by_number, chunk_name
from tui.debugger.session import Session
from tui.debugger.table import DEC, HEX, Cell, Column, Table, count

COLUMNS = (
    Column("offset", DEC, "bytes from the chunk's base"),
    Column("size", DEC, "bytes in each unit"),
    Column("ptr", HEX, "the __percpu pointer"),
    Column("call_site", help="who asked for it"),
    Column("task"),
    Column("born_step", DEC),
    Column("line", DEC, "of the log"),
)


def areas_view(session: Session, chunk: int) -> Table:
    """Return a row for every live area. Raises CommandError: no such chunk."""
    there = chunk_by_number(session.machine, chunk)
    rows: list[tuple[Cell, ...]] = []
    for bit, nr_bits in there.areas():
        offset, size = bit * MIN_ALLOC_BYTES, nr_bits * MIN_ALLOC_BYTES
        born = dict(birth_facts(session, there.base_addr, offset))
        ptr = session.machine.percpu.ptr_of(there.base_addr + offset)
        rows.append(
            (
                offset,
                size,
                ptr,
                born["call_site"],
                born.get("task"),
                born.get("born_step"),
                born.get("log_line"),
            )
        )
    name = chunk_name(chunk)
    title = (
        f"{count(len(rows), 'live area')} of {name} at {there.base_addr:#x}, step {session.step}"
    )
    return Table(title, COLUMNS, tuple(rows))
