"""Reading a kernel log's lines about memory: the firmware's map, zones, nodes, and what is left.

They are found among all other lines, with or without a time in front. What looks like one of them
but is malformed is an error; what is missing is empty.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from kernel_sim.mm.phys_range import PhysRange
from kernel_sim.proc.boot_memory import (
    BootMemory,
    FirmwareRange,
    MemorySummary,
    NodeRange,
    Unavailable,
    ZoneRange,
)
from snapshots.proc.scan import ROWS_MAX, LineScan, scan_lines

STAMP = re.compile(r"((?:<[0-9]{1,3}>)?(?:\[ *[0-9]{1,10}\.[0-9]{1,9}\] )?)")
ZONE_LINE = re.compile(r"  ((?:DMA|DMA32|Normal|HighMem|Device)) +")
NODE_LINE = re.compile(r"  node +([0-9]{1,4}): ")
KIND = re.compile(r" ([ -~]{1,64})$")
ZONE = re.compile(r", zone ([A-Za-z0-9]{1,16}): ")
KIB = re.compile(r"([0-9]{1,18})K")
SUMMARY_WORDS = (
    "/", " available (", " kernel code, ", " rwdata, ", " rodata, ", " init, ", " bss, ",
    " reserved, ", " cma-reserved",
)  # fmt: skip
MEM = "a range such as [mem 0x0000000000001000-0x0000000000ffffff]"


def parse_boot_memory(text: str, where: str) -> BootMemory:
    """Return what a kernel log says about memory.

    Raises: InputError, naming line and column, if one of its lines is malformed.
    """
    firmware: list[FirmwareRange] = []
    zones: list[ZoneRange] = []
    node_ranges: list[NodeRange] = []
    spans: list[NodeRange] = []
    unavailable: list[Unavailable] = []
    summaries: list[MemorySummary] = []
    readers: tuple[tuple[str, Callable[[LineScan], None]], ...] = (
        (r"BIOS-e820: \[", lambda scan: firmware.append(_read_firmware(scan))),
        (r"  node +[0-9]{1,4}: ", lambda scan: node_ranges.append(_read_node(scan))),
        ("Initmem setup node [0-9]", lambda scan: spans.append(_read_span(scan))),
        ("On node [0-9]{1,4}, zone ", lambda scan: unavailable.append(_read_unavailable(scan))),
        ("Memory: [0-9]{1,18}K/", lambda scan: summaries.append(_read_summary(scan))),
    )
    nr_found = 0
    for scan in scan_lines(text, where):
        scan.take(STAMP, "a line of a kernel log")
        if ZONE_LINE.match(scan.line, scan.column):
            zones.append(_read_zone(scan))
            nr_found += 1
        for start, read in readers:
            if re.compile(start).match(scan.line, scan.column):
                read(scan)
                nr_found += 1
        if nr_found > ROWS_MAX:
            raise scan.error(f"at most {ROWS_MAX} lines about memory")
    return BootMemory(
        tuple(firmware),
        tuple(zones),
        tuple(node_ranges),
        tuple(spans),
        tuple(unavailable),
        summaries[-1] if summaries else None,
    )


def _read_mem(scan: LineScan) -> PhysRange:
    if not scan.line.startswith("[mem 0x", scan.column):
        raise scan.error(MEM)
    scan.word("[mem 0x")
    start = scan.hexadecimal(MEM)
    scan.word("-0x")
    last = scan.hexadecimal(MEM)
    scan.word("]")
    if last < start:
        raise scan.error(f"{MEM}, its last byte not below its first")
    return PhysRange(start, last)


def _read_firmware(scan: LineScan) -> FirmwareRange:
    scan.word("BIOS-e820: ")
    return FirmwareRange(_read_mem(scan), scan.take(KIND, "usable, reserved or such"))


def _read_zone(scan: LineScan) -> ZoneRange:
    name = scan.take(ZONE_LINE, "a zone")
    if scan.line[scan.column :] == "empty":
        return ZoneRange(name, None)
    memory = _read_mem(scan)
    scan.end()
    return ZoneRange(name, memory)


def _read_node(scan: LineScan) -> NodeRange:
    node = int(scan.take(NODE_LINE, "'  node   0: [mem …]'"))
    return _with_memory(scan, node)


def _read_span(scan: LineScan) -> NodeRange:
    scan.word("Initmem setup node ")
    node = scan.number("the number of a node")
    scan.word(" ")
    return _with_memory(scan, node)


def _with_memory(scan: LineScan, node: int) -> NodeRange:
    memory = _read_mem(scan)
    scan.end()
    return NodeRange(node, memory)


def _read_unavailable(scan: LineScan) -> Unavailable:
    scan.word("On node ")
    node = scan.number("the number of a node")
    zone = scan.take(ZONE, "', zone DMA: …'")
    nr_pages = scan.number("a number of pages")
    scan.word(" pages in unavailable ranges")
    scan.end()
    return Unavailable(node, zone, nr_pages)


def _read_summary(scan: LineScan) -> MemorySummary:
    scan.word("Memory: ")
    sizes: list[int] = []
    for word in SUMMARY_WORDS:
        sizes.append(int(scan.take(KIB, "a size such as 338620K")))
        scan.word(word)
    highmem: int | None = None
    if scan.line.startswith(", ", scan.column):
        scan.word(", ")
        highmem = int(scan.take(KIB, "a size such as 131072K"))
        scan.word(" highmem")
    scan.word(")")
    scan.end()
    return MemorySummary._make((*sizes, highmem))
