"""The lists of chunks in the order in which a request searches them."""

from __future__ import annotations

from tui.debugger.chunk_names import slot_name
from tui.debugger.session import Session
from tui.debugger.table import DEC, Cell, Column, Table

COLUMNS = (
    Column("slot", DEC),
    Column("list", help="contig hints in bytes, or what the list is for"),
    Column("nr_chunks", DEC),
    Column("chunks", help="numbers from the head of the list on; 0 is the first chunk"),
)


def slots_view(session: Session) -> Table:
    """Return a row for every list, empty ones too."""
    slots = session.machine.percpu.slots
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            slot,
            slot_name(slots, slot),
            len(members),
            " ".join(str(chunk.number) for chunk in members),
        )
        for slot, members in enumerate(slots.lists)
    )
    return Table(f"{len(rows)} lists of chunks at step {session.step}", COLUMNS, rows)
