from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kernel_sim.config import MachineConfig
from kernel_sim.percpu.boot_log import BootLine, boot_lines, numa_lines, setup_percpu_line

RUNS = json.loads((Path(__file__).parents[2] / "golden" / "boot-lines.json").read_text())["runs"]


def machine(**tables: object) -> MachineConfig:
    mapping = {"name": "m", "cpus": {"possible": "0-3"}, "node": [{"memory_mib": 64}]}
    return MachineConfig.from_mapping(mapping | tables, where="m.toml")


def texts(lines: tuple[BootLine, ...]) -> list[str]:
    return [line.text for line in lines]


@pytest.mark.parametrize("run", RUNS, ids=[run["run"] for run in RUNS])
def test_a_real_kernel_printed_the_same_lines(run: dict[str, Any]) -> None:
    config = MachineConfig.from_mapping(run["machine"], where=run["run"])
    assert texts(boot_lines(config)) == run["lines"]


def test_the_dump_and_the_distance_table_are_for_debugging_only() -> None:
    config = machine(numa={"distances": [[10]]})
    assert {line.text.split(" ")[0]: line.level for line in boot_lines(config)} == {
        "ACPI:": 6, "NUMA:": 7, "smpboot:": 6, "setup_percpu:": 6, "percpu:": 6, "pcpu-alloc:": 7,
    }  # fmt: skip


def test_a_line_shows_its_level_as_the_kernels_buffer_does() -> None:
    assert BootLine(6, "percpu: x").with_level() == "<6>percpu: x"


@pytest.mark.parametrize(
    ("version", "text"),
    [
        ("6.1", "smpboot: Allowing 8 CPUs, 2 hotplug CPUs"),
        ("6.12", "CPU topo: Allowing 6 present CPUs plus 2 hotplug CPUs"),
    ],
)
def test_cpus_that_are_not_plugged_in_are_announced(version: str, text: str) -> None:
    cpus = {"possible": "0-7", "present": "0-5", "online": "0-1"}
    assert text in texts(boot_lines(machine(kernel={"version": version}, cpus=cpus)))


@pytest.mark.parametrize(
    ("version", "nr_cpus", "nr_bits"), [("6.1", 64, 64), ("6.1", 513, 4), ("6.12", 64, 4)]
)
def test_masks_on_the_stack_have_room_for_all_cpus_of_the_build(
    version: str, nr_cpus: int, nr_bits: int
) -> None:
    line = setup_percpu_line(machine(kernel={"version": version, "nr_cpus": nr_cpus}))
    assert line.text == (
        f"setup_percpu: NR_CPUS:{nr_cpus} nr_cpumask_bits:{nr_bits} nr_cpu_ids:4 nr_node_ids:1"
    )


def test_ranges_of_a_node_merge_unless_another_node_lies_between() -> None:
    nodes = [
        {"cpus": "0-3", "memory": ["0x0-0xfffff", "0x200000-0x2fffff", "0x800000-0xffffff"]},
        {"memory": ["0x400000-0x4fffff"]},
    ]
    assert texts(numa_lines(machine(node=nodes)))[4:] == [
        "NUMA: Node 0 [mem 0x00000000-0x000fffff] + [mem 0x00200000-0x002fffff] -> "
        "[mem 0x00000000-0x002fffff]",
    ]


FAR_NODES = [
    {"cpus": "0-1", "memory": ["0x0-0x7fffffff"]},
    {"cpus": "2-3", "memory": ["0x200000000000-0x20007fffffff"]},
]


def test_groups_too_far_apart_end_in_a_first_chunk_of_pages() -> None:
    config = machine(node=FAR_NODES, percpu={"group_phys": ["0x0", "0x200000000000"]})
    assert boot_lines(config)[-6:] == (
        (6, "setup_percpu: NR_CPUS:8192 nr_cpumask_bits:4 nr_cpu_ids:4 nr_node_ids:2"),
        (4, "percpu: max_distance=0x200000200000 too large for vmalloc space 0x1fffffffffff"),
        (4, "setup_percpu: auto allocator failed (-22), falling back to page size"),
        (6, "percpu: 58 4K pages/cpu s217088 r8192 d12288"),
        (7, "pcpu-alloc: s217088 r8192 d12288 u237568 alloc=58*4096"),
        (7, "pcpu-alloc: [0] 0 [0] 1 [0] 2 [0] 3 "),
    )


def test_five_levels_of_page_tables_leave_room_for_them() -> None:
    config = machine(node=FAR_NODES, kernel={"page_table_levels": 5})
    lines = texts(boot_lines(config, (0, 0x200000000000)))
    assert "percpu: Embedded 62 pages/cpu s217088 r8192 d28672 u1048576" in lines


def test_km_says_what_its_power_of_two_wastes() -> None:
    sizes = {"static_bytes": 45056, "atom_bytes": 4096, "backend": "km"}
    lines = boot_lines(machine(percpu=sizes))
    assert lines[-3] == (4, "percpu: wasting 48 pages per chunk")
    no_waste = boot_lines(machine(percpu=sizes | {"atom_bytes": 2 << 20}))
    assert not any("wasting" in line.text for line in no_waste)
