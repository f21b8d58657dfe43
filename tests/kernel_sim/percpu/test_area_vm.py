"""Chunks in vmalloc space: pages for every run that lacks them, and nothing else when one cannot be had."""

from __future__ import annotations

import pytest

from kernel_sim.events import PercpuDepopulate, PercpuPopulate
from tests.kernel_sim.percpu.area_kernel import AreaKernel


@pytest.fixture
def kernel() -> AreaKernel:
    kernel = AreaKernel(tables={"tlb": {"profile": "none"}})
    kernel.new_chunk()
    return kernel


def populated(kernel: AreaKernel) -> list[tuple[int, int]]:
    return [
        (row.event.page_start, row.event.page_end)
        for row in kernel.machine.take_events()
        if isinstance(row.event, PercpuPopulate)
    ]


def test_each_run_that_lacks_pages_is_populated(kernel: AreaKernel) -> None:
    percpu = kernel.percpu
    kernel.alloc(65536, 1)
    kernel.machine.take_events()
    fill = kernel.alloc(60000, 1)
    assert populated(kernel) == [(0, 15)]
    kernel.free(fill)
    chunk = percpu.chunks[kernel.percpu.next_number - 1]
    for run in ((1, 2), (4, 6)):
        chunk.set_populated(*run, is_there=False)
        for cpu in range(4):
            for page in range(*run):
                pfn = kernel.machine.space.unmap_page(chunk.base_addr + cpu * 65536 + page * 4096)
                assert pfn is not None
                kernel.machine.pages.free_pages(pfn, 0)
    kernel.alloc(65536, 1)
    assert populated(kernel) == [(1, 2), (4, 6), (15, 16)]
    kernel.check()


def test_pages_that_are_there_cost_nothing(kernel: AreaKernel) -> None:
    ptr = kernel.alloc(65536, 1)
    kernel.free(ptr)
    before = kernel.nr_unused_pages()
    kernel.machine.take_events()
    kernel.machine.pages.fail_after = 0
    assert kernel.alloc(65536, 1)
    kernel.machine.pages.fail_after = -1
    assert populated(kernel) == [] and kernel.nr_unused_pages() == before


def test_a_table_that_cannot_be_had_undoes_all() -> None:
    """All pages are there when a page for a table is missing: they go back, mapped or not."""
    kernel = AreaKernel(nr_nodes=2, percpu={"atom_bytes": 2 << 20})
    space = kernel.machine.space
    real = space.alloc_table
    space.alloc_table = lambda node, cpu: None
    for _ in range(20):
        before = kernel.nr_unused_pages()
        if kernel.alloc(65536, 1) == 0:
            break
    space.alloc_table = real
    assert kernel.nr_unused_pages() == before
    chunk = kernel.chunks[kernel.percpu.next_number - 1]
    assert chunk.populated == 0 and chunk.area_map.free_bytes == kernel.percpu.unit_size_bytes
    assert kernel.log()[-1].endswith("failed to populate")
    kernel.check()
    assert kernel.alloc(65536, 1)
    kernel.check()


def test_depopulating_leaves_tlbs_to_vmalloc() -> None:
    """A stale translation stays until the address space is purged."""
    kernel = AreaKernel(tables={"tlb": {"profile": "skylake"}})
    ptrs = [kernel.alloc(65536, 1) for _ in range(2)]
    kernel.call("this_cpu_read", ptrs[1], 8, cpu=1)
    addr = kernel.system.copy_addr(ptrs[1], 1)
    assert addr is not None
    for ptr in reversed(ptrs):
        kernel.free(ptr)
    kernel.machine.take_events()
    kernel.work()
    events = [row.event for row in kernel.machine.take_events()]
    assert sum(isinstance(event, PercpuDepopulate) for event in events) == 1
    assert kernel.machine.space.translate(addr) is None, "the last on the list went"
    assert kernel.machine.tlbs[1].lookup(addr) is not None
