"""What each step does, and that its counterpart undoes it."""

from __future__ import annotations

import pytest

from kernel_sim.events import CpuhpEnter, CpuhpExit
from kernel_sim.hotplug import callbacks
from kernel_sim.hotplug.callbacks import EAGAIN, ENOMEM, STACK_ORDER, cpuhp_invoke_callback
from kernel_sim.hotplug.states import STATE_OF_NUMBER, STATES
from kernel_sim.mm.gfp import GFP_KERNEL
from kernel_sim.primitives import run_undisturbed
from tests.kernel_sim.whole_machines import Whole

DOWN = 3


@pytest.fixture
def whole() -> Whole:
    """A machine whose last CPU was taken down."""
    made = Whole()
    assert made.call("cpu_down", DOWN) == 0
    made.machine.take_events()
    return made


def invoke(whole: Whole, number: int, *, bringup: bool) -> int:
    state = STATE_OF_NUMBER[number]
    path = cpuhp_invoke_callback(whole.machine, 0, DOWN, state, bringup, 235 if bringup else 0)
    return run_undisturbed(path)


def events(whole: Whole) -> list[tuple[object, ...]]:
    return [
        tuple(getattr(row.event, name) for name in row.event.__match_args__)
        if hasattr(row.event, "__match_args__") else tuple(row.event)
        for row in whole.machine.take_events()
        if isinstance(row.event, (CpuhpEnter, CpuhpExit))
    ]  # fmt: skip


def test_every_name_that_does_something_is_in_the_table() -> None:
    named = [name for state in STATES for name in (state.startup, state.teardown) if name]
    assert all(name in named for name in callbacks._CALLBACKS)
    assert all(function.__name__ == name for name, function in callbacks._CALLBACKS.items())


def test_a_step_tells_when_it_begins_and_ends(whole: Whole) -> None:
    assert invoke(whole, 36, bringup=True) == 0
    assert events(whole) == [
        (DOWN, 235, 36, "page_alloc_cpu_online"), (DOWN, 0, 36, 0),
    ]  # fmt: skip
    assert invoke(whole, 11, bringup=False) == 0
    assert events(whole) == []


def test_a_step_that_shall_fail_does_so_once_and_does_nothing(whole: Whole) -> None:
    whole.machine.hotplug_fail = (DOWN, 1)
    assert invoke(whole, 1, bringup=True) == -EAGAIN
    assert whole.machine.cpus[DOWN].stack_pfn == -1
    assert events(whole)[-1] == (DOWN, 0, 1, -EAGAIN)
    assert invoke(whole, 1, bringup=True) == 0


def test_the_stack_is_cleared_memory_of_the_cpus_node_and_goes_back(whole: Whole) -> None:
    machine = whole.machine
    before = whole.account()
    assert invoke(whole, 1, bringup=True) == 0
    pfn = machine.cpus[DOWN].stack_pfn
    assert machine.pages.node_of_pfn(pfn) == machine.cpus[DOWN].node == 1
    assert machine.pages.owner_state_of(pfn) == f"allocated order {STACK_ORDER}"
    assert machine.memory.read(pfn << 12, 4096 << STACK_ORDER) == bytes(4096 << STACK_ORDER)
    assert invoke(whole, 1, bringup=False) == 0
    assert whole.account() == before
    whole.knob("fail_pages", 0)
    assert invoke(whole, 1, bringup=True) == -ENOMEM


def test_page_lists_are_sized_by_the_cpus_that_run(whole: Whole) -> None:
    pages = whole.machine.pages
    assert pages.online_cpus_of_node == {0: 2, 1: 1}
    invoke(whole, 36, bringup=True)
    assert pages.online_cpus_of_node == {0: 2, 1: 2}
    invoke(whole, 36, bringup=False)
    assert pages.online_cpus_of_node == {0: 2, 1: 1}


def test_a_cpu_that_is_gone_has_no_pages_on_its_lists() -> None:
    whole = Whole()
    pfn = whole.call("alloc_pages", 0, GFP_KERNEL, -1, cpu=DOWN)
    whole.call("free_pages", pfn, 0, cpu=DOWN)
    assert whole.machine.pages.owner_state_of(pfn) == f"pcp cpu {DOWN}"
    whole.call("cpu_down", DOWN)
    assert whole.machine.pages.owner_state_of(pfn) == "free"


def test_a_cpu_comes_with_its_base_register_and_an_empty_tlb(whole: Whole) -> None:
    machine = whole.machine
    owner = machine.cpus[DOWN]
    right, owner.gs_base = owner.gs_base, 1
    machine.access.read(DOWN, machine.percpu.base_addr, 8)
    assert machine.tlbs[DOWN].nr_entries
    assert invoke(whole, 88, bringup=True) == 0
    assert owner.gs_base == right == machine.per_cpu_offset(DOWN)
    assert machine.tlbs[DOWN].nr_entries == 0
    machine.access.read(DOWN, machine.percpu.base_addr, 8)
    assert invoke(whole, 88, bringup=False) == 0
    assert machine.tlbs[DOWN].nr_entries == 0


def test_more_cpus_put_up_with_more_lazily_freed_space(whole: Whole) -> None:
    with_three = whole.machine.vmalloc.lazy_max_pages
    assert whole.machine.online_cpus() == (0, 1, 2)
    invoke(whole, 91, bringup=True)
    assert whole.machine.online_cpus() == (0, 1, 2, 3)
    assert whole.machine.vmalloc.lazy_max_pages > with_three
    invoke(whole, 91, bringup=False)
    assert whole.machine.online_cpus() == (0, 1, 2)
    assert whole.machine.vmalloc.lazy_max_pages == with_three


def test_work_that_was_queued_on_a_cpu_runs_on_another() -> None:
    whole = Whole(work={"mode": "scripted"})
    whole.machine.schedule_work(DOWN, "pcpu_balance_work")
    assert whole.machine.work.queued_cpu == DOWN
    assert whole.call("cpu_down", DOWN) == 0
    assert whole.machine.work.queued_cpu == 0
