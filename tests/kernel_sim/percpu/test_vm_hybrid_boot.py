"""What the hybrid sets aside at boot, and for whom."""

from __future__ import annotations

from typing import Any

import pytest

from kernel_sim.percpu.vm_hybrid import HybridAreas
from kernel_sim.percpu.vm_hybrid_boot import boot_lines
from tests.kernel_sim.percpu.rostedt_machine import Rostedt

NAME = "rostedt-2006-vm"
A = 20480


def areas_of(**options: Any) -> HybridAreas:
    vm = Rostedt.of(NAME, **options).system.vm
    assert isinstance(vm, HybridAreas)
    return vm


def test_areas_are_page_aligned_end_to_end_and_only_for_cpus_that_run() -> None:
    vm = areas_of(possible="0-7", online="0-2,5")
    assert vm.base_addr % 4096 == 0 and vm.boot_cpus == (0, 1, 2, 5)
    assert [vm.area_of(cpu) for cpu in (0, 1, 2, 5)] == [vm.base_addr + at * A for at in range(4)]
    assert [vm.area_of(cpu) for cpu in (3, 4, 6, 7)] == [None] * 4
    assert vm.cpus_to_come == (3, 4, 6, 7)


def test_the_section_is_copied_to_each() -> None:
    kernel = Rostedt.of(NAME, symbols={"this_cpu_off": "0xc2000040"})
    vm = kernel.system.vm
    for cpu in range(4):
        assert kernel.words(vm.area_of(cpu) + 0x40, 1) == [vm.offset_of(cpu)]


@pytest.mark.parametrize("memory_mib", [64, 96, 300])
def test_windows_and_addresses_for_cpus_to_come_lie_in_vmalloc_space(memory_mib: int) -> None:
    vm = areas_of(online="0-1", memory_mib=memory_mib)
    space = vm.machine.vmalloc
    window = space.find_area(vm.base_addr + vm.distance_bytes)
    assert window is not None and (window.start, window.size_bytes) == (space.start, 2 * A)
    assert vm.reserved_addr
    for at in (vm.reserved_addr, vm.reserved_addr + vm.distance_bytes):
        kept = space.find_area(at)
        assert kept is not None and (kept.start, kept.size_bytes) == (at, 2 * A)
    assert boot_lines(vm) == ()


def test_where_nobody_can_come_nothing_is_kept() -> None:
    vm = areas_of()
    assert vm.reserved_addr == 0 and boot_lines(vm) == ()
    assert len([a for a in vm.machine.vmalloc.areas if a.caller == "setup_per_cpu_areas"]) == 1
