"""From a config to a machine at step 0."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kernel_sim.arch import ARCHES
from kernel_sim.boot import boot
from kernel_sim.check import check_machine
from kernel_sim.config import MachineConfig
from kernel_sim.errors import ConfigError
from kernel_sim.mm.gfp import GFP_KERNEL
from kernel_sim.percpu.boot_log import boot_lines

EXAMPLES = Path(__file__).parents[2] / "examples" / "machines"
Build = Callable[..., Any]


def example(name: str) -> MachineConfig:
    text = (EXAMPLES / f"{name}.toml").read_text()
    mapping = tomllib.loads(text)
    mapping.pop("symbols_file", None)  # read by whoever reads the file
    return MachineConfig.from_mapping(mapping, where=name)


def config(**tables: object) -> MachineConfig:
    mapping: dict[str, object] = {
        "name": "m",
        "cpus": {"possible": "0-1"},
        "node": [{"cpus": "0-1", "memory_mib": 128}],
    }
    return MachineConfig.from_mapping(mapping | tables, where="m.toml")


@pytest.mark.parametrize("name", [p.stem for p in EXAMPLES.glob("*.toml") if "4096" not in p.stem])
def test_an_example_boots_soundly(name: str) -> None:
    machine = boot(example(name))
    assert (machine.step, machine.is_idle, machine.fault) == (0, True, None)
    check_machine(machine)


def test_the_machine_of_the_demo_has_the_addresses_of_the_real_one() -> None:
    machine = boot(example("numa2-4cpu"))
    assert [hex(addr) for addr in machine.boot_group_addrs] == [
        "0xffff88803ec00000", "0xffff88807c400000",
    ]  # fmt: skip
    size = 4096
    while 1 not in machine.percpu.chunks:
        assert machine.run_call(
            machine.give(0, "pcpu_alloc", (size, size, False, GFP_KERNEL, "f+0x1"))
        )
    machine.run(1 << 60)
    assert hex(machine.percpu.chunks[1].base_addr) == "0xffffe8ffc2400000"
    check_machine(machine)


@pytest.mark.parametrize("first_chunk", ["embed", "page"])
@pytest.mark.parametrize("backend", ["vm", "km"])
def test_every_cpus_base_register_stands_in_the_table_in_memory(
    small_kernel: Build, first_chunk: str, backend: str
) -> None:
    machine = small_kernel(first_chunk=first_chunk, backend=backend).machine
    table = machine.symbol("__per_cpu_offset")
    bases = [cpu.gs_base for cpu in machine.cpus.values()]
    stored = [machine.memory.read_u64(machine.space.translate(table + 8 * n)) for n in range(4)]
    assert stored == bases
    assert bases == [machine.percpu.base_addr + off for off in machine.places.unit_offsets]
    assert len(dict.fromkeys(bases)) == 4
    check_machine(machine)


def test_a_cpus_unit_lies_on_its_node(small_kernel: Build) -> None:
    for first_chunk in ("embed", "page"):
        machine = small_kernel(first_chunk=first_chunk).machine
        for number, cpu in machine.cpus.items():
            phys = machine.space.translate(cpu.gs_base)
            assert machine.pages.node_of_pfn(phys >> 12) == cpu.node == number // 2


def test_embedded_units_lie_in_the_direct_map_and_paged_ones_in_vmalloc_space(
    small_kernel: Build,
) -> None:
    embedded = small_kernel().machine
    for addr in embedded.boot_group_addrs:
        assert embedded.space.translate(addr) == addr - ARCHES["x86-64", 4].direct_map_addr
    paged = small_kernel(first_chunk="page").machine
    assert len(paged.boot_group_addrs) == 1
    area = paged.vmalloc.find_area(paged.boot_group_addrs[0])
    assert area is not None and area.caller == "pcpu_page_first_chunk"


def test_static_variables_tell_a_cpu_who_it_is() -> None:
    symbols = {"this_cpu_off": "0x40", "cpu_number": "0x80"}
    machine = boot(config(symbols=symbols))
    for number, cpu in machine.cpus.items():
        off, who = (machine.space.translate(cpu.gs_base + at) for at in (0x40, 0x80))
        assert machine.memory.read_u64(off) == cpu.gs_base
        assert machine.memory.read(who, 4) == number.to_bytes(4, "little")


def test_the_log_begins_as_the_real_one(small_kernel: Build) -> None:
    machine = boot(example("numa2-4cpu"))
    config = machine.config
    lines = boot_lines(config, config.percpu.group_phys)
    expected = [(line.level, line.text) for line in lines]
    assert [row for row in machine.kernel_log if row in expected] == expected


def test_the_tail_of_a_unit_is_given_back() -> None:
    machine = boot(config())
    info = machine.alloc_info
    phys = machine.space.translate(machine.cpus[0].gs_base)
    zone = machine.pages.zone_of_pfn(phys >> 12)
    last, behind = (phys + info.size_sum_bytes - 1) >> 12, (phys + info.size_sum_bytes) >> 12
    assert zone.buddy.is_reserved(last, last + 1)
    assert not zone.buddy.is_reserved(behind, behind + 1)


@pytest.mark.parametrize("memory_mib", [8, 16, 40, 128])
def test_a_machine_boots_without_a_symbol_table_whatever_its_size(memory_mib: int) -> None:
    percpu = {"static_bytes": 6000, "atom_bytes": 4096}
    machine = boot(config(node=[{"cpus": "0-1", "memory_mib": memory_mib}], percpu=percpu))
    check_machine(machine)
    assert machine.symbol("__per_cpu_offset") > ARCHES["x86-64", 4].image_map_addr


def test_a_table_outside_the_kernel_image_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"\[symbols\]: 0xffffffff90000000 is not mapped"):
        boot(config(symbols={"__per_cpu_offset": "0xffffffff90000000"}))


def test_groups_too_far_apart_make_it_boot_page_by_page() -> None:
    machine = boot(
        config(
            cpus={"possible": "0-3"},
            node=[{"cpus": "0-1", "memory_mib": 128}, {"cpus": "2-3", "memory_mib": 128}],
            vmalloc={"start": "0xffffc90000000000", "end": "0xffffc90007ffffff"},
            percpu={"static_bytes": 6000, "reserved_bytes": 0},
        )
    )
    assert any(area.caller == "pcpu_page_first_chunk" for area in machine.vmalloc.areas)
    check_machine(machine)


def test_the_same_config_boots_the_same_machine(small_kernel: Build) -> None:
    from kernel_sim.machine_state import dump_parts

    assert dump_parts(small_kernel().machine) == dump_parts(small_kernel().machine)
