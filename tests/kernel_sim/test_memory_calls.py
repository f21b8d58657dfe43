"""Pages, slab objects, areas and plain accesses as calls: results, log lines, events, faults."""

from __future__ import annotations

from typing import Any

import pytest

from kernel_sim.events import Kfree, KmallocNode, MmPageAlloc, MmPageFree
from kernel_sim.memory_calls import ACCESS_BYTES_MAX, SIGNATURES, memory_call_table
from kernel_sim.mm.gfp import GFP_KERNEL, GFP_NOWARN, GFP_THISNODE, GFP_ZERO
from tests.kernel_sim.whole_machines import KINDS, Whole


def fault_reason(whole: Whole, name: str, *args: Any, cpu: int = 0) -> str:
    whole.give(cpu, name, *args)
    whole.drain()
    fault = whole.machine.fault
    assert fault is not None and fault.cpu == cpu
    return fault.reason


def test_every_call_that_may_be_given_is_in_the_table() -> None:
    table = memory_call_table(Whole().machine)
    assert [name for name in SIGNATURES if name not in table] == []
    inner = [name for name in table if name not in SIGNATURES]
    assert inner == ["do_flush_tlb_all", "do_kernel_range_flush"]


@pytest.mark.parametrize("kind", list(KINDS))
def test_pages_are_held_until_they_are_freed(kind: str) -> None:
    whole = Whole(kind)
    before = whole.account()
    whole.machine.take_events()
    pfn = whole.call("alloc_pages", 2, GFP_KERNEL | GFP_ZERO, 1)
    assert whole.machine.held_pages == {pfn: 2}
    assert whole.machine.pages.node_of_pfn(pfn) == 1
    assert whole.machine.memory.read(pfn << 12, 4 << 12) == bytes(4 << 12)
    whole.check()
    whole.call("free_pages", pfn, 2, cpu=3)
    assert [row.event for row in whole.machine.take_events()] == [
        MmPageAlloc(pfn, 2, GFP_KERNEL | GFP_ZERO, 1), MmPageFree(pfn, 2),
    ]  # fmt: skip
    assert whole.account() == before
    whole.check()


def test_node_minus_one_is_the_cpus_own() -> None:
    whole = Whole()
    for cpu, node in ((0, 0), (3, 1)):
        pfn = whole.call("alloc_pages", 0, GFP_KERNEL, -1, cpu=cpu)
        assert whole.machine.pages.node_of_pfn(pfn) == node


@pytest.mark.parametrize(("pfn_more", "order"), [(0, 1), (1, 0)])
def test_a_free_of_what_was_not_given_stops_the_machine(pfn_more: int, order: int) -> None:
    whole = Whole()
    pfn = whole.call("alloc_pages", 0, GFP_KERNEL, 0)
    assert "alloc_pages() did not give it" in fault_reason(
        whole, "free_pages", pfn + pfn_more, order
    )


@pytest.mark.parametrize("name", ["alloc_pages", "kmalloc_node"])
@pytest.mark.parametrize("node", [2, -2, 1 << 70])
def test_a_node_that_is_not_there_stops_the_machine(name: str, node: int) -> None:
    reason = fault_reason(Whole(), name, 0, GFP_KERNEL, node)
    assert f"memory of node {node}: expected one of 0 to 1" in reason


def test_without_memory_the_result_says_so_and_the_log_unless_told_not_to() -> None:
    whole = Whole()
    whole.knob("fail_pages", 0)
    lines = len(whole.log())
    assert whole.call("alloc_pages", 3, GFP_KERNEL, 0, cpu=2) == -1
    assert whole.call("kmalloc_node", 4096, GFP_KERNEL, 0) == 0
    assert [line.split(",")[0] for line in whole.log()[lines:]] == [
        "cpu2: page allocation failure: order:3", "cpu0: page allocation failure: order:0",
    ]  # fmt: skip
    assert whole.call("alloc_pages", 3, GFP_KERNEL | GFP_NOWARN, 0) == -1
    assert len(whole.log()) == lines + 2
    whole.check()


def test_all_memory_may_be_taken_and_given_back() -> None:
    whole = Whole()
    before = whole.account()
    taken = []
    while (pfn := whole.call("alloc_pages", 4, GFP_KERNEL | GFP_THISNODE | GFP_NOWARN, 1)) != -1:
        taken.append(pfn)
    assert len(taken) > 50
    assert all(whole.machine.pages.node_of_pfn(pfn) == 1 for pfn in taken)
    whole.check()
    for pfn in taken:
        whole.call("free_pages", pfn, 4)
    assert whole.account() == before


@pytest.mark.parametrize("kind", list(KINDS))
def test_objects_hold_what_is_written_and_come_back(kind: str) -> None:
    whole = Whole(kind)
    sizes = [8, 100, 4000, 20000]
    addrs = [whole.call("kmalloc_node", size, GFP_KERNEL | GFP_ZERO, 1, cpu=1) for size in sizes]
    assert len(dict.fromkeys(addrs)) == len(sizes)
    for number, addr in enumerate(addrs):
        assert whole.call("read", addr, 8, cpu=3) == 0
        whole.call("write", addr, number + 7, 8, cpu=2)
    whole.check()
    assert [whole.call("read", addr, 8) for addr in addrs] == [7, 8, 9, 10]
    whole.machine.take_events()
    for addr in (*addrs, 0):
        whole.call("kfree", addr)
    assert [row.event for row in whole.machine.take_events() if isinstance(row.event, Kfree)] == [
        Kfree("kfree", addr) for addr in addrs
    ]
    whole.check()


def test_an_objects_event_says_what_was_asked_and_given() -> None:
    whole = Whole()
    whole.machine.take_events()
    addr = whole.call("kmalloc_node", 100, GFP_KERNEL, -1)
    (event,) = [r.event for r in whole.machine.take_events() if isinstance(r.event, KmallocNode)]
    assert tuple(event)[1:4] == (addr, 100, 128)


def test_a_second_kfree_and_one_of_anything_else_stop_the_machine() -> None:
    whole = Whole()
    addr = whole.call("kmalloc_node", 64, GFP_KERNEL, 0)
    whole.call("kfree", addr)
    assert fault_reason(whole, "kfree", addr)
    assert fault_reason(Whole(), "kfree", 4096)


@pytest.mark.parametrize("kind", list(KINDS))
def test_an_access_beyond_what_is_mapped_is_a_page_fault(kind: str) -> None:
    whole = Whole(kind)
    addr = whole.call("vmalloc", 4096)
    whole.call("write", addr + 4092, 1, 4)
    whole.give(1, "write", addr + 4092, 1, 8)
    whole.drain()
    fault = whole.machine.fault
    assert fault is not None
    assert (fault.addr, fault.error_code, fault.frames) == (addr + 4096, 2, ("write",))
    assert any("unable to handle" in line for line in whole.log())


@pytest.mark.parametrize("size", [0, -1, ACCESS_BYTES_MAX + 1])
def test_an_access_has_a_size(size: int) -> None:
    assert f"access of {size} bytes" in fault_reason(Whole(), "read", 1 << 63, size)


def test_drained_pages_are_on_no_list() -> None:
    whole = Whole()
    for cpu in range(4):
        pfn = whole.call("alloc_pages", 0, GFP_KERNEL, -1, cpu=cpu)
        whole.call("free_pages", pfn, 0, cpu=cpu)
    assert whole.machine.pages.nr_list_pages
    whole.call("drain_all_pages")
    assert whole.machine.pages.nr_list_pages == 0
    whole.check()


@pytest.mark.parametrize("size", [-1, -(1 << 63), 1 << 62, 1 << 70])
def test_an_object_of_impossible_size_is_no_memory(size: int) -> None:
    whole = Whole()
    before = whole.account()
    if size != 1 << 70:  # of which a size_t keeps nothing: an object of no bytes
        assert whole.call("kmalloc_node", size, GFP_KERNEL | GFP_ZERO, 0) == 0
        assert whole.account() == before
    whole.call("kmalloc_node", 1 << 70, GFP_KERNEL, 0)
    whole.check()
