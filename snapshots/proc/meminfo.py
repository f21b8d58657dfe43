"""Reading /proc/meminfo, of a real kernel or of the simulated one."""

from __future__ import annotations

import re

from kernel_sim.proc.meminfo import KB, MeminfoRow
from snapshots.proc.scan import row_lines

NAME = re.compile(r"([A-Za-z][A-Za-z0-9_]{0,63}(?:\([a-z]{1,16}\))?):")
UNIT = re.compile(r"( kB|)$")
ROWS_MAX = 1024


def parse_meminfo(text: str, where: str) -> tuple[MeminfoRow, ...]:
    """Return a row for every line, whatever lines the kernel has.

    Raises: InputError, naming line and column, if a line is malformed or a name comes twice.
    """
    rows: dict[str, MeminfoRow] = {}
    for scan in row_lines(text, where, "'MemTotal:        1998108 kB'"):
        name = scan.take(NAME, "a name such as 'MemTotal:'")
        if name in rows or len(rows) >= ROWS_MAX:
            raise scan.error(f"every name once, at most {ROWS_MAX}")
        value = scan.number("a number")
        unit = scan.take(UNIT, f"' {KB}' or the end of the line")
        rows[name] = MeminfoRow(name, value, unit.strip())
    return tuple(rows.values())
