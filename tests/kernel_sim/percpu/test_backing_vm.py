"""Chunks in vmalloc space: a hole per group, a page of the right node per CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kernel_sim.mm.page import PAGE_SHIFT

Build = Callable[..., Any]


def full_kernel(small_kernel: Build, **options: Any) -> Any:
    kernel = small_kernel(mode="scripted", **options)
    kernel.use_up_ready_space(leave=0)
    return kernel


def test_a_chunk_repeats_the_pattern_of_the_first_one(small_kernel: Build) -> None:
    kernel = full_kernel(small_kernel)
    kernel.alloc(64)
    machine = kernel.machine
    chunk = machine.percpu.chunks[1]
    assert chunk.data == tuple(chunk.base_addr + off for off in machine.places.group_offsets)
    for start, size in zip(chunk.data, machine.places.group_sizes, strict=True):
        area = machine.vmalloc.area_of(start)
        assert (area.size_bytes, area.caller) == (size, "pcpu_get_vm_areas")


def test_only_the_pages_of_the_area_are_backed_each_on_its_cpus_node(small_kernel: Build) -> None:
    kernel = full_kernel(small_kernel)
    kernel.alloc(4096)
    kernel.alloc(6000)
    machine = kernel.machine
    chunk = machine.percpu.chunks[1]
    assert chunk.populated == 0b111
    pfns = []
    for cpu in machine.places.cpus:
        for page in range(chunk.nr_pages):
            virt = machine.percpu.backing.unit_page_addr(chunk, cpu, page)
            phys = machine.space.translate(virt)
            assert (phys is not None) == (page < 3)
            if phys is not None:
                pfns.append(phys >> PAGE_SHIFT)
                assert machine.pages.node_of_pfn(phys >> PAGE_SHIFT) == cpu // 2
    assert len(pfns) == 12 and len(dict.fromkeys(pfns)) == 12


@pytest.mark.parametrize("first_chunk", ["embed", "page"])
def test_the_nth_page_that_is_not_there_undoes_the_whole_populate(
    small_kernel: Build, first_chunk: str
) -> None:
    """Fail request 0, 1, 2 … until the allocation gets through; 3 pages for each of 4 CPUs."""
    for after in range(13):
        kernel = full_kernel(small_kernel, first_chunk=first_chunk)
        machine = kernel.machine
        free_pages = machine.pages.nr_free_pages
        tables = machine.space.nr_table_pages
        live = kernel.live_areas()
        kernel.knob("fail_pages", after)
        ptr = kernel.alloc(12288)
        kernel.check()
        if after == 12:
            assert ptr
            break
        assert ptr == 0
        assert machine.pages.nr_free_pages == free_pages
        assert machine.space.nr_table_pages == tables
        assert kernel.live_areas() == live
        assert machine.percpu.chunks[1].populated == 0
        assert machine.kernel_log[-1] == (
            4, "percpu: allocation failed, size=12288 align=8 atomic=0, failed to populate",
        )  # fmt: skip
        kernel.knob("fail_pages", -1)
        assert kernel.alloc(12288)
        kernel.check()


def test_the_nth_page_table_that_is_not_there_undoes_the_whole_populate(
    small_kernel: Build,
) -> None:
    for after in range(20):
        kernel = full_kernel(small_kernel)
        machine = kernel.machine
        in_use = machine.pages.nr_free_pages + machine.space.nr_table_pages
        given = machine.space.alloc_table
        left = [after]

        def rationed(node: int, given: Any = given, left: list[int] = left) -> int | None:
            left[0] -= 1
            return given(node) if left[0] >= 0 else None

        machine.space.alloc_table = rationed
        ptr = kernel.alloc(12288)
        kernel.check()
        if ptr:
            assert after > 0
            return
        assert machine.pages.nr_free_pages + machine.space.nr_table_pages == in_use
        assert machine.percpu.chunks[1].populated == 0
        assert machine.kernel_log[-1][1].endswith("failed to populate")
    raise AssertionError("20 page tables are not enough for one chunk")


def test_without_address_space_there_is_no_chunk(small_kernel: Build) -> None:
    kernel = full_kernel(small_kernel)
    kernel.machine.vmalloc.start = kernel.machine.vmalloc.end + 1 - 65536
    assert kernel.alloc(64) == 0
    assert kernel.machine.kernel_log[-1][1] == (
        "percpu: allocation failed, size=64 align=8 atomic=0, failed to allocate new chunk"
    )
    assert list(kernel.machine.percpu.chunks) == [-1, 0]


def test_a_page_that_was_written_before_makes_its_new_chunk_clear_areas(
    small_kernel: Build,
) -> None:
    kernel = full_kernel(small_kernel)
    machine = kernel.machine
    for zone in machine.pages.zones:
        for start, end in zone.buddy.free_ranges():
            for pfn in range(start, end):
                machine.memory.fill_page(pfn, b"\xa5" * 4096)
    ptr = kernel.alloc(5000)
    assert machine.percpu.chunks[1].written
    for cpu in range(4):
        assert kernel.bytes_of(ptr, cpu, 4000) == bytes(4000)
    after = kernel.address(ptr, 1) + 5000
    assert machine.memory.read(machine.space.translate(after), 4) == b"\xa5" * 4


def test_depopulating_unmaps_every_unit(small_kernel: Build) -> None:
    kernel = full_kernel(small_kernel)
    ptrs = [kernel.alloc(32768), kernel.alloc(32768)]
    chunk = kernel.machine.percpu.chunks[2]
    for ptr in ptrs:
        kernel.free(ptr)
    kernel.balance()
    gone = [n for n in (1, 2) if n not in kernel.machine.percpu.chunks]
    assert len(gone) == 1
    if gone == [2]:
        for cpu in range(4):
            virt = kernel.machine.percpu.backing.unit_page_addr(chunk, cpu, 0)
            assert kernel.machine.space.translate(virt) is None
    kernel.check()
