"""Reading /proc/modules, of a real kernel or of the simulated one."""

from __future__ import annotations

import re

from kernel_sim.proc.modules import ModuleRow
from snapshots.proc.scan import row_lines

NAME = re.compile(r"([^\s,]{1,64}) ")
REFERENCES = re.compile(r" (-?[0-9]{1,10})(?![0-9])")
USERS = re.compile(r" (-|(?:[^\s,]{1,64},)+) ")
STATE = re.compile(r"(Live|Loading|Unloading) ")
TAINTS = re.compile(r"(?: \(([A-Z+\-]{1,16})\))?()$")
ADDRESS = "an address such as 0xffffffffc0424000"


def parse_modules(text: str, where: str) -> tuple[ModuleRow, ...]:
    """Return a row for every line.

    Raises: InputError, naming line and column, if a line is malformed.
    """
    rows: list[ModuleRow] = []
    for scan in row_lines(text, where, "'virtio 20480 0 - Live 0xffffffffc0424000'"):
        name = scan.take(NAME, "the name of a module")
        size_bytes = scan.number("a size in bytes")
        references = int(scan.take(REFERENCES, "a number of references"))
        users = scan.take(USERS, "'-' or names such as 'ext4,loop,'")
        used_by = () if users == "-" else tuple(users.removesuffix(",").split(","))
        state = scan.take(STATE, "Live, Loading or Unloading")
        scan.word("0x")
        core_addr = scan.hexadecimal(ADDRESS)
        taints = scan.take(TAINTS, "'(OE)' or the end of the line") or ""
        rows.append(ModuleRow(name, size_bytes, references, used_by, state, core_addr, taints))
    return tuple(rows)
