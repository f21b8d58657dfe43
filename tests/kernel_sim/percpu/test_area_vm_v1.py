"""The first commit's way to populate, and its bug: who fails takes the pages of its neighbours along."""

from __future__ import annotations

import pytest

from kernel_sim.errors import KernelFault
from kernel_sim.events import PercpuDepopulate, PercpuPopulate
from kernel_sim.percpu.stretch import DYNAMIC, HOLE, STATIC
from tests.kernel_sim.percpu.area_kernel import AreaKernel


@pytest.fixture
def kernel() -> AreaKernel:
    """A machine whose chunk 1 has areas up to the middle of page 1."""
    kernel = AreaKernel(stage="mail")
    kernel.alloc(4096, 1)
    return kernel


def runs(kernel: AreaKernel, kind: type) -> list[tuple[int, int]]:
    events = [row.event for row in kernel.machine.take_events()]
    return [(e.page_start, e.page_end) for e in events if isinstance(e, kind)]


def test_pages_that_are_there_part_what_is_mapped(kernel: AreaKernel) -> None:
    kernel.alloc(8192, 1)
    kernel.alloc(100, 1)
    kernel.machine.take_events()
    chunk = kernel.chunks[1]
    assert chunk.populated == 0b1111
    kernel.alloc(8192, 1)
    assert runs(kernel, PercpuPopulate) == [(4, 6)]
    kernel.check()


def test_a_failure_takes_the_neighbours_pages(kernel: AreaKernel) -> None:
    neighbour = kernel.alloc(100, 1)
    kernel.call("this_cpu_write", neighbour, 77, 4)
    before = kernel.nr_unused_pages()
    kernel.machine.take_events()
    kernel.machine.pages.fail_after = 5
    assert kernel.alloc(65000, 1) == 0
    kernel.machine.pages.fail_after = -1
    assert runs(kernel, PercpuDepopulate) == [(1, 2)], "the neighbour's page"
    assert kernel.system.holds(neighbour)
    assert kernel.nr_unused_pages() == before + 4, "one page of each CPU more than before"
    kernel.check()
    drawn = [s for s in kernel.system.stretches() if s.ptr == neighbour]
    assert [s.kind for s in drawn] == [HOLE] * 4, "an area without memory"
    with pytest.raises(KernelFault, match="page"):
        kernel.call("this_cpu_read", neighbour, 4)


def test_the_next_area_there_brings_memory_back_without_the_bytes(kernel: AreaKernel) -> None:
    neighbour = kernel.alloc(100, 1)
    kernel.call("this_cpu_write", neighbour, 77, 4)
    kernel.machine.pages.fail_after = 5
    assert kernel.alloc(65000, 1) == 0
    kernel.machine.pages.fail_after = -1
    kernel.alloc(50, 1)
    phys = kernel.machine.space.translate(kernel.system.copy_addr(neighbour, 0) or 0)
    assert phys is not None
    drawn = [s for s in kernel.system.stretches() if s.ptr == neighbour]
    assert [s.kind for s in drawn] == [DYNAMIC] * 4
    kernel.check()


def test_static_variables_can_be_the_neighbours() -> None:
    """Their last page is boot's, and goes back as boot's pages do."""
    kernel = AreaKernel(stage="v1")
    kernel.machine.pages.fail_after = 3
    assert kernel.alloc(40000, 1) == 0
    kernel.machine.pages.fail_after = -1
    assert kernel.chunks[0].populated == 0b1111
    static = [s for s in kernel.system.stretches() if s.what == "static variables"]
    assert {s.kind for s in static} == {STATIC, HOLE}
    kernel.check()


def test_a_later_stage_keeps_what_was_there() -> None:
    kernel = AreaKernel(stage=".31")
    kernel.alloc(60000, 1)
    kernel.alloc(4096, 1)
    neighbour = kernel.alloc(100, 1)
    number = kernel.place(neighbour)[0]
    populated = kernel.chunks[number].populated
    kernel.machine.pages.fail_after = 5
    assert kernel.alloc(65536, 1) == 0
    kernel.machine.pages.fail_after = -1
    assert kernel.chunks[number].populated == populated
    assert kernel.call("this_cpu_read", neighbour, 4) == 0


def test_no_table_page_takes_back_what_was_mapped(kernel: AreaKernel) -> None:
    before = kernel.nr_unused_pages()
    space = kernel.machine.space
    real = space.alloc_table
    space.alloc_table = lambda node, cpu: None
    for _ in range(30):
        before = kernel.nr_unused_pages()
        if kernel.alloc(65536, 1) == 0:
            break
    else:
        raise AssertionError("no chunk needed a table")
    space.alloc_table = real
    assert kernel.nr_unused_pages() == before
    kernel.check()


def test_a_killed_chunk_gives_all_back(kernel: AreaKernel) -> None:
    before = kernel.nr_unused_pages()
    ptrs = [kernel.alloc(65536, 1) for _ in range(4)]
    for ptr in ptrs:
        kernel.free(ptr)
    later = [chunk for number, chunk in kernel.chunks.items() if number > 0]
    nr_there = sum(chunk.populated.bit_count() for chunk in later) * 4
    assert before - kernel.nr_unused_pages() == nr_there - 4, "chunk 1 had a page of each CPU"
    kernel.check()
