"""Alloc, free and the reclaim work of 2.6.31 and later, step by step."""

from __future__ import annotations

import pytest

from kernel_sim.errors import KernelFault
from kernel_sim.mm.gfp import GFP_KERNEL
from kernel_sim.percpu.area_chunk import FIRST, RESERVED
from tests.kernel_sim.percpu.area_kernel import FOREVER, AreaKernel


@pytest.fixture
def kernel() -> AreaKernel:
    return AreaKernel()


def test_modules_have_room_of_their_own_and_nothing_else(kernel: AreaKernel) -> None:
    assert kernel.place(kernel.alloc(8000, 8, reserved=True)) == (RESERVED, 17896)
    assert kernel.place(kernel.alloc(8000, 8))[0] == FIRST
    assert kernel.alloc(200, 8, reserved=True) == 0
    assert kernel.event_names().count("percpu_create_chunk") == 0


def test_without_a_reserve_modules_take_what_all_take() -> None:
    kernel = AreaKernel(arch="i386")
    assert kernel.place(kernel.alloc(8000, 8, reserved=True))[0] == FIRST


def test_the_map_grows_before_it_is_full_with_the_lock_dropped(kernel: AreaKernel) -> None:
    percpu = kernel.percpu
    assert kernel.chunks[FIRST].area_map.capacity == 2
    call = kernel.machine.give(0, "pcpu_alloc", (8, 4, False, GFP_KERNEL, ""))
    holders = []
    while not call.done:
        kernel.machine.run(kernel.machine.step + 1)
        if "pcpu_extend_area_map" in call.frames():
            holders.append(percpu.spinlock.holder)
    assert holders and -1 in holders
    assert kernel.chunks[FIRST].area_map.capacity == 16


def test_a_free_comes_between_while_a_map_grows(kernel: AreaKernel) -> None:
    """The mutex keeps other allocations out; a free needs the spinlock only."""
    ptr = kernel.alloc(64)
    while kernel.chunks[FIRST].area_map.wanted_capacity() == 0:
        kernel.alloc(8)
    before = kernel.chunks[FIRST].area_map.used_entries
    machine = kernel.machine
    growing = machine.give(0, "pcpu_alloc", (8, 4, False, GFP_KERNEL, ""))
    freeing = machine.give(1, "free_percpu", (ptr,))
    waiting = machine.give(2, "pcpu_alloc", (8, 4, False, GFP_KERNEL, ""))
    while not freeing.done:
        machine.run(machine.step + 1)
    assert not growing.done and not waiting.done
    machine.run(FOREVER)
    assert growing.result and waiting.result
    assert kernel.chunks[FIRST].area_map.capacity == 32
    assert kernel.chunks[FIRST].area_map.used_entries >= before
    kernel.check()


def test_a_new_chunk_is_searched_again(kernel: AreaKernel) -> None:
    ptr = kernel.alloc(65536, 1)
    assert kernel.place(ptr) == (1, 0)
    assert kernel.event_names() == [
        "percpu_create_chunk", "percpu_populate", "percpu_alloc_percpu",
    ]  # fmt: skip
    kernel.check()


def test_a_wholly_free_chunk_stays_until_there_are_two(kernel: AreaKernel) -> None:
    ptrs = [kernel.alloc(65536, 1) for _ in range(3)]
    kernel.free(ptrs[0])
    assert kernel.machine.work.nr_requests == 0
    kernel.free(ptrs[1])
    kernel.free(ptrs[2])
    assert kernel.machine.work.nr_requests == 2
    kernel.event_names()
    assert [chunk.number for chunk in kernel.percpu.slots.lists[-1]] == [3, 2, 1]
    kernel.work()
    assert [number for number in kernel.chunks if number > 0] == [3]
    assert kernel.event_names() == [
        "workqueue_execute_start",
        "percpu_depopulate", "percpu_destroy_chunk", "percpu_depopulate", "percpu_destroy_chunk",
    ]  # fmt: skip
    kernel.check()


def test_freeing_gives_all_pages_back(kernel: AreaKernel) -> None:
    before = kernel.nr_unused_pages()
    ptrs = [kernel.alloc(size, 8) for size in (65536, 40000, 30000, 65536, 12)]
    assert kernel.nr_unused_pages() < before
    for ptr in ptrs:
        kernel.free(ptr, cpu=1)
    kernel.work()
    kept = [chunk for number, chunk in kernel.chunks.items() if number > 0]
    assert len(kept) == 1
    nr_kept = kept[0].populated.bit_count() * 4
    assert kernel.nr_unused_pages() == before - nr_kept


@pytest.mark.parametrize("nr_good", [0, 1, 5, 63])
def test_what_cannot_be_populated_is_undone(kernel: AreaKernel, nr_good: int) -> None:
    kernel.new_chunk()
    kernel.free(kernel.alloc(65536, 1))
    kernel.work()
    kernel.alloc(60000, 4)
    before, log = kernel.nr_unused_pages(), len(kernel.log())
    number = kernel.percpu.next_number
    kernel.machine.pages.fail_after = nr_good
    assert kernel.alloc(65536, 1) == 0
    kernel.machine.pages.fail_after = -1
    assert kernel.log()[log:] == [
        "<4>PERCPU: allocation failed, size=65536 align=1, failed to populate"
    ]
    assert kernel.nr_unused_pages() == before
    chunk = kernel.chunks[number]
    assert (chunk.populated, chunk.area_map.entries()) == (0, [65536]), "the chunk stays"
    kernel.check()
    assert kernel.place(kernel.alloc(65536, 1))[0] == number


def test_no_address_space_is_no_chunk() -> None:
    kernel = AreaKernel(
        arch="i386", tables={"vmalloc": {"start": "0xf8800000", "end": "0xf8900fff"}}
    )
    number = 0
    while kernel.alloc(65536, 1):
        number += 1
    assert number == 4, "four chunks of four units of 64 KiB in 1 MiB"
    assert kernel.log()[-1].endswith("size=65536 align=1, failed to allocate new chunk")
    kernel.check()


def test_what_is_no_area_stops_the_machine(kernel: AreaKernel) -> None:
    ptr = kernel.alloc(8)
    kernel.free(0)
    kernel.free(ptr)
    with pytest.raises(KernelFault, match="no allocated area starts there"):
        kernel.free(ptr)


def test_work_asked_for_by_nobody_does_nothing(kernel: AreaKernel) -> None:
    kernel.alloc(65536, 1)
    kernel.work()
    assert 1 in kernel.chunks
    kernel.check()
