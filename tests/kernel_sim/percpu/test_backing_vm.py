"""Chunks in vmalloc space: a hole per group, a page of the right node per CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kernel_sim.mm.gfp import GFP_DMA, GFP_KERNEL, GFP_THISNODE
from kernel_sim.mm.page import PAGE_SHIFT
from kernel_sim.percpu.backing_vm import flush_nothing
from kernel_sim.primitives import run_undisturbed
from tests.kernel_sim.whole_machines import Whole

Build = Callable[..., Any]


def nr_free(machine: Any) -> int:
    """Return the pages that nobody has: in the zones, and on the lists of CPUs."""
    return int(machine.pages.nr_free_pages + machine.pages.nr_list_pages)


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
    """Fail request 0, 1, 2 … until the allocation gets through; 3 pages for each of 4 CPUs, then tables.

    Tables that were there before the failure stay.
    """
    for after in range(12 + 4 * 3 + 1):
        kernel = full_kernel(small_kernel, first_chunk=first_chunk)
        machine = kernel.machine
        free_pages = nr_free(machine)
        tables = machine.space.nr_table_pages
        live = kernel.live_areas()
        kernel.knob("fail_pages", after)
        ptr = kernel.alloc(12288)
        kernel.check()
        if ptr:
            assert after == 12 + machine.space.nr_table_pages - tables > 12
            break
        assert nr_free(machine) + machine.space.nr_table_pages == free_pages + tables
        assert machine.space.nr_table_pages == tables + max(after - 12, 0)
        assert kernel.live_areas() == live
        assert machine.percpu.chunks[1].populated == 0
        assert machine.kernel_log[-1] == (
            4, "percpu: allocation failed, size=12288 align=8 atomic=0, failed to populate",
        )  # fmt: skip
        kernel.knob("fail_pages", -1)
        assert kernel.alloc(12288)
        kernel.check()
    assert ptr


def test_the_nth_page_table_that_is_not_there_undoes_the_whole_populate(
    small_kernel: Build,
) -> None:
    for after in range(20):
        kernel = full_kernel(small_kernel)
        machine = kernel.machine
        in_use = nr_free(machine) + machine.space.nr_table_pages
        given = machine.space.alloc_table
        left = [after]

        def rationed(node: int, cpu: int, given: Any = given, left: list[int] = left) -> int | None:
            left[0] -= 1
            return given(node, cpu) if left[0] >= 0 else None

        machine.space.alloc_table = rationed
        ptr = kernel.alloc(12288)
        kernel.check()
        if ptr:
            assert after > 0
            return
        assert nr_free(machine) + machine.space.nr_table_pages == in_use
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


def noted_flushes(kernel: Any) -> list[tuple[int, int, int]]:
    """Let the backing note its flushes instead of doing them."""
    flushed: list[tuple[int, int, int]] = []

    def flush(cpu: int, start: int, end: int) -> Any:
        flushed.append((cpu, start, end))
        return flush_nothing(cpu, start, end)

    kernel.machine.percpu.backing.flush = flush
    return flushed


def test_with_nothing_to_flush_no_step_is_taken() -> None:
    async def path() -> str:
        await flush_nothing(0, 4096, 8192)
        return "done"

    with pytest.raises(StopIteration, match="done"):
        path().send(None)


def test_depopulated_pages_are_flushed_from_the_lowest_unit_to_the_highest(
    small_kernel: Build,
) -> None:
    kernel = full_kernel(small_kernel)
    kernel.alloc(12288)
    machine = kernel.machine
    backing, chunk = machine.percpu.backing, machine.percpu.chunks[1]
    flushed = noted_flushes(kernel)
    run_undisturbed(backing.pcpu_post_unmap_tlb_flush(2, chunk, 1, 3))
    units = [backing.unit_page_addr(chunk, cpu, 0) for cpu in range(4)]
    assert flushed == [(2, min(units) + 4096, max(units) + 3 * 4096)]


def test_a_purge_of_vmalloc_space_is_flushed_by_whoever_caused_it(small_kernel: Build) -> None:
    kernel = full_kernel(small_kernel)
    kernel.machine.vmalloc.lazy_max_pages = 0
    machine = kernel.machine
    flushed = noted_flushes(kernel)
    kernel.alloc(64)
    chunk = machine.percpu.chunks[1]
    lowest, sizes = min(chunk.data), machine.places.group_sizes
    highest = max(start + size for start, size in zip(chunk.data, sizes, strict=True))
    run_undisturbed(machine.percpu.backing.pcpu_destroy_chunk(3, chunk))
    assert flushed == [(3, lowest, highest)]
    assert machine.vmalloc.take_purged() is None


def test_a_purge_for_want_of_a_hole_is_flushed_before_the_chunk_is_there(
    small_kernel: Build,
) -> None:
    kernel = full_kernel(small_kernel)
    machine = kernel.machine
    backing, vmalloc = machine.percpu.backing, machine.vmalloc
    kernel.alloc(64)
    chunk = machine.percpu.chunks[1]
    run_undisturbed(backing.pcpu_destroy_chunk(0, chunk))
    space = vmalloc.end + 1 - vmalloc.start
    vmalloc.add_taken(vmalloc.start, min(chunk.data) - vmalloc.start, "somebody")
    flushed = noted_flushes(kernel)
    assert space and run_undisturbed(backing.pcpu_create_chunk(1, GFP_KERNEL)) is not None
    assert len(flushed) == 1 and flushed[0][0] == 1


def test_a_failed_map_flushes_what_it_had_mapped(small_kernel: Build) -> None:
    kernel = full_kernel(small_kernel)
    flushed = noted_flushes(kernel)
    kernel.machine.space.alloc_table = lambda node, cpu=0: None
    assert kernel.alloc(12288, cpu=1) == 0
    assert [cpu for cpu, _, _ in flushed] == [1]


@pytest.mark.parametrize(("profile", "nodes"), [("plain", [0, 1]), ("modern", [1])])
def test_page_tables_come_from_where_the_kernel_takes_them(
    small_kernel: Build, monkeypatch: pytest.MonkeyPatch, profile: str, nodes: list[int]
) -> None:
    kernel = full_kernel(small_kernel)
    machine = kernel.machine
    asked: list[int] = []
    map_page = type(machine.space).map_page

    def noted(space: Any, **request: Any) -> bool:
        asked.append(request["node"])
        return map_page(space, **request)

    monkeypatch.setattr(machine.pages, "profile", profile)
    monkeypatch.setattr(type(machine.space), "map_page", noted)
    backing = machine.percpu.backing
    chunk = run_undisturbed(backing.pcpu_create_chunk(2, GFP_KERNEL))
    pfns = [machine.pages.zones[0].buddy.alloc(0) for _ in range(4)]
    assert run_undisturbed(backing.pcpu_map_pages(2, chunk, pfns, 0, 1))
    assert list(dict.fromkeys(asked)) == nodes


def test_the_page_allocator_learns_which_cpu_asks_and_what_for(
    small_kernel: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = full_kernel(small_kernel)
    pages = kernel.machine.pages
    asked: list[tuple[int, str]] = []
    given: list[int] = []
    alloc_pages, free_pages = type(pages).alloc_pages, type(pages).free_pages

    def noted_alloc(self: Any, **request: Any) -> int | None:
        if request.get("injectable"):
            asked.append((request["cpu"], request["caller"]))
        return alloc_pages(self, **request)

    def noted_free(self: Any, pfn: int, order: int, cpu: int = 0) -> None:
        given.append(cpu)
        free_pages(self, pfn, order, cpu)

    monkeypatch.setattr(type(pages), "alloc_pages", noted_alloc)
    monkeypatch.setattr(type(pages), "free_pages", noted_free)
    kernel.alloc(4096, cpu=3)
    assert asked[:4] == [(3, "pcpu_alloc_pages")] * 4
    chunk = kernel.machine.percpu.chunks[1]
    backing = kernel.machine.percpu.backing
    run_undisturbed(backing.pcpu_depopulate_chunk(2, chunk, 0, 1))
    assert given == [2] * 4


@pytest.mark.parametrize("arch", ["i386", "i386-pae"])
def test_chunks_take_high_memory_and_pass_on_only_how_hard_to_try(arch: str) -> None:
    whole = Whole(arch, memory_mib=1024)
    gfp = GFP_KERNEL | GFP_DMA | GFP_THISNODE
    whole.use_up_ready_space()
    assert whole.call("pcpu_alloc", 32768, 8, False, gfp, "f+0x1")
    machine = whole.machine
    chunk = machine.percpu.chunks[1]
    zones = [
        machine.pages.zone_of_pfn(phys >> 12)
        for cpu in machine.places.cpus
        if (phys := machine.space.translate(machine.percpu.backing.unit_page_addr(chunk, cpu, 0)))
    ]
    assert [(zone.name, zone.node) for zone in zones] == [
        ("HighMem", 0), ("HighMem", 0), ("HighMem", 1), ("HighMem", 1)
    ]  # fmt: skip
    whole.check()
