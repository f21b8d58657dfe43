"""An empty table goes so that a large page can come; pages of boot go back as boot's."""

from __future__ import annotations

import pytest

from kernel_sim.errors import KernelBug
from kernel_sim.mm.empty_table import free_empty_table, give_back
from kernel_sim.mm.paging import PAGE_KERNEL
from tests.kernel_sim.percpu.area_kernel import AreaKernel

VIRT = 0xFFFFC90040000000
SHIFT = 21


@pytest.fixture
def kernel() -> AreaKernel:
    return AreaKernel()


def free(kernel: AreaKernel) -> bool:
    machine = kernel.machine
    return free_empty_table(machine.space, machine.pages, VIRT, SHIFT, node=0, cpu=0)


def test_a_table_that_maps_nothing_any_more_is_given_back(kernel: AreaKernel) -> None:
    space = kernel.machine.space
    assert space.map_page(virt=VIRT, pfn=77, flags=PAGE_KERNEL, node=0)
    nr_tables, version = space.nr_table_pages, space.tables_version
    with pytest.raises(KernelBug, match="maps something"):
        free(kernel)
    space.unmap_page(VIRT)
    assert free(kernel)
    assert space.nr_table_pages == nr_tables - 1
    assert space.tables_version > version
    space.check_invariants()
    assert space.map_large(virt=VIRT, pfn=512, shift=SHIFT, flags=PAGE_KERNEL, node=0)
    assert free(kernel), "a large page is no table"
    assert space.unmap_large(VIRT, SHIFT) == 512


def test_where_no_table_is_nothing_happens(kernel: AreaKernel) -> None:
    assert free(kernel)
    kernel.machine.space.check_invariants()


def test_no_memory_for_a_table_above(kernel: AreaKernel) -> None:
    kernel.machine.space.alloc_table = lambda node, cpu: None
    assert not free(kernel)


def test_a_page_goes_back_the_way_it_came(kernel: AreaKernel) -> None:
    pages = kernel.machine.pages
    phys = pages.reserve(node=0, nr_bytes=4096, align_bytes=4096)
    taken = pages.alloc_pages(gfp=0, order=0, node=0)
    assert phys is not None and taken is not None
    for pfn in (phys >> 12, taken):
        give_back(pages, pfn, 0, 0)
        assert pages.owner_state_of(pfn).startswith(("free", "pcp"))
