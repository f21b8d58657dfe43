"""Deliberate damage to TLBs, modules and CPUs: each kind is found and named."""

from __future__ import annotations

import pytest

from kernel_sim.check_beneath import check_beneath
from kernel_sim.errors import InvariantBroken
from kernel_sim.mm.gfp import GFP_KERNEL
from kernel_sim.mm.paging import RW
from kernel_sim.mm.tlb import TlbEntry
from tests.kernel_sim.whole_machines import Whole

SCRIPT = "init: counters = pcpu_alloc 64 8\nexit: free_percpu counters"


@pytest.fixture
def whole() -> Whole:
    """A machine with a module, one CPU gone, and an object."""
    made = Whole()
    assert made.load("counter", SCRIPT) == 0
    made.call("cpu_down", 3)
    made.call("kmalloc_node", 64, GFP_KERNEL, 0)
    made.check()
    return made


def broken(whole: Whole) -> str:
    with pytest.raises(InvariantBroken) as caught:
        check_beneath(whole.machine)
    with pytest.raises(InvariantBroken):
        whole.check()
    return str(caught.value)


def test_an_entry_in_the_tlb_of_a_cpu_that_is_offline(whole: Whole) -> None:
    whole.machine.tlbs[3].insert(whole.machine.vmalloc.start, 12, 0x300, 0)
    assert "cpu 3 is offline and its TLB has" in broken(whole)


def test_an_entry_that_stands_in_the_wrong_set(whole: Whole) -> None:
    tlb = whole.machine.tlbs[0]
    assert tlb.nr_entries
    entries = next(each for sets in tlb.sets for each in sets.values() if each)
    entries[next(iter(entries)) + (1 << 40)] = TlbEntry(0xFFFFC90000000000, 12, 0x300, 0)
    broken(whole)


def test_a_cpu_that_stopped_half_way_up(whole: Whole) -> None:
    whole.machine.cpus[3].hotplug_state = 36
    assert "cpu 3 stands at step 36 of coming up, expected 0" in broken(whole)


def test_a_cpu_that_runs_and_never_came_up(whole: Whole) -> None:
    whole.machine.cpus[2].hotplug_state = 180
    assert "cpu 2 stands at step 180 of coming up, expected 235" in broken(whole)


@pytest.mark.parametrize("name", ["cpu_add_remove_lock", "cpu_hotplug_lock"])
def test_a_lock_that_somebody_kept(whole: Whole, name: str) -> None:
    getattr(whole.machine, name).holder = 1
    assert f"{name} is held by cpu 1" in broken(whole)


def test_a_modules_mutex_that_somebody_kept(whole: Whole) -> None:
    whole.machine.modules.mutex.holder = 2
    assert "module_mutex is held by cpu 2" in broken(whole)


def test_a_modules_area_that_was_freed(whole: Whole) -> None:
    module = whole.machine.modules.find_module("counter")
    assert module is not None
    whole.machine.module_space.free_vm_areas((module.core_addr,))
    assert f"module counter: no area in use starts at {module.core_addr:#x}" in broken(whole)


def test_a_modules_percpu_area_that_was_freed(whole: Whole) -> None:
    module = whole.machine.modules.find_module("counter")
    assert module is not None
    whole.call("free_percpu", module.percpu_ptr)
    assert "module counter: " in broken(whole)


def test_a_modules_variable_that_was_freed(whole: Whole) -> None:
    module = whole.machine.modules.find_module("counter")
    assert module is not None
    whole.call("free_percpu", module.variables["counters"])
    assert "no per-CPU area is at" in broken(whole)


def test_a_slab_that_miscounts(whole: Whole) -> None:
    slab = next(iter(whole.machine.slab.slabs.values()))
    slab.nr_used += 1
    slab.freed[0] = None
    slab.freed[slab.nr_used + 3] = None
    broken(whole)


def test_an_entry_for_another_frame_than_the_tables_give(whole: Whole) -> None:
    """A flush was left out: the address is in use again, and this CPU would reach the old page."""
    addr = whole.call("vmalloc", 4096)
    machine = whole.machine
    machine.tlbs[1].insert(addr, 12, 0x300, 0)
    assert f"cpu 1: its TLB is stale at {addr:#x}: frame 0x300 here, " in broken(whole)


def test_what_is_not_mapped_any_more_may_stay_for_a_while(whole: Whole) -> None:
    addr = whole.call("vmalloc", 4096)
    whole.call("write", addr, 1, 4, cpu=1)
    whole.call("vfree", addr)
    assert whole.machine.tlbs[1].lookup(addr) is not None
    whole.check()


def test_an_entry_that_is_not_mapped_where_nothing_was_freed(whole: Whole) -> None:
    addr = whole.call("vmalloc", 4096) + 4096  # the guard page
    whole.machine.tlbs[1].insert(addr, 12, 0x300, 0)
    assert f"cpu 1: its TLB is stale at {addr:#x}: not mapped any more" in broken(whole)


def test_an_entry_with_a_right_that_was_taken_away(whole: Whole) -> None:
    module = whole.machine.modules.find_module("counter")
    assert module is not None
    now = whole.machine.space.find_translation(module.core_addr)
    assert now is not None
    whole.machine.tlbs[1].insert(module.core_addr, 12, now.pfn, now.flags | RW)
    assert "RW here only" in broken(whole)


def test_a_page_allocator_that_was_not_told_of_a_cpu(whole: Whole) -> None:
    whole.machine.pages.set_online(1, 2)
    assert "node 1 has 1 CPUs online, the page allocator knows of 2" in broken(whole)


def test_a_limit_of_lazy_areas_that_is_out_of_date(whole: Whole) -> None:
    assert whole.machine.module_space.lazy_max_pages == whole.machine.vmalloc.lazy_max_pages
    whole.machine.module_space.lazy_max_pages += 1
    assert "lazily freed pages are put up with, for 3 CPUs online" in broken(whole)
