"""/proc/pagetypeinfo: free blocks by what kind of page they are kept for.

    Page block order: 9
    Free pages count per migrate type at order       0      1      2 …
    Node    0, zone      DMA, type    Unmovable      0      0      0 …

    Number of blocks type     Unmovable      Movable  Reclaimable   HighAtomic      Isolate
    Node 0, zone      DMA            1            7            0            0            0

One such page for every node with memory. The simulated machine does not group pages by mobility:
it shows all its free blocks, and all its page blocks, as Movable. That is how every page block of
a real kernel begins; what moves blocks to other types is not modelled.
Source: mm/vmstat.c, Linux 6.1: pagetypeinfo_show().
"""

from __future__ import annotations

from typing import NamedTuple

from kernel_sim.alignment import align_down, align_up
from kernel_sim.machine import Machine
from kernel_sim.mm.buddy import NR_ORDERS, PfnRange
from kernel_sim.mm.zone import Zone

PAGEBLOCK_ORDER = 9
MIGRATE_TYPES = ("Unmovable", "Movable", "Reclaimable", "HighAtomic", "Isolate")
MOVABLE = "Movable"
FREE_COUNT_MAX = 100_000  # the kernel counts no further and prints ">100000"
FREE_HEADING = "Free pages count per migrate type at order"
BLOCKS_HEADING = "Number of blocks type"


class FreeByType(NamedTuple):
    """Free blocks of one migrate type in one zone; over[order]: there are more than that."""

    node: int
    zone: str
    migrate_type: str
    nr_free_blocks: tuple[int, ...]
    over: tuple[bool, ...]


class BlocksByType(NamedTuple):
    """Page blocks of a zone by migrate type, in the order of the heading."""

    node: int
    zone: str
    nr_blocks: tuple[int, ...]


class PageTypes(NamedTuple):
    """The page of one node."""

    page_block_order: int
    pages_per_block: int
    orders: tuple[int, ...]
    free: tuple[FreeByType, ...]
    types: tuple[str, ...]
    blocks: tuple[BlocksByType, ...]


def pagetypeinfo_rows(machine: Machine) -> tuple[PageTypes, ...]:
    """Return the page of every node that has memory."""
    pages: list[PageTypes] = []
    for node in machine.topology.nodes:
        zones = [zone for zone in machine.pages.zones_of(node) if zone.buddy.nr_present_pages]
        if zones:
            pages.append(
                PageTypes(
                    PAGEBLOCK_ORDER,
                    1 << PAGEBLOCK_ORDER,
                    tuple(range(NR_ORDERS)),
                    tuple(_free_row(zone, name) for zone in zones for name in MIGRATE_TYPES),
                    MIGRATE_TYPES,
                    tuple(_blocks_row(zone) for zone in zones),
                )
            )
    return tuple(pages)


def _free_row(zone: Zone, migrate_type: str) -> FreeByType:
    counts = [0] * NR_ORDERS
    if migrate_type == MOVABLE:
        counts = [zone.buddy.free_blocks(order) for order in range(NR_ORDERS)]
    return FreeByType(
        zone.node,
        zone.name,
        migrate_type,
        tuple(min(count, FREE_COUNT_MAX) for count in counts),
        tuple(count >= FREE_COUNT_MAX for count in counts),
    )


def _blocks_row(zone: Zone) -> BlocksByType:
    nr_blocks = _page_blocks(zone.buddy.memory)
    counts = tuple(nr_blocks if name == MOVABLE else 0 for name in MIGRATE_TYPES)
    return BlocksByType(zone.node, zone.name, counts)


def _page_blocks(memory: tuple[PfnRange, ...]) -> int:
    """Return how many page blocks hold a page of these ascending ranges."""
    block_pages = 1 << PAGEBLOCK_ORDER
    nr_blocks, counted_end = 0, 0
    for start_pfn, end_pfn in memory:
        first = max(align_down(start_pfn, block_pages), counted_end)
        counted_end = align_up(end_pfn, block_pages)
        nr_blocks += max(counted_end - first, 0) // block_pages
    return nr_blocks


def pagetypeinfo_text(rows: tuple[PageTypes, ...]) -> str:
    """Return the file as the kernel prints it."""
    return "".join(_page_text(page) for page in rows)


def _page_text(page: PageTypes) -> str:
    lines = [
        f"Page block order: {page.page_block_order}",
        f"Pages per block:  {page.pages_per_block}",
        "",
        f"{FREE_HEADING:<43} " + "".join(f"{order:6} " for order in page.orders),
    ]
    for row in page.free:
        counts = zip(row.nr_free_blocks, row.over, strict=True)
        lines.append(
            f"Node {row.node:4}, zone {row.zone:>8}, type {row.migrate_type:>12} "
            + "".join(f"{'>' * over}{count:6} " for count, over in counts)
        )
    lines += ["", f"{BLOCKS_HEADING:<22} " + "".join(f"{name:>12} " for name in page.types)]
    for blocks in page.blocks:
        lines.append(
            f"Node {blocks.node}, zone {blocks.zone:>8} "
            + "".join(f"{count:12} " for count in blocks.nr_blocks)
        )
    return "\n".join(lines) + "\n"
