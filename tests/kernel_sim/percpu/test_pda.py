"""x86-64's PDAs: in the image at first, on each CPU's node once it runs, and what reading one costs."""

from __future__ import annotations

import pytest

from kernel_sim.boot import boot
from kernel_sim.errors import ConfigError, InvariantBroken
from kernel_sim.percpu.pda import CPU_NUMBER, DATA_OFFSET, PdaTable
from kernel_sim.percpu.stretch import TABLE
from tests.kernel_sim.percpu.legacy_machine import Legacy, legacy_config


def table_of(legacy: Legacy) -> PdaTable:
    pda = legacy.system.pda
    assert pda is not None
    return pda


@pytest.fixture
def legacy() -> Legacy:
    return Legacy.of("x86-64")


def test_every_cpu_has_one_with_its_offset_and_its_number(legacy: Legacy) -> None:
    pda = table_of(legacy)
    for cpu in range(4):
        addr = pda.addr_of(cpu)
        assert legacy.word(addr + DATA_OFFSET) == legacy.system.per_cpu_offset(cpu)
        assert int.from_bytes(legacy.read(addr + CPU_NUMBER, 4), "little") == cpu
        assert legacy.machine.cpus[cpu].gs_base == addr
        assert legacy.word(legacy.machine.symbol("_cpu_pda") + 8 * cpu) == addr


def test_the_boot_cpus_is_in_the_image_the_others_are_on_their_nodes(legacy: Legacy) -> None:
    pda = table_of(legacy)
    assert pda.addr_of(0) == legacy.machine.symbol("boot_cpu_pda")
    assert list(pda.moved) == [1, 2, 3]
    assert [legacy.node_of(pda.addr_of(cpu)) for cpu in (1, 2, 3)] == [0, 1, 1]


def test_a_cpu_that_is_not_possible_has_one_with_offset_0(legacy: Legacy) -> None:
    pda = table_of(legacy)
    addr = legacy.word(legacy.machine.symbol("_cpu_pda") + 8 * 6)
    assert addr == pda.image_start + 6 * pda.stride_bytes
    assert legacy.word(addr + DATA_OFFSET) == 0


def test_a_cpu_that_comes_later_gets_one_on_its_node_then_and_keeps_it() -> None:
    legacy = Legacy.of("x86-64", online="0-1")
    pda = table_of(legacy)
    assert pda.addr_of(3) == pda.image_start + 3 * pda.stride_bytes
    assert legacy.machine.cpus[3].gs_base == pda.addr_of(3)
    assert legacy.call("cpu_up", 3) == 0
    moved = pda.addr_of(3)
    assert legacy.node_of(moved) == 1 and legacy.machine.cpus[3].gs_base == moved
    assert legacy.word(moved + DATA_OFFSET) == legacy.system.per_cpu_offset(3)
    legacy.check()
    assert legacy.call("cpu_down", 3) == legacy.call("cpu_up", 3) == 0
    assert pda.addr_of(3) == moved
    legacy.check()


def test_without_memory_it_keeps_the_one_in_the_image_and_says_so() -> None:
    legacy = Legacy.of("x86-64", online="0-1")
    pda = table_of(legacy)
    before = pda.addr_of(2)
    slab = legacy.machine.slab
    number = next(i for i, cache in enumerate(slab.classes) if cache.size_bytes == 128)
    for node in (0, 1):
        while slab.partial.get((number, node)):
            slab.kmalloc_node(128, 0xCC0, node)
    legacy.machine.pages.fail_after = 0
    pda.move_to_node(0, 2)
    assert pda.addr_of(2) == before == legacy.machine.cpus[2].gs_base
    assert (3, "Could not allocate node local PDA for CPU 2 on node 1") in legacy.log()
    legacy.machine.pages.fail_after = -1
    pda.move_to_node(0, 2)
    assert pda.addr_of(2) != before


def test_ones_own_offset_is_one_load_anothers_two(legacy: Legacy) -> None:
    pda = table_of(legacy)
    loads: list[int] = []

    def load(addr: int, size: int) -> int:
        loads.append(addr)
        assert size == 8
        return legacy.word(addr)

    assert pda.own_offset(load, 2) == legacy.system.per_cpu_offset(2)
    assert loads == [legacy.machine.cpus[2].gs_base + 8]
    loads.clear()
    assert pda.offset_of(load, 3) == legacy.system.per_cpu_offset(3)
    assert loads == [pda.pointers_start + 24, pda.addr_of(3) + 8]


def test_all_of_it_is_drawn(legacy: Legacy) -> None:
    pda = table_of(legacy)
    rows = [(s.what, s.size_bytes, s.cpu, s.node) for s in pda.stretches()]
    assert rows == [
        ("boot_cpu_pda[8]", 8 * 128, -1, -1), ("_cpu_pda[8]", 64, -1, -1),
        ("struct x8664_pda", 128, 1, 0), ("struct x8664_pda", 128, 2, 1),
        ("struct x8664_pda", 128, 3, 1),
    ]  # fmt: skip
    assert all(s.kind == TABLE for s in pda.stretches())


def test_areas_that_cannot_be_are_refused_when_loaded(legacy: Legacy) -> None:
    pda = table_of(legacy)
    pda.check_loaded()
    addr = pda.moved[1]
    for cpu, at in ((77, addr), (1, addr + 1), (1, 0), (1, -1)):
        pda.moved[cpu] = at
        with pytest.raises(InvariantBroken, match=f"PDA of cpu {cpu}"):
            pda.check_loaded()
        pda.moved.pop(77, None)
        pda.moved[1] = addr
    pda.check_loaded()


def test_more_cpus_than_the_image_holds_are_refused() -> None:
    config = legacy_config("x86-64", nr_cpus=8192, cache_line_bytes=256)
    machine = boot(config)
    with pytest.raises(ConfigError, match="nr_cpus: 8192 areas of 256 bytes"):
        machine.image_bytes = 1 << 20
        PdaTable.at_boot(machine, 256, {})
