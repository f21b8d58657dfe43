"""Zones with all their counters."""

from __future__ import annotations

from typing import Any

import pytest

from kernel_sim.proc.figures import figures_of, value_of
from kernel_sim.proc.zoneinfo import (
    Pageset,
    ZonePopulation,
    ZoneRow,
    normal_threshold,
    zoneinfo_rows,
    zoneinfo_text,
)


def test_a_zone_is_as_the_kernel_prints_it() -> None:
    row = ZoneRow(
        1,
        "DMA32",
        figures_of([("nr_mapped", 447)]),
        figures_of([("free", 3776), ("min", 131), ("present", 3998)]),
        (0, 939),
        ZonePopulation(figures_of([("nr_free_pages", 3776)]), (Pageset(0, 7, 81, 1, 6),), 0, 4096),
    )
    assert zoneinfo_text((row,)).split("\n") == [
        "Node 1, zone    DMA32",
        "  per-node stats",
        "      nr_mapped    447",
        "  pages free     3776",
        "        min      131",
        "        present  3998",
        "        protection: (0, 939)",
        "      nr_free_pages 3776",
        "  pagesets",
        "    cpu: 0",
        "              count: 7",
        "              high:  81",
        "              batch: 1",
        "  vm stats threshold: 6",
        "  node_unreclaimable:  0",
        "  start_pfn:           4096",
        "",
    ]


def test_every_zone_of_every_node_has_a_row(small_kernel: Any) -> None:
    rows = zoneinfo_rows(small_kernel().machine)
    names = ["DMA", "DMA32", "Normal", "Movable", "Device"]
    assert [(row.node, row.zone) for row in rows] == [(n, z) for n in (0, 1) for z in names]
    assert [row.zone for row in rows if row.population is not None] == ["DMA", "DMA"]
    assert [bool(row.node_counters) for row in rows] == [True, False, False, False, False] * 2


def test_sizes_are_the_buddy_allocators(small_kernel: Any) -> None:
    machine = small_kernel().machine
    for row in zoneinfo_rows(machine):
        if row.population is None:
            assert not any(size.value for size in row.sizes)
            continue
        zone = machine.pages.zones_of(row.node)[0]
        assert value_of(row.sizes, "present") == 2048
        assert value_of(row.sizes, "managed") == 2048 - zone.buddy.nr_reserved_pages
        assert value_of(row.sizes, "free") == zone.buddy.nr_free_pages
        assert row.population.start_pfn == row.node * 2048
        assert [pageset.cpu for pageset in row.population.pagesets] == [0, 1, 2, 3]


def test_tables_are_counted_on_the_node_they_lie_on(small_kernel: Any) -> None:
    machine = small_kernel().machine
    rows = [row for row in zoneinfo_rows(machine) if row.node_counters]
    counted = [value_of(row.node_counters, "nr_page_table_pages") for row in rows]
    assert sum(counted) == len(machine.space.table_pfns)


@pytest.mark.parametrize(
    ("nr_cpus", "managed", "threshold"),
    [(4, 3840, 6), (4, 242463, 24), (4, 253224, 24), (1, 1 << 40, 54), (4096, 1 << 40, 125)],
)
def test_the_threshold_is_that_of_real_machines(nr_cpus: int, managed: int, threshold: int) -> None:
    assert normal_threshold(nr_cpus, managed) == threshold
