"""chunk-2009 as the mail of 13 February 2009 tells it, and what its switches change."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings

from kernel_sim.boot import boot
from kernel_sim.check import check_machine
from kernel_sim.errors import ConfigError
from kernel_sim.machine import Machine
from kernel_sim.mm.gfp import GFP_KERNEL
from kernel_sim.percpu.area_alloc import AreaAlloc
from kernel_sim.percpu.area_alloc_v1 import AreaAllocV1
from kernel_sim.percpu.area_pmd import AreaPmdBacking
from kernel_sim.percpu.area_vm import AreaVmBacking
from kernel_sim.percpu.area_vm_v1 import AreaVmV1Backing
from kernel_sim.percpu.systems.chunk_2009 import ENTRY
from kernel_sim.random_state import RandomState
from tests.kernel_sim.percpu.area_kernel import KIB, AreaKernel, area_config
from tests.kernel_sim.percpu.test_protocol import SystemRun

UNIT_SIZE = 128 * KIB
VARIANTS: tuple[dict[str, Any], ...] = (
    {"stage": "mail"},
    {"stage": "v1"},
    {"stage": ".31"},
    {"stage": "v1", "lpage": True, "mib": 256},
    {"stage": ".31", "lpage": True, "mib": 256},
    {"stage": ".31", "nr_nodes": 2, "mib": 256},
    {"pmd": "units", "mib": 512},
    {"pmd": "when_full", "mib": 512},
    {"percpu": {"first_chunk": "page"}},
    {"percpu": {"first_chunk": "page"}, "stage": ".31"},
    {"nr_nodes": 2, "percpu": {"atom_bytes": 2 << 20}},
    {"arch": "i386", "nr_nodes": 2},
    {"arch": "i386", "levels": 2, "pmd": "units", "mib": 512},
    {"arch": "i386", "stage": ".31", "lpage": True, "mib": 256, "levels": 2},
    {"percpu": {"dynamic_bytes": 0}},
    {"dynamic_auto": True, "min_unit_bytes": 32 * KIB},
)


@pytest.fixture
def kernel() -> AreaKernel:
    return AreaKernel(stage="mail")


def test_an_area_at_134k_is_at_6k_of_c1(kernel: AreaKernel) -> None:
    """512 bytes at 134k: at 6k of c1:u0, c1:u1, c1:u2 and c1:u3."""
    kernel.alloc(6 * KIB, 4)
    ptr = kernel.alloc(512, 4)
    assert kernel.system.linear_offset(ptr) == 134 * KIB
    assert kernel.place(ptr) == (1, 6 * KIB)
    c1 = kernel.chunks[1]
    for cpu in range(4):
        copy = kernel.system.copy_addr(ptr, cpu)
        assert copy == c1.base_addr + cpu * UNIT_SIZE + 6 * KIB
    assert [(s.cpu, s.size_bytes) for s in kernel.system.stretches() if s.ptr == ptr] == [
        (cpu, 512) for cpu in range(4)
    ]
    assert {s.what for s in kernel.system.stretches() if s.ptr == ptr} == {
        "dynamic area at 137216 of all units"
    }


def test_page_1_of_each_unit_is_populated(kernel: AreaKernel) -> None:
    kernel.alloc(4 * KIB, 4)
    before = kernel.nr_unused_pages()
    kernel.alloc(2 * KIB, 4)
    kernel.alloc(512, 4)
    assert kernel.chunks[1].populated == 0b11
    assert before - kernel.nr_unused_pages() == 4, "a page of each CPU"


def test_base_registers_are_unit_size_apart(kernel: AreaKernel) -> None:
    bases = [kernel.machine.cpus[cpu].gs_base for cpu in range(4)]
    assert bases == [bases[0] + cpu * UNIT_SIZE for cpu in range(4)]


def test_all_units_grow_in_unison(kernel: AreaKernel) -> None:
    for size in (3000, 9000, 100, 20000):
        kernel.alloc(size, 8)
    c1, space = kernel.chunks[1], kernel.machine.space
    for cpu in range(4):
        there = [
            space.translate(c1.base_addr + cpu * UNIT_SIZE + page * 4096) is not None
            for page in range(32)
        ]
        assert there == [bool(c1.populated >> page & 1) for page in range(32)]


def test_when_a_chunk_is_filled_up_another_one_comes(kernel: AreaKernel) -> None:
    places = [kernel.place(kernel.alloc(64 * KIB, 1)) for _ in range(5)]
    assert places == [(1, 0), (1, 64 * KIB), (2, 0), (2, 64 * KIB), (3, 0)]


def test_another_unit_size_moves_the_example() -> None:
    kernel = AreaKernel(stage="mail", unit_bytes=64 * KIB)
    kernel.alloc(6 * KIB, 4)
    assert kernel.system.linear_offset(kernel.alloc(512, 4)) == 70 * KIB


@pytest.mark.parametrize(
    ("options", "paths", "backing"),
    [
        ({}, AreaAlloc, AreaVmBacking),
        ({"stage": ".31"}, AreaAlloc, AreaVmBacking),
        ({"stage": "v1"}, AreaAllocV1, AreaVmV1Backing),
        ({"stage": "mail"}, AreaAllocV1, AreaVmV1Backing),
        ({"pmd": "units", "mib": 256}, AreaAlloc, AreaPmdBacking),
        ({"pmd": "when_full", "mib": 256}, AreaAlloc, AreaPmdBacking),
    ],
)
def test_a_switch_is_another_part(options: dict[str, Any], paths: type, backing: type) -> None:
    system = AreaKernel(**options).system
    assert isinstance(system.paths, paths)
    assert isinstance(getattr(system.paths, "backing", None), backing)
    assert (system.work is None) == (paths is AreaAllocV1)


def test_its_day_in_the_catalogue() -> None:
    config = area_config()
    assert config.percpu.dynamic_bytes == 20 * KIB
    assert config.memory.pages == "2.6.20"
    assert ENTRY.default_nr_cpus("i386", 1) == 8


def test_an_unknown_stage_is_refused() -> None:
    with pytest.raises(ConfigError, match="stage"):
        area_config(stage="v2")


def drive(wishes: dict[str, Any], nr_examples: int, nr_steps: int) -> None:
    """Drive a machine with these switches through the protocol, against the model of all systems."""

    def booted(run: SystemRun) -> Machine:
        return boot(area_config(**wishes))

    arch = wishes.get("arch", "x86-64")
    fields = {"name": ENTRY.name, "arch": arch, "boot_machine": booted}
    run = type("Run of chunk-2009", (SystemRun,), fields).TestCase()
    run.settings = settings(max_examples=nr_examples, stateful_step_count=nr_steps, deadline=None)
    run.runTest()


@pytest.mark.parametrize("wishes", VARIANTS, ids=str)
def test_every_switch_keeps_the_protocol(wishes: dict[str, Any]) -> None:
    drive(wishes, 2, 12)


@pytest.mark.slow
@pytest.mark.parametrize("wishes", VARIANTS, ids=str)
def test_every_switch_keeps_the_protocol_for_long(wishes: dict[str, Any]) -> None:
    drive(wishes, 30, 50)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("stage", ["v1", ".32"])
def test_cpus_that_come_between_each_other(stage: str, seed: int) -> None:
    """Allocations, frees, the work and failing pages on four CPUs, who runs next by chance."""
    chance = RandomState.from_seed(seed)
    schedule = {"policy": "random", "seed": seed + 1}
    machine = boot(area_config(stage=stage, tables={"schedule": schedule}))
    live: list[int] = []
    for _ in range(12):
        calls = []
        machine.pages.fail_after = chance.below(200) if chance.below(3) == 0 else -1
        for cpu in range(4):
            if live and chance.below(2):
                machine.give(cpu, "free_percpu", (live.pop(chance.below(len(live))),))
            args = (
                1 + chance.below(65536),
                1 << chance.below(13),
                chance.below(8) == 0,
                GFP_KERNEL,
                "",
            )
            calls.append(machine.give(cpu, "pcpu_alloc", args))
        if machine.work.nr_requests and chance.below(2):
            machine.start_work(chance.below(4))
        while machine.run(machine.step + 7):
            machine.system.check(is_idle=False)
        check_machine(machine)
        live += [int(str(call.result)) for call in calls if call.result]
    assert machine.fault is None and live
    assert len(dict.fromkeys(live)) == len(live)
