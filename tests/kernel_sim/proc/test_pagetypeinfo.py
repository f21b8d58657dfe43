"""Free blocks and page blocks by migrate type."""

from __future__ import annotations

from typing import Any

from kernel_sim.proc.buddyinfo import buddyinfo_rows
from kernel_sim.proc.pagetypeinfo import (
    BlocksByType,
    FreeByType,
    PageTypes,
    pagetypeinfo_rows,
    pagetypeinfo_text,
)


def test_a_node_is_as_the_kernel_prints_it() -> None:
    page = PageTypes(
        9,
        512,
        (0, 1),
        (FreeByType(0, "DMA32", "Movable", (3, 100000), (False, True)),),
        ("Unmovable", "Movable"),
        (BlocksByType(0, "DMA32", (33, 465)),),
    )
    assert pagetypeinfo_text((page,)).split("\n") == [
        "Page block order: 9",
        "Pages per block:  512",
        "",
        "Free pages count per migrate type at order       0      1 ",
        "Node    0, zone    DMA32, type      Movable      3 >100000 ",
        "",
        "Number of blocks type     Unmovable      Movable ",
        "Node 0, zone    DMA32           33          465 ",
        "",
    ]


def test_all_free_blocks_are_movable(small_kernel: Any) -> None:
    machine = small_kernel().machine
    pages = pagetypeinfo_rows(machine)
    assert len(pages) == 2
    movable = {
        (row.node, row.zone): row.nr_free_blocks
        for page in pages
        for row in page.free
        if row.migrate_type == "Movable"
    }
    assert movable == {(row.node, row.zone): row.nr_free_blocks for row in buddyinfo_rows(machine)}
    others = [row for page in pages for row in page.free if row.migrate_type != "Movable"]
    assert len(others) == 4 * len(movable)
    assert not any(sum(row.nr_free_blocks) for row in others)


def test_page_blocks_cover_the_memory(small_kernel: Any) -> None:
    pages = pagetypeinfo_rows(small_kernel().machine)
    assert [sum(row.nr_blocks) for page in pages for row in page.blocks] == [4, 4]  # 8 MiB each
