"""Live areas of one chunk, lowest first, and who made each."""

from __future__ import annotations

from kernel_sim.percpu.md_block import MIN_ALLOC_BYTES
from tui.debugger.areas import birth_facts, birth_facts_of_ptr
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

ALL_COLUMNS = (
    Column("ptr", HEX, "the __percpu pointer, which stands for all copies"),
    Column("size", DEC, "bytes in each copy"),
    Column("cpu0", HEX, "where the first CPU's copy is"),
    *COLUMNS[3:],
)


def areas_view(session: Session, chunk: int | None = None) -> Table:
    """Return a row for every live area, of one chunk or of all memory. Raises CommandError: no such chunk."""
    if chunk is None:
        return _all_areas(session)
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


def _all_areas(session: Session) -> Table:
    """Return a row for every area that the system, whichever it is, says is alive."""
    machine = session.machine
    first = machine.topology.possible[0]
    rows: list[tuple[Cell, ...]] = []
    for ptr, size in machine.system.live_areas():
        born = dict(birth_facts_of_ptr(session, ptr))
        rows.append(
            (
                ptr,
                size,
                machine.system.copy_addr(ptr, first),
                born["call_site"],
                born.get("task"),
                born.get("born_step"),
                born.get("log_line"),
            )
        )
    title = f"{count(len(rows), 'live area')} of {machine.system.name} at step {session.step}"
    return Table(title, ALL_COLUMNS, tuple(rows))
