"""Alloc and free of the first commit: one mutex, chunks go at once, failures are silent."""

from __future__ import annotations

import pytest

from kernel_sim.errors import KernelBug, KernelFault
from kernel_sim.mm.gfp import GFP_KERNEL
from tests.kernel_sim.percpu.area_kernel import FOREVER, AreaKernel


@pytest.fixture
def kernel() -> AreaKernel:
    return AreaKernel(stage="v1")


def test_the_static_chunks_map_comes_with_the_first_allocation(kernel: AreaKernel) -> None:
    first = kernel.chunks[0].area_map
    assert (first.capacity, first.used_entries) == (0, 0)
    ptr = kernel.alloc(100, 4)
    assert kernel.place(ptr) == (0, 17892)
    assert (first.capacity, first.entries()) == (16, [-17892, -100, 65536 - 17992])


def test_pages_of_the_static_chunk_come_on_demand_too(kernel: AreaKernel) -> None:
    assert kernel.chunks[0].populated == 0b11111
    kernel.alloc(100, 4)
    assert kernel.chunks[0].populated == 0b11111, "the static part had that page"
    kernel.alloc(8192, 4096)
    assert kernel.chunks[0].populated == 0b1111111
    kernel.check()


def test_the_map_doubles_when_a_split_needs_it(kernel: AreaKernel) -> None:
    for _ in range(14):
        kernel.alloc(8)
    assert (len(kernel.chunks[0].area_map.starts), kernel.chunks[0].area_map.capacity) == (16, 16)
    kernel.alloc(8)
    assert kernel.chunks[0].area_map.capacity == 32


def test_the_second_free_chunk_kills_the_other_one_at_once(kernel: AreaKernel) -> None:
    first, second = kernel.alloc(65536, 1), kernel.alloc(65536, 1)
    kernel.free(first)
    assert 1 in kernel.chunks
    kernel.event_names()
    kernel.free(second)
    assert (1 in kernel.chunks, 2 in kernel.chunks) == (False, True), "the other one, not itself"
    assert kernel.event_names() == [
        "percpu_free_percpu", "percpu_depopulate", "percpu_destroy_chunk",
    ]  # fmt: skip
    kernel.check()


def test_there_is_no_background_work(kernel: AreaKernel) -> None:
    assert kernel.system.work_function == ""
    with pytest.raises(KernelBug, match="stage v1 has no background work"):
        kernel.system.work_path(0)


def test_modules_take_from_the_same_chunks(kernel: AreaKernel) -> None:
    assert kernel.place(kernel.alloc(100, 4, reserved=True))[0] == 0


def test_one_mutex_is_around_everything(kernel: AreaKernel) -> None:
    ptr = kernel.alloc(8)
    machine = kernel.machine
    allocating = machine.give(0, "pcpu_alloc", (65536, 1, False, GFP_KERNEL, ""))
    while kernel.percpu.mutex.holder != 0:
        machine.run(machine.step + 1)
    assert "__alloc_percpu" in allocating.frames()
    freeing = machine.give(1, "free_percpu", (ptr,))
    while not freeing.done:
        machine.run(machine.step + 1)
    assert allocating.done, "a free waits until pages are there"
    machine.run(FOREVER)


def test_a_request_that_fails_is_silent(kernel: AreaKernel) -> None:
    before = len(kernel.log())
    kernel.machine.pages.fail_after = 0
    assert kernel.alloc(65536, 1) == 0
    assert len(kernel.log()) == before
    assert "percpu_alloc_percpu_fail" in kernel.event_names()
    assert kernel.alloc(0, 1) == 0
    assert kernel.log()[-1].startswith("<4>WARN: illegal size (0)")


def test_a_double_free_stops_the_machine(kernel: AreaKernel) -> None:
    ptr = kernel.alloc(8)
    kernel.free(0)
    kernel.free(ptr)
    with pytest.raises(KernelFault, match="no allocated area starts there"):
        kernel.free(ptr)
