"""Reading /proc/buddyinfo, of a real kernel or of the simulated one."""

from __future__ import annotations

import re

from kernel_sim.proc.buddyinfo import BuddyRow
from snapshots.proc.scan import LineScan, row_lines

ORDERS_MAX = 32
ZONE = re.compile(r" *([A-Za-z0-9]{1,16})(?![A-Za-z0-9])")


def parse_buddyinfo(text: str, where: str) -> tuple[BuddyRow, ...]:
    """Return a row for every line.

    Raises: InputError, naming line and column, if a line is malformed or has other orders than the
    first.
    """
    rows: list[BuddyRow] = []
    for scan in row_lines(text, where, "'Node 0, zone      DMA …'"):
        node, zone = read_zone(scan)
        counts = scan.numbers("a number of free blocks")
        nr_orders = len(rows[0].nr_free_blocks) if rows else min(len(counts), ORDERS_MAX)
        if len(counts) != nr_orders:
            raise scan.error(f"{nr_orders} numbers, one an order, got {len(counts)}")
        rows.append(BuddyRow(node, zone, counts))
    return tuple(rows)


def read_zone(scan: LineScan) -> tuple[int, str]:
    """Read "Node 0, zone      DMA" and return the node and the zone's name."""
    scan.word("Node ")
    node = scan.number("the number of a node")
    scan.word(", zone ")
    return node, scan.take(ZONE, "the name of a zone")
