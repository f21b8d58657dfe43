from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from kernel_sim.boot import boot
from kernel_sim.config import MachineConfig
from kernel_sim.early_memory import EarlyMemory
from kernel_sim.errors import ConfigError
from kernel_sim.mm.page_alloc import PageAllocator
from kernel_sim.percpu.static_areas import (
    StaticAreas,
    copy_section,
    line_bytes_of,
    reserve_static_areas,
)


def config(arch: str, **options: object) -> MachineConfig:
    mapping: dict[str, Any] = {
        "name": "areas",
        "kernel": {"arch": arch},
        "cpus": {"possible": "0-3"},
        "node": [{"cpus": "0-1", "memory_mib": 128}, {"cpus": "2-3", "memory_mib": 128}],
        "percpu": {"system": "legacy-static", "options": options},
    }
    return MachineConfig.from_mapping(mapping, where="x.toml")


def early(arch: str, node_bytes: int = 1 << 20) -> EarlyMemory:
    memory = {node: ((node << 24, (node << 24) + node_bytes),) for node in (0, 1)}
    pages = PageAllocator(memory=memory, distances=((10, 20), (20, 10)), nodes_with_cpus=(0, 1))
    return EarlyMemory(config(arch), config(arch).topology(), pages)


def test_areas_lie_end_to_end_on_i386() -> None:
    areas = reserve_static_areas(early("i386"), 32768)
    starts = list(areas.addrs.values())
    assert [b - a for a, b in pairwise(starts)] == [32768] * 3
    assert areas.is_one_block


def test_each_area_lies_on_its_cpus_node_on_x86_64() -> None:
    memory = early("x86-64")
    areas = reserve_static_areas(memory, 32768)
    base = memory.config.kernel.arch.direct_map_addr
    assert [memory.pages.node_of_pfn(a - base >> 12) for a in areas.addrs.values()] == [0, 0, 1, 1]
    assert not areas.is_one_block


def test_without_room_the_description_is_told_what_to_give() -> None:
    with pytest.raises(ConfigError, match=r"no node has 4194304 free bytes .* give node 0 more"):
        reserve_static_areas(early("i386"), 1 << 20)


def test_the_last_page_belongs_to_who_stands_last() -> None:
    areas = StaticAreas({0: 0x1000, 1: 0x1600}, 0x600, is_one_block=True)
    assert areas.size_of(0) == 0x600
    assert areas.size_of(1) == 0x2000 - 0x1600


def test_a_cache_line_is_a_power_of_two() -> None:
    assert line_bytes_of(config("i386", cache_line_bytes=64)) == 64
    with pytest.raises(ConfigError, match="cache_line_bytes: 100; expected a power of two"):
        line_bytes_of(config("i386", cache_line_bytes=100))


def test_the_section_is_copied_page_by_page() -> None:
    machine = boot(config("i386"))
    start = machine.symbol("__per_cpu_start")
    phys = machine.space.translate(start)
    assert phys is not None
    machine.memory.write(phys, b"first")
    machine.memory.write(phys + 4096, b"second")
    target = machine.system.copy_addr(start, 2)
    assert target is not None
    copy_section(machine, start, target)
    assert machine.access.read(0, target, 5) == b"first"
    assert machine.access.read(0, target + 4096, 6) == b"second"
