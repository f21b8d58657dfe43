from __future__ import annotations

import pytest

from kernel_sim.boot import boot
from kernel_sim.config import MachineConfig
from kernel_sim.early_memory import EarlyMemory
from kernel_sim.errors import ConfigError
from kernel_sim.mm.page_alloc import PageAllocator
from kernel_sim.percpu.unit_boot import place_units

GIB = 1 << 30


def machine(**percpu: object) -> dict[str, object]:
    nodes = [
        {"cpus": f"{2 * n}-{2 * n + 1}", "memory": [f"{n * GIB:#x}-{(n + 1) * GIB - 1:#x}"]}
        for n in (0, 1)
    ]
    return {"name": "units", "cpus": {"possible": "0-3"}, "node": nodes, "percpu": percpu}


def test_an_embedded_first_chunk_lies_on_its_nodes_and_gives_its_tails_back() -> None:
    made = boot(MachineConfig.from_mapping(machine(), where="x"))
    units = made.percpu_units
    assert units.base_addr == min(units.group_addrs)
    for cpu, unit in units.info.unit_map.items():
        addr = units.base_addr + units.places.unit_offsets[cpu]
        phys = made.space.translate(addr)
        assert phys is not None and made.pages.node_of_pfn(phys >> 12) == cpu // 2, unit
        tail = phys + units.info.size_sum_bytes
        assert made.pages.owner_state_of(tail >> 12).startswith("free")
    assert units.starts == tuple(sorted(units.places.unit_offsets[cpu] for cpu in range(4)))


def test_page_by_page_every_page_is_mapped_on_its_own() -> None:
    made = boot(MachineConfig.from_mapping(machine(first_chunk="page"), where="x"))
    assert made.percpu_units.group_phys == ()
    (addr,) = made.boot_group_addrs
    assert made.vmalloc.find_area(addr) is not None
    way = made.space.find_translation(addr)
    assert way is not None and way.shift == 12


def test_a_group_that_no_node_can_hold_is_refused() -> None:
    config = MachineConfig.from_mapping(machine(), where="x")
    memory = {node: ((node << 20, (node << 20) + (256 << 10)),) for node in (0, 1)}
    pages = PageAllocator(memory=memory, distances=((10, 20), (20, 10)), nodes_with_cpus=(0, 1))
    with pytest.raises(ConfigError, match=r"no node has .* in one piece for group 0"):
        place_units(EarlyMemory(config, config.topology(), pages))
