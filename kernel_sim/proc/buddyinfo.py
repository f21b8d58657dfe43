"""/proc/buddyinfo: the free blocks of every zone, by order.

    Node 0, zone      DMA      0      0      0      0      0      0      1      1      0      1      3
                            order 0      1      2 …                                               10

Source: mm/vmstat.c, Linux 6.1: frag_show_print().
"""

from __future__ import annotations

from typing import NamedTuple

from kernel_sim.machine import Machine
from kernel_sim.mm.buddy import NR_ORDERS


class BuddyRow(NamedTuple):
    """One zone that has memory: how many free blocks of each order."""

    node: int
    zone: str
    nr_free_blocks: tuple[int, ...]


def buddyinfo_rows(machine: Machine) -> tuple[BuddyRow, ...]:
    """Return a row for every zone with memory, by node and low zones first."""
    return tuple(
        BuddyRow(
            zone.node,
            zone.name,
            tuple(zone.buddy.free_blocks(order) for order in range(NR_ORDERS)),
        )
        for zone in machine.pages.zones
        if zone.buddy.nr_present_pages
    )


def buddyinfo_text(rows: tuple[BuddyRow, ...]) -> str:
    """Return the file as the kernel prints it."""
    return "".join(
        f"Node {row.node}, zone {row.zone:>8} "
        + "".join(f"{nr_blocks:6} " for nr_blocks in row.nr_free_blocks)
        + "\n"
        for row in rows
    )
