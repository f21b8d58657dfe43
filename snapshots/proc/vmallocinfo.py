"""Reading /proc/vmallocinfo, of a real kernel or of the simulated one."""

from __future__ import annotations

import re

from kernel_sim.proc.vmallocinfo import UNPURGED, NodePages, VmallocRow
from snapshots.proc.scan import LineScan, row_lines

FLAGS = ("ioremap", "vmalloc", "vmap", "user", "dma-coherent", "vpages")
WHOLE = (UNPURGED, "vm_map_ram")  # lines that say nothing else
NODES_MAX = 1024
WORD = re.compile(r" (\S{1,600})")
MODULE = re.compile(r" (\[\S{1,64}\])")
FIGURE = re.compile(r"pages=([0-9]{1,20})$")
PHYS = re.compile(r"phys=0x([0-9a-f]{1,16})$")
NODE = re.compile(r"N([0-9]{1,4})=([0-9]{1,20})$")


def parse_vmallocinfo(text: str, where: str) -> tuple[VmallocRow, ...]:
    """Return a row for every line.

    Raises: InputError, naming line and column, if a line is malformed.
    """
    expected = "'0xffffc90000000000-0xffffc90000005000   20480 …'"
    return tuple(_read_row(scan) for scan in row_lines(text, where, expected))


def _read_row(scan: LineScan) -> VmallocRow:
    scan.word("0x")
    start = scan.hexadecimal("the start of an area")
    scan.word("-0x")
    end = scan.hexadecimal("the end of an area")
    scan.word(" ")
    size_bytes = scan.number("a size in bytes")
    if scan.line[scan.column + 1 :] in WHOLE:
        whole = scan.line[scan.column + 1 :]
        return VmallocRow(start, end, size_bytes, "", 0, None, (whole,), ())
    caller = _read_caller(scan)
    nr_pages, phys = 0, None
    flags: list[str] = []
    node_pages: dict[int, int] = {}
    while not scan.at_end:
        before = scan.column
        word = scan.take(WORD, "pages=, phys=, a kind of area or N0=")
        figure, address, node = FIGURE.match(word), PHYS.match(word), NODE.match(word)
        if word in FLAGS and word not in flags:
            flags.append(word)
        elif figure and not nr_pages:
            nr_pages = int(figure[1])
        elif address and phys is None:
            phys = int(address[1], 16)
        elif node and int(node[1]) not in node_pages and len(node_pages) < NODES_MAX:
            node_pages[int(node[1])] = int(node[2])
        else:
            scan.column = before
            raise scan.error(f"pages=, phys=, N0= or one of {', '.join(FLAGS)}, each once")
    pairs = tuple(NodePages(node, count) for node, count in node_pages.items())
    return VmallocRow(start, end, size_bytes, caller, nr_pages, phys, tuple(flags), pairs)


def _read_caller(scan: LineScan) -> str:
    """Read "kernel_clone+0xbf/0x430", with its module if it is in one; "" if a flag stands there.

    A caller may be called as a flag is (vmalloc); then the flag follows.
    """
    found = WORD.match(scan.line, scan.column)
    if found is None or "=" in found[1]:
        return ""
    if found[1] in FLAGS and found[1] not in scan.line[found.end() :].split(" "):
        return ""
    caller = scan.take(WORD, "a caller")
    if MODULE.match(scan.line, scan.column):
        caller += " " + scan.take(MODULE, "a module")
    return caller
