"""The RFC at work: constants, copies for NR_CPUS, a mapping that only grows."""

from __future__ import annotations

from typing import Any

import pytest

from kernel_sim.errors import InvariantBroken
from kernel_sim.percpu.account import account_of
from kernel_sim.percpu.stretch import FREE, HOLE, MODULE, PADDING, RESERVED_ROOM, STATIC
from kernel_sim.percpu.vm_rfc import RfcAreas
from tests.kernel_sim.percpu.rostedt_machine import Rostedt

NAME = "rostedt-2006-vm"
MIB = 1 << 20
BOOT = 20480


def machine_of(**options: Any) -> Rostedt:
    return Rostedt.of(NAME, variant="rfc", **options)


def vm_of(kernel: Rostedt) -> RfcAreas:
    vm = kernel.system.vm
    assert isinstance(vm, RfcAreas)
    return vm


def test_copies_are_a_mebibyte_apart_for_every_cpu_below_nr_cpus() -> None:
    kernel = machine_of()
    vm = vm_of(kernel)
    assert [vm.area_of(cpu) for cpu in range(8)] == [vm.vm_start + cpu * MIB for cpu in range(8)]
    for cpu in range(8):
        assert kernel.machine.space.translate(vm.area_of(cpu) + BOOT - 1) is not None
        assert kernel.machine.space.translate(vm.area_of(cpu) + BOOT) is None
    assert kernel.system.nr_pages() == 8 * 5, "posted code does not ask which are possible"
    assert kernel.bytes_of(STATIC) == 4 * 17892
    assert kernel.bytes_of(RESERVED_ROOM) == 4 * 17892
    assert kernel.bytes_of(HOLE) == 8 * (MIB - BOOT)
    area = kernel.machine.vmalloc.find_area(vm.vm_start)
    assert area is not None and area.size_bytes == 8 * MIB
    kernel.check()


def test_what_lies_behind_the_section_is_padding_then_room_on_the_same_page() -> None:
    kernel = machine_of()
    assert kernel.bytes_of(PADDING, "copy of cpu 0") == 28
    assert kernel.bytes_of(FREE, "copy of cpu 0") == BOOT - 17920


def test_the_way_to_a_copy_is_a_constant() -> None:
    kernel = machine_of()
    vm = vm_of(kernel)
    var = kernel.system.percpu_start + 0x40
    for cpu in range(4):
        assert kernel.references(cpu, var) == [vm.vm_start + cpu * MIB + 0x40]
    assert kernel.machine.cpus[1].gs_base == 0
    assert vm.copy_addr(var, 6) is None and vm.copy_addr(vm.percpu_start + MIB, 0) is None


def test_a_copy_takes_4_kib_entries_of_the_tlb() -> None:
    assert account_of(machine_of().machine).translations == dict.fromkeys(range(4), 5)


def test_a_load_extends_the_mapping_and_an_unload_gives_nothing_back() -> None:
    kernel = machine_of()
    vm = vm_of(kernel)
    assert kernel.load("small", 2560) == 0
    assert set(vm.allocated.values()) == {BOOT}, "it fits behind the section"
    assert kernel.load("large", 9000) == 0
    assert vm.allocated == dict.fromkeys(range(4), BOOT + 3 * 4096)
    assert kernel.ptr_of("large") == vm.percpu_start + BOOT
    assert kernel.system.nr_pages() == 4 * 8 + 4 * 5
    assert kernel.bytes_of(MODULE) == 4 * (2560 + 9000)
    kernel.check()
    for name in ("small", "large"):
        assert kernel.call("delete_module", name) == 0
    assert vm.allocated == dict.fromkeys(range(4), BOOT + 3 * 4096)
    assert kernel.bytes_of(FREE, "copy of cpu 1") == BOOT + 3 * 4096 - 17920
    assert kernel.load("again", 2560 + 9000) == 0
    assert vm.allocated == dict.fromkeys(range(4), BOOT + 3 * 4096), "pages are used again"
    kernel.check()


@pytest.mark.parametrize("nth", range(14))
def test_a_load_without_pages_fails_and_keeps_those_it_got(nth: int) -> None:
    kernel = machine_of()
    kernel.machine.pages.fail_after = nth
    result = kernel.load("m", 9000)
    kernel.machine.pages.fail_after = -1
    assert result in (0, -12)
    assert kernel.bytes_of(MODULE) == (0 if result else 4 * 9000)
    kernel.check()
    assert kernel.load("n", 9000) == 0
    kernel.check()


def test_behind_percpu_size_there_is_no_recourse() -> None:
    kernel = machine_of(percpu_size_bytes=65536)
    assert kernel.load("m", 65536 - 17920 + 1) == -12
    assert (4, f"Could not allocate {65536 - 17920 + 1} bytes percpu data") in kernel.log()
    assert kernel.load("m", 65536 - 17920) == 0
    assert kernel.bytes_of(HOLE, "copy of cpu 0") == 0
    kernel.check()


def test_a_section_of_64_kib_and_more_is_entered_as_less() -> None:
    """split_block()'s unsigned short: with 1 MiB of room the next section is put on top of it."""
    kernel = machine_of()
    assert kernel.load("m", 65536 + 128) == 0
    assert kernel.load("n", 256) == 0
    assert kernel.ptr_of("n") == kernel.ptr_of("m") + 128


def test_a_cpu_that_comes_has_its_copy_already() -> None:
    kernel = machine_of(online="0-2")
    kernel.load("m", 9000)
    kernel.call("this_cpu_write", kernel.ptr_of("m"), 7, 4, cpu=1)
    before = account_of(kernel.machine).by_kind
    assert kernel.call("cpu_up", 3) == 0
    assert account_of(kernel.machine).by_kind == before
    assert kernel.call("this_cpu_read", kernel.ptr_of("m"), 4, cpu=3) == 0
    kernel.check()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda vm: vm.allocated.pop(3), "percpu_allocated of CPUs"),
        (lambda vm: vm.allocated.update({0: 20481}), "percpu_allocated is 20481"),
        (lambda vm: vm.allocated.update({0: 4096}), "percpu_allocated is 4096"),
        (lambda vm: vm.allocated.update({0: 2 * MIB}), "percpu_allocated is"),
        (lambda vm: setattr(vm.room.state.slots, "line_bytes", 64), "another cache line"),
    ],
)
def test_a_strangers_state_is_looked_at(change: Any, expected: str) -> None:
    kernel = machine_of()
    kernel.system.check_loaded()
    change(vm_of(kernel))
    with pytest.raises(InvariantBroken, match=expected):
        kernel.system.check_loaded()
