"""Free blocks by zone and order."""

from __future__ import annotations

from typing import Any

from kernel_sim.proc.buddyinfo import BuddyRow, buddyinfo_rows, buddyinfo_text


def test_a_line_is_as_the_kernel_prints_it() -> None:
    row = BuddyRow(0, "DMA", (0, 0, 0, 0, 0, 0, 1, 1, 0, 1, 3))
    expected = (
        "Node 0, zone      DMA      0      0      0      0      0      0"
        "      1      1      0      1      3 \n"
    )
    assert buddyinfo_text((row,)) == expected


def test_blocks_add_up_to_the_free_pages(small_kernel: Any) -> None:
    machine = small_kernel().machine
    rows = buddyinfo_rows(machine)
    assert [(row.node, row.zone) for row in rows] == [
        (zone.node, zone.name) for zone in machine.pages.zones
    ]
    pages = sum(count << order for row in rows for order, count in enumerate(row.nr_free_blocks))
    assert pages == sum(zone.buddy.nr_free_pages for zone in machine.pages.zones)


def test_a_new_chunk_takes_pages(small_kernel: Any) -> None:
    kernel = small_kernel()
    before = buddyinfo_rows(kernel.machine)
    kernel.use_up_ready_space()
    kernel.alloc(4096)
    assert buddyinfo_rows(kernel.machine) != before
