"""What the files are made from."""

from __future__ import annotations

from typing import Any

from kernel_sim.mm.phys_range import PhysRange
from kernel_sim.proc.sources import (
    SYSTEM_RAM,
    direct_map_bytes,
    joined_memory,
    memory_map,
    nr_percpu_pages,
    nr_slab_pages,
    nr_table_pages,
    numa_counters,
    online_cpus,
    zone_names,
    zone_protection,
    zone_watermarks,
)


def test_zones_of_a_64_bit_kernel(small_kernel: Any) -> None:
    machine = small_kernel().machine
    assert zone_names(machine) == ("DMA", "DMA32", "Normal", "Movable", "Device")
    assert online_cpus(machine) == (0, 1, 2, 3)


def test_protection_has_a_number_for_every_zone(small_kernel: Any) -> None:
    machine = small_kernel().machine
    for zone in machine.pages.zones:
        protection = zone_protection(machine, zone)
        assert len(protection) == 5
        assert protection[0] == 0


def test_watermarks_rise(small_kernel: Any) -> None:
    machine = small_kernel().machine
    for zone in machine.pages.zones:
        marks = zone_watermarks(machine, zone)
        assert 0 <= marks.min <= marks.low <= marks.high <= zone.nr_managed_pages


def test_counters_of_all_zones_are_those_of_the_nodes(small_kernel: Any) -> None:
    kernel = small_kernel()
    kernel.use_up_ready_space()
    kernel.alloc(4096)
    machine = kernel.machine
    hits = sum(numa_counters(zone)["numa_hit"] for zone in machine.pages.zones)
    assert hits == sum(machine.pages.numa_hit) > 0


def test_memory_without_a_map_is_that_of_the_nodes(small_kernel: Any) -> None:
    machine = small_kernel().machine
    whole = PhysRange(0, (16 << 20) - 1)
    assert joined_memory(machine) == (whole,)
    assert memory_map(machine) == ((whole, SYSTEM_RAM),)


def test_pages_are_counted_by_what_they_are_for(small_kernel: Any) -> None:
    machine = small_kernel().machine
    assert nr_table_pages(machine) == nr_table_pages(machine, 0) + nr_table_pages(machine, 1) > 0
    assert nr_slab_pages(machine) >= 0
    assert nr_percpu_pages(machine) == machine.percpu.nr_populated * machine.alloc_info.nr_units


def test_the_direct_map_is_counted_by_page_size(small_kernel: Any) -> None:
    found = direct_map_bytes(small_kernel().machine)
    assert sum(found.values()) == 16 << 20
    assert found[2 << 20] == 16 << 20
