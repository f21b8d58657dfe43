"""Where all memory is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from kernel_sim.proc.meminfo import MeminfoRow, meminfo_rows, meminfo_text


def values(machine: Any) -> dict[str, int]:
    return {row.name: row.value for row in meminfo_rows(machine)}


def test_lines_are_as_the_kernel_prints_them() -> None:
    rows = (
        MeminfoRow("MemTotal", 1998108, "kB"),
        MeminfoRow("VmallocTotal", 34359738367, "kB"),
        MeminfoRow("HardwareCorrupted", 0, "kB"),
        MeminfoRow("HugePages_Total", 0, ""),
    )
    assert meminfo_text(rows).split("\n") == [
        "MemTotal:        1998108 kB",
        "VmallocTotal:   34359738367 kB",
        "HardwareCorrupted:     0 kB",
        "HugePages_Total:       0",
        "",
    ]


def test_memory_adds_up(small_kernel: Any) -> None:
    kernel = small_kernel()
    zones = kernel.machine.pages.zones
    found = values(kernel.machine)
    reserved = sum(zone.buddy.nr_reserved_pages for zone in zones)
    assert found["MemTotal"] == (16 << 10) - reserved * 4
    assert found["MemFree"] == sum(zone.buddy.nr_free_pages for zone in zones) * 4
    assert 0 <= found["MemAvailable"] <= found["MemFree"] <= found["MemTotal"]
    assert found["CommitLimit"] == found["MemTotal"] // 4 // 2 * 4


def test_percpu_counts_all_units(small_kernel: Any) -> None:
    kernel = small_kernel()
    info = kernel.machine.alloc_info
    first_pages = -(-(6000 + 8192 + info.dyn_size_bytes) // 4096)
    before = values(kernel.machine)["Percpu"]
    assert before == first_pages * info.nr_units * 4
    kernel.use_up_ready_space()
    kernel.alloc(8192)
    populated = sum(
        chunk.nr_populated for number, chunk in kernel.machine.percpu.chunks.items() if number > 0
    )
    assert populated
    assert values(kernel.machine)["Percpu"] == before + populated * info.nr_units * 4


def test_the_direct_map_covers_the_memory(small_kernel: Any) -> None:
    found = values(small_kernel().machine)
    assert found["DirectMap4k"] + found["DirectMap2M"] + found["DirectMap1G"] == 16 << 10


def test_the_vmalloc_space_is_what_the_kernel_says(small_kernel: Any) -> None:
    assert values(small_kernel().machine)["VmallocTotal"] == 34359738367


def test_each_kernel_has_its_own_lines(small_kernel: Any) -> None:
    machine = small_kernel().machine
    assert not {"Unaccepted", "HighTotal", "DirectMap4M"} & set(values(machine))
    kernel = machine.config.kernel
    machine.config = replace(machine.config, kernel=replace(kernel, version="6.12"))
    assert "Unaccepted" in values(machine)


def test_pages_of_areas_and_slabs_are_counted(small_kernel: Any) -> None:
    machine = small_kernel().machine
    before = values(machine)
    machine.vmalloc.alloc_area(3 * 4096, 4096, "alloc_large_system_hash", nr_pages=3)
    assert machine.slab.kmalloc_node(64, gfp=0xCC0, node=0) is not None
    after = values(machine)
    assert after["VmallocUsed"] == before["VmallocUsed"] + 12
    assert after["Slab"] == after["SUnreclaim"] > before["Slab"]
