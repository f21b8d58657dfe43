"""Bytes of simulated memory, sixteen a row; what nothing maps reads as ??."""

from __future__ import annotations

from tui.debugger.memory import pieces
from tui.debugger.session import Session
from tui.debugger.table import HEX, Cell, Column, Table

ROW_BYTES = 16
FIRST_PRINTED, LAST_PRINTED = 0x20, 0x7E

COLUMNS = (
    Column("address", HEX),
    Column("bytes", help="?? where nothing is mapped"),
    Column("text", help="printable ASCII"),
)


def hexdump_view(session: Session, address: int, length: int) -> Table:
    """Return length bytes of virtual memory from an address on."""
    held: list[int | None] = []
    for _, nr_bytes, data in pieces(session.machine, address, length):
        held += data if data is not None else [None] * nr_bytes
    rows: list[tuple[Cell, ...]] = []
    for start in range(0, length, ROW_BYTES):
        row = held[start : start + ROW_BYTES]
        shown = " ".join("??" if byte is None else f"{byte:02x}" for byte in row)
        rows.append((address + start, shown, "".join(_letter(byte) for byte in row)))
    nr_missing = held.count(None)
    notes = (f"{nr_missing} bytes are not mapped",) if nr_missing else ()
    title = f"{length} bytes at {address:#x}, step {session.step}"
    return Table(title, COLUMNS, tuple(rows), notes)


def _letter(byte: int | None) -> str:
    return chr(byte) if byte is not None and FIRST_PRINTED <= byte <= LAST_PRINTED else "."
