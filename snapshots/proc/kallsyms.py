"""Reading /proc/kallsyms or a System.map: one symbol a line, with or without a module.

ffffffff812386e0 T pcpu_freelist_init
ffffffffc0424000 t virtio_init	[virtio]
"""

from __future__ import annotations

import re

from kernel_sim.proc.kallsyms import SymbolRow
from snapshots.proc.scan import LineScan, scan_lines

KIND = re.compile(r" ([A-Za-z?\-]) ")
NAME = re.compile(r"(\S{1,512})")
MODULE = re.compile(r"(?:[ \t]+\[([^\]\s]{1,64})\])?[ \t]*$")


def parse_kallsyms_rows(text: str, where: str) -> tuple[SymbolRow, ...]:
    """Return a row for every line.

    Raises: InputError, naming line and column, if a line is malformed.
    """
    return tuple(read_symbol(scan) for scan in scan_lines(text, where))


def read_symbol(scan: LineScan) -> SymbolRow:
    """Read one line."""
    addr = scan.hexadecimal("an address such as ffffffff812386e0")
    kind = scan.take(KIND, "one letter for the kind of symbol")
    name = scan.take(NAME, "the name of a symbol")
    module = scan.take(MODULE, "'[module]' or the end of the line")
    return SymbolRow(addr, kind, name, module or "")
