"""Reading /proc/pagetypeinfo, of a real kernel or of the simulated one."""

from __future__ import annotations

import re

from kernel_sim.proc.pagetypeinfo import (
    BLOCKS_HEADING,
    FREE_HEADING,
    BlocksByType,
    FreeByType,
    PageTypes,
)
from snapshots.proc.buddyinfo import read_zone
from snapshots.proc.scan import ROWS_MAX, LineScan, TextScan

TYPE = re.compile(r" *([A-Za-z]{1,32})(?![A-Za-z])")
OVER = re.compile(r" *(>?)")
BLOCKS_LINE = f"'{BLOCKS_HEADING} …'"


def parse_pagetypeinfo(text: str, where: str) -> tuple[PageTypes, ...]:
    """Return the page of every node.

    Raises: InputError, naming line and column, if a line is malformed or missing.
    """
    lines = TextScan.of(text, where)
    pages: list[PageTypes] = []
    while not lines.at_end:
        pages.append(_read_page(lines))
    return tuple(pages)


def _read_page(lines: TextScan) -> PageTypes:
    block_order = _figure(lines, "Page block order:")
    block_pages = _figure(lines, "Pages per block:")
    lines.take_line("")
    heading = lines.take(f"'{FREE_HEADING} …'")
    heading.word(FREE_HEADING)
    orders = heading.numbers("an order")
    free: list[FreeByType] = []
    while lines.next_begins("Node"):
        scan = lines.take("a zone")
        free.append(_read_free(scan, len(orders)))
        if len(free) > ROWS_MAX:
            raise scan.error(f"at most {ROWS_MAX} zones and types")
    lines.take_line("")
    heading = lines.take(BLOCKS_LINE)
    heading.word(BLOCKS_HEADING)
    types = _read_types(heading)
    blocks: list[BlocksByType] = []
    while lines.next_begins("Node"):
        scan = lines.take("a zone")
        node, zone = read_zone(scan)
        counts = scan.numbers("a number of page blocks")
        if len(counts) != len(types):
            raise scan.error(f"{len(types)} numbers, one a type, got {len(counts)}")
        blocks.append(BlocksByType(node, zone, counts))
    return PageTypes(block_order, block_pages, orders, tuple(free), types, tuple(blocks))


def _figure(lines: TextScan, label: str) -> int:
    scan = lines.take(f"'{label} …'")
    scan.word(label)
    value = scan.number()
    scan.end()
    return value


def _read_types(scan: LineScan) -> tuple[str, ...]:
    types = [scan.take(TYPE, "a migrate type")]
    scan.spaces()
    while not scan.at_end:
        types.append(scan.take(TYPE, "a migrate type"))
        scan.spaces()
    return tuple(types)


def _read_free(scan: LineScan, nr_orders: int) -> FreeByType:
    node, zone = read_zone(scan)
    scan.word(", type ")
    migrate_type = scan.take(TYPE, "a migrate type")
    counts: list[int] = []
    over: list[bool] = []
    for _ in range(nr_orders):
        over.append(scan.take(OVER, "a number of free blocks") == ">")
        counts.append(scan.number("a number of free blocks"))
    scan.end()
    return FreeByType(node, zone, migrate_type, tuple(counts), tuple(over))
