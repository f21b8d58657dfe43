"""The hybrid at work: slack and windows, CPUs that come, and everything that can fail on the way."""

from __future__ import annotations

from typing import Any

import pytest

from kernel_sim.boot import boot
from kernel_sim.config import MachineConfig
from kernel_sim.errors import DoubleFree, InvariantBroken
from kernel_sim.percpu.account import account_of
from kernel_sim.percpu.stretch import FREE, HOLE, METADATA, MODULE, STATIC
from kernel_sim.percpu.vm_hybrid import HybridAreas
from kernel_sim.primitives import run_undisturbed
from snapshots.compare.section_object import section_object
from tests.kernel_sim.percpu.rostedt_machine import Rostedt, rostedt_config

NAME = "rostedt-2006-vm"
A = 20480


def machine_of(**options: Any) -> Rostedt:
    return Rostedt.of(NAME, **options)


def vm_of(kernel: Rostedt) -> HybridAreas:
    vm = kernel.system.vm
    assert isinstance(vm, HybridAreas)
    return vm


def image_of(kernel: Rostedt, size: int = 17892) -> bytes:
    """Give the kept section something to tell."""
    image = bytes(byte * 7 % 251 for byte in range(size))
    phys = kernel.machine.space.translate(kernel.system.percpu_start)
    assert phys is not None
    kernel.machine.memory.write(phys, image)
    return image


# -- slack and window ----------------------------------------------------------------------------------


def test_the_mails_slack_is_drawn_beside_every_cpus_variables() -> None:
    kernel = machine_of()
    for cpu in range(4):
        assert kernel.bytes_of(STATIC, f"area of cpu {cpu}") == 17892
        assert kernel.bytes_of(FREE, f"area of cpu {cpu}") == 2588
        assert kernel.bytes_of(HOLE, f"window of cpu {cpu}") == A
    kernel.check()


def test_a_small_section_goes_into_the_slack_and_costs_no_page() -> None:
    kernel = machine_of()
    pages, nr_pages = kernel.machine.pages.nr_free_pages, kernel.system.nr_pages()
    ptr = run_undisturbed(kernel.system.modalloc(0, "m", 2588, 4, 1, ""))
    assert ptr == kernel.system.percpu_start + 17892
    assert (kernel.machine.pages.nr_free_pages, kernel.system.nr_pages()) == (pages, nr_pages)
    assert kernel.bytes_of(MODULE, "area of cpu") == 4 * 2588
    kernel.check_strips()


def test_a_larger_one_goes_into_the_window_at_one_distance_for_all_cpus() -> None:
    kernel = machine_of()
    vm = vm_of(kernel)
    assert kernel.load("m", 5000) == 0
    ptr = kernel.ptr_of("m")
    assert ptr == kernel.system.percpu_start + vm.distance_bytes
    for cpu in range(4):
        copy = kernel.system.copy_addr(ptr, cpu)
        assert copy == vm.base_addr + cpu * A + vm.distance_bytes
        assert kernel.machine.vmalloc.find_area(copy) is not None
        assert [kernel.node_of(copy + at) for at in (0, 4096)] == [cpu // 2] * 2
        assert kernel.machine.space.translate(copy + 8192) is None
    assert kernel.bytes_of(MODULE, "window of cpu 2") == 5000
    assert kernel.bytes_of(FREE, "window of cpu 2") == 8192 - 5000
    assert kernel.bytes_of(HOLE, "window of cpu 2") == A - 8192
    kernel.check()


def test_a_window_is_full_where_the_next_cpus_begins() -> None:
    kernel = machine_of()
    assert kernel.load("fits", A) == 0
    assert kernel.load("more", 2589) == -12
    assert (4, "Could not allocate 2589 bytes percpu data") in kernel.log()
    assert kernel.load("slack", 2588) == 0
    kernel.check()
    assert machine_of().load("larger", A + 1) == -12


def test_pages_go_when_the_last_section_on_them_goes() -> None:
    kernel = machine_of()
    free = kernel.machine.pages.nr_free_pages + kernel.machine.pages.nr_list_pages
    for name in ("a", "b"):
        run_undisturbed(kernel.system.modalloc(0, name, 3000, 4, 1, ""))
    assert kernel.system.nr_pages() == 4 * (5 + 2)
    vm = vm_of(kernel)
    first, second = (vm.ptr_of(section) for section in vm.window.sections)
    run_undisturbed(kernel.system.modfree(0, first))
    assert kernel.system.nr_pages() == 4 * (5 + 2), "b lies on both pages"
    run_undisturbed(kernel.system.modfree(0, second))
    assert kernel.system.nr_pages() == 4 * 5
    pages = kernel.machine.pages
    nr_tables = kernel.machine.space.nr_table_pages
    assert pages.nr_free_pages + pages.nr_list_pages >= free - nr_tables
    kernel.machine.modules.mutex.release()
    kernel.check()
    with pytest.raises(DoubleFree, match="no module's section"):
        run_undisturbed(kernel.system.modfree(0, second))


@pytest.mark.parametrize("nth", range(0, 26, 2))
def test_a_load_that_finds_no_page_leaves_none(nth: int) -> None:
    kernel = machine_of(online="0-2")
    before, nr_pages = account_of(kernel.machine).by_kind, kernel.system.nr_pages()
    kernel.machine.pages.fail_after = nth
    result = kernel.load("m", 9000)
    kernel.machine.pages.fail_after = -1
    assert result in (0, -12)
    if result:
        assert account_of(kernel.machine).by_kind == before
        assert kernel.system.nr_pages() == nr_pages
    kernel.check()


# -- CPUs that come ------------------------------------------------------------------------------------


def test_a_cpu_that_does_not_run_costs_addresses_and_nothing_else() -> None:
    few, all_of_them = machine_of(online="0-1"), machine_of()
    assert few.bytes_of(STATIC) == 2 * 17892
    assert few.system.nr_pages() == 2 * 5 and all_of_them.system.nr_pages() == 4 * 5
    assert few.bytes_of(HOLE, "kept for") == 2 * 2 * A
    assert few.system.copy_addr(few.system.percpu_start, 2) is None
    assert few.system.per_cpu_offset(3) == 0
    few.check()


def test_a_cpu_that_comes_gets_the_saved_image_on_its_own_node() -> None:
    kernel = machine_of(online="0-1")
    image = image_of(kernel)
    start = kernel.system.percpu_start
    kernel.call("this_cpu_write", start + 8, 0x1234, 4, cpu=0)
    assert kernel.call("cpu_up", 3) == 0
    area = vm_of(kernel).hot[3]
    assert kernel.read(area, 4096) == image[:4096], "not what another CPU has made of it"
    assert kernel.read(area + 16384, 17892 - 16384) == image[16384:]
    assert {kernel.node_of(area + at) for at in range(0, A, 4096)} == {1}
    table = kernel.machine.symbol("__per_cpu_offset")
    assert kernel.words(table + 12, 1) == [area - start & 0xFFFFFFFF]
    assert kernel.references(3, start + 8) == [table + 12, area + 8]
    kernel.check()
    assert kernel.call("cpu_up", 2) == 0
    assert vm_of(kernel).hot[2] == area - A
    assert list(kernel.system.stretches())[-1].strip == "window of cpu 2", (
        "nothing is kept any more"
    )
    kernel.check()


def test_modules_that_are_there_already_come_along_as_they_began() -> None:
    kernel = machine_of(online="0-2")
    images = {}
    for name, size in (("slack", 600), ("window", 9000)):
        assert kernel.load(name, size) == 0
        section = vm_of(kernel).section_at(kernel.ptr_of(name))
        assert section is not None and section.image_addr
        images[name] = bytes(byte * 5 % 253 for byte in range(size))
        kernel.machine.access.write(0, section.image_addr, images[name])
        kernel.call("this_cpu_write", kernel.ptr_of(name), 99, 4, cpu=0)
    assert kernel.bytes_of(METADATA, "image of") == 600 + 9000
    assert kernel.call("cpu_up", 3) == 0
    for name, image in images.items():
        copy = kernel.system.copy_addr(kernel.ptr_of(name), 3)
        assert kernel.read(copy, 600) == image[:600]
        assert kernel.node_of(copy) == 1
        assert kernel.references(3, kernel.ptr_of(name))[-1] == copy
    kernel.check()
    assert kernel.load("later", 4000) == 0
    later = vm_of(kernel).section_at(kernel.ptr_of("later"))
    assert later is not None and later.image_addr == 0, "nobody can come any more"
    assert kernel.system.copy_addr(kernel.ptr_of("later"), 3) is not None
    for name in ("window", "slack", "later"):
        assert kernel.call("delete_module", name) == 0
        kernel.check()
    assert kernel.bytes_of(METADATA, "image of") == 0


def test_a_cpu_that_goes_and_returns_finds_what_it_left() -> None:
    kernel = machine_of(online="0-2", access="register")
    start = kernel.system.percpu_start
    assert kernel.call("cpu_up", 3) == 0
    kernel.call("this_cpu_write", start + 64, 77, 4, cpu=3)
    area = vm_of(kernel).hot[3]
    assert kernel.call("cpu_down", 3) == 0
    kernel.check()
    assert kernel.call("per_cpu", start + 64, 3, 4) == 77, "its variables are still there"
    assert kernel.call("cpu_up", 3) == 0
    assert vm_of(kernel).hot[3] == area
    assert kernel.call("this_cpu_read", start + 64, 4, cpu=3) == 77
    kernel.check()


def test_a_boot_cpu_that_returns_keeps_its_area() -> None:
    kernel = machine_of()
    start = kernel.system.percpu_start
    kernel.call("this_cpu_write", start + 64, 55, 4, cpu=2)
    assert kernel.call("cpu_down", 2) == kernel.call("cpu_up", 2) == 0
    assert kernel.call("this_cpu_read", start + 64, 4, cpu=2) == 55
    assert vm_of(kernel).hot == {}


def test_the_tlb_of_a_hot_added_cpu_alone_has_more_to_do() -> None:
    kernel = machine_of(online="0-2")
    assert kernel.call("cpu_up", 3) == 0
    entries = account_of(kernel.machine).translations
    assert entries[3] == 5, "a 4 KiB entry for each page"
    assert all(entries[cpu] <= 2 for cpu in range(3)), "large pages of the direct map"


@pytest.mark.parametrize("nth", range(12))
def test_a_cpu_for_which_there_is_no_page_does_not_come(nth: int) -> None:
    """4 pages of stack, then 5 of its area, 3 of its window, and tables."""
    kernel = machine_of(online="0-2")
    kernel.load("m", 9000)
    before = account_of(kernel.machine).by_kind
    kernel.machine.pages.fail_after = nth
    result = kernel.call("cpu_up", 3)
    kernel.machine.pages.fail_after = -1
    if result == 0:
        assert nth >= 9
    elif not kernel.system.vm.hot:
        assert result == -12
        assert account_of(kernel.machine).by_kind == before
        assert kernel.system.per_cpu_offset(3) == 0
    kernel.check()
    assert kernel.call("cpu_up", 3) == 0
    kernel.check()


def test_without_memory_on_its_node_it_gets_the_nearest() -> None:
    mapping = rostedt_config(NAME, online="0-2").to_mapping()
    nodes: Any = mapping["node"]
    mapping["node"] = [nodes[0], {"cpus": "2-3"}]
    kernel = Rostedt(boot(MachineConfig.from_mapping(mapping, where="test")))
    assert kernel.call("cpu_up", 3) == 0
    area = vm_of(kernel).hot[3]
    assert {kernel.node_of(area + at) for at in range(0, A, 4096)} == {0}
    assert account_of(kernel.machine).misplaced_bytes >= A
    kernel.check()


def test_all_memory_far_below_vmalloc_space_leaves_no_address_for_a_cpu_to_come() -> None:
    """The areas are 700 MiB below, and 120 MiB of vmalloc space cannot hold two ranges so far apart."""
    kernel = machine_of(online="0-2", vmalloc={"start": "0xf8800000"})
    assert kernel.bytes_of(HOLE, "kept for") == 0
    assert any("no address space for 1 CPUs to come" in text for _, text in kernel.log())
    assert kernel.call("cpu_up", 3) == -12
    assert any("no address space for cpu 3" in text for _, text in kernel.log())
    assert kernel.load("m", 9000) == 0, "modules are well"
    kernel.check()


def test_addresses_that_were_not_kept_at_boot_are_looked_for_when_a_cpu_comes() -> None:
    usual = machine_of(possible="0-7", online="0-1")
    vm = vm_of(usual)
    start = usual.machine.vmalloc.start
    end = start + vm.distance_bytes + 5 * A - 1
    kernel = machine_of(
        possible="0-7", online="0-1", vmalloc={"start": f"{start:#x}", "end": f"{end:#x}"}
    )
    assert vm_of(kernel).reserved_addr == 0 and vm_of(kernel).distance_bytes == vm.distance_bytes
    kernel.load("m", 9000)
    came = [cpu for cpu in range(2, 8) if kernel.call("cpu_up", cpu) == 0]
    assert came, "there is room for some, not for all six"
    assert len(came) < 6
    for cpu in came:
        kernel.call("this_cpu_write", kernel.ptr_of("m"), cpu, 4, cpu=cpu)
    assert [kernel.call("per_cpu", kernel.ptr_of("m"), cpu, 4) for cpu in came] == came
    kernel.check()
    assert kernel.call("cpu_down", came[0]) == 0
    kernel.check()


def test_addresses_come_back_when_pages_do_not_suffice() -> None:
    usual = machine_of(possible="0-7", online="0-1")
    start = usual.machine.vmalloc.start
    end = start + vm_of(usual).distance_bytes + 5 * A - 1
    kernel = machine_of(
        possible="0-7", online="0-1", vmalloc={"start": f"{start:#x}", "end": f"{end:#x}"}
    )
    kernel.machine.pages.fail_after = 3
    assert kernel.call("cpu_up", 2) == -12
    kernel.machine.pages.fail_after = -1
    kernel.check()
    assert kernel.call("cpu_up", 2) == 0
    kernel.check()


@pytest.mark.parametrize("policy", ["round_robin", "random"])
@pytest.mark.parametrize("delay", [0, *range(10, 30, 2), 60])
def test_a_cpu_that_comes_while_a_module_is_loaded_has_it_whole(policy: str, delay: int) -> None:
    kernel = machine_of(online="0-2", policy=policy)
    machine = kernel.machine
    image = bytearray(section_object("i386", 9000, 4, 1))
    image[52 : 52 + 9000] = data = bytes(byte % 249 for byte in range(9000))
    load = machine.give(0, "load_module", (bytes(image), "m", ""))
    machine.run(machine.step + delay)
    up = machine.give(1, "cpu_up", (3,))
    other = machine.give(2, "load_module", (section_object("i386", 3000, 4, 1), "n", ""))
    machine.run(1 << 60)
    assert (load.result, up.result, other.result) == (0, 0, 0)
    kernel.check()
    ptr = kernel.ptr_of("m")
    for cpu in range(4):
        copy = kernel.system.copy_addr(ptr, cpu)
        assert (
            b"".join(kernel.read(copy + at, min(4096, 9000 - at)) for at in range(0, 9000, 4096))
            == data
        )
    assert kernel.system.copy_addr(kernel.ptr_of("n"), 3) is not None


# -- a stranger's state --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda vm: vm.hot.update({0: vm.hot[3]}), "cpu 0 has an area"),
        (lambda vm: vm.hot.update({3: vm.hot[3] + 4}), "cpu 3 has an area in VM"),
        (lambda vm: vm.hot.update({3: vm.hot[3] - A}), "kept for another CPU"),
        (lambda vm: vm.hot.update({2: vm.reserved_addr}), "is not mapped"),
        (lambda vm: setattr(vm.window, "area_bytes", 4096), "no such machine"),
        (lambda vm: setattr(vm.window, "populated", 1), "no page there"),
        (lambda vm: setattr(vm.window, "populated", 0b1111), "used by nobody"),
        (lambda vm: setattr(vm.window.sections[0], "image_addr", 0xC0001000), "keeps m's image"),
        (lambda vm: setattr(vm.window.sections[0], "offset_bytes", 1 << 62), "ends behind"),
    ],
)
def test_a_strangers_state_is_looked_at(change: Any, expected: str) -> None:
    kernel = machine_of(online="0-1")
    kernel.load("m", 9000)
    kernel.call("cpu_up", 3)
    kernel.system.check_loaded()
    change(vm_of(kernel))
    with pytest.raises(InvariantBroken, match=expected):
        kernel.system.check_loaded()
