"""Reading /proc/iomem, of a real kernel or of the simulated one."""

from __future__ import annotations

import re

from kernel_sim.proc.iomem import INDENT, IomemRow
from snapshots.errors import InputError
from snapshots.proc.scan import row_lines

DEPTH_MAX = 16
LEADING = re.compile(r"( *)")
NAME = re.compile(r"(.{1,256})$")


def parse_iomem(text: str, where: str) -> tuple[IomemRow, ...]:
    """Return a row for every range, inner ones after the one that holds them.

    Raises: InputError, naming line and column, if a line is malformed, a range lies outside of the
    one it is indented under, or the file hides its addresses.
    """
    rows: list[IomemRow] = []
    above: list[IomemRow] = []
    for scan in row_lines(text, where, "'00001000-0009fbff : System RAM'"):
        spaces = len(scan.take(LEADING, "a range"))
        depth, odd = divmod(spaces, len(INDENT))
        if odd or depth > min(len(above), DEPTH_MAX):
            raise scan.error(f"a range at most one step of {len(INDENT)} spaces further in")
        start = scan.hexadecimal("the first byte of a range")
        scan.word("-")
        last = scan.hexadecimal("the last byte of a range")
        scan.word(" : ")
        row = IomemRow(depth, start, last, scan.take(NAME, "what lies there"))
        del above[depth:]
        holder = above[-1] if above else row
        if last < start or start < holder.start or holder.last < last:
            raise scan.error(f"a range inside {holder.start:08x}-{holder.last:08x}")
        above.append(row)
        rows.append(row)
    if len(rows) > 1 and not any(row.start or row.last for row in rows):
        raise InputError(
            f"{where}: all addresses are 0; expected the file as root reads it, others see zeros"
        )
    return tuple(rows)
