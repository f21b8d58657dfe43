"""A block's memory: what it takes, on which node, and that nothing is left behind where anything fails."""

from __future__ import annotations

import pytest

from kernel_sim.errors import KernelBug, KernelFault
from kernel_sim.mm.page import PAGE_SIZE_BYTES
from kernel_sim.percpu.block_area import map_pages
from kernel_sim.percpu.block_geometry import BLOCK_BYTES
from tests.kernel_sim.percpu.block_kernel import BlockKernel

POSSIBLE = 4
ADDRESS_SPACE = {"start": "0xf8800000", "end": "0xf8834fff"}  # two blocks of 26 pages, and one more


@pytest.fixture(params=["i386", "x86-64"])
def kernel(request: pytest.FixtureRequest) -> BlockKernel:
    return BlockKernel(request.param)


def test_a_block_costs_pages_for_possible_cpus_and_address_space_for_all(
    kernel: BlockKernel,
) -> None:
    before = kernel.nr_unused_pages()
    kernel.alloc(64)
    geometry = kernel.percpu.geometry
    assert before - kernel.nr_unused_pages() == 2 * POSSIBLE + geometry.nr_management_pages
    (area,) = kernel.machine.vmalloc.areas
    assert area.size_bytes == (16 + geometry.nr_management_pages + 1) * PAGE_SIZE_BYTES
    start = kernel.blocks[0].start_addr
    for cpu in range(8):
        virt = start + cpu * BLOCK_BYTES
        for at in (virt, virt + PAGE_SIZE_BYTES):
            assert (kernel.machine.space.translate(at) is not None) == (cpu < POSSIBLE)
    assert kernel.machine.space.translate(area.end - PAGE_SIZE_BYTES) is None
    kernel.check()


def test_every_part_lies_on_its_cpus_node(kernel: BlockKernel) -> None:
    ptr = kernel.alloc(64, cpu=3)
    assert [kernel.node_at(ptr + cpu * BLOCK_BYTES) for cpu in range(4)] == [0, 0, 1, 1]


def test_a_cpu_number_that_is_not_possible_leaves_a_hole() -> None:
    kernel = BlockKernel(possible="0-1,6")
    before = kernel.nr_unused_pages()
    ptr = kernel.alloc(8)
    assert before - kernel.nr_unused_pages() == 2 * 3 + 9
    assert kernel.machine.space.translate(ptr + 5 * BLOCK_BYTES) is None
    assert kernel.node_at(ptr + 6 * BLOCK_BYTES) == 1
    kernel.check()
    kernel.free(ptr)
    assert kernel.nr_unused_pages() == before
    kernel.check()


@pytest.mark.parametrize(("posting", "zone"), [("sep", 0), ("review", 1)])
def test_only_the_review_takes_high_memory_for_management(posting: str, zone: int) -> None:
    memory = ["0x0-0x3ffffff", "0x38000000-0x39ffffff"]  # 32 MiB of high memory
    node = [{"cpus": "0-1", "memory": memory}]
    kernel = BlockKernel(possible="0-1", options={"posting": posting}, node=node)
    kernel.alloc(8)
    (block,) = kernel.blocks
    high = 0x38000000 >> 12
    assert [pfn >= high for pfn in block.management_pfns] == [bool(zone)] * 9
    assert all(pfn >= high for pfns in block.cpu_pfns.values() for pfn in pfns)


@pytest.mark.parametrize("arch", ["i386", "x86-64"])
def test_whichever_page_is_missing_nothing_is_left_behind(arch: str) -> None:
    kernel = BlockKernel(arch)
    before = kernel.nr_unused_pages()
    nr_failed = 0
    while True:
        kernel.machine.pages.fail_after = nr_failed
        ptr = kernel.alloc(64)
        kernel.machine.pages.fail_after = -1
        if ptr:
            break
        nr_failed += 1
        assert kernel.nr_unused_pages() == before
        assert not kernel.machine.vmalloc.areas and not kernel.blocks
        kernel.check()
        assert kernel.event_names()[-1] == "percpu_alloc_percpu_fail"
    nr_pages = 2 * POSSIBLE + kernel.percpu.geometry.nr_management_pages
    assert nr_failed >= nr_pages  # tables that were missing come on top, and stay
    kernel.check()


def test_without_a_table_for_one_cpus_part_all_goes_back() -> None:
    """The parts lie across the end of what one table maps, so that only the later ones lack one."""
    space = {"start": "0xf89f0000", "end": "0xf8cfffff"}  # a table of PAE maps 2 MiB
    kernel = BlockKernel(vmalloc=space)
    before = kernel.nr_unused_pages()
    nr_tables = kernel.machine.space.nr_table_pages
    missing = []
    for nr_pages in range(60):
        kernel.machine.pages.fail_after = nr_pages
        ptr = kernel.alloc(64)
        kernel.machine.pages.fail_after = -1
        missing.append(kernel.machine.space.nr_table_pages - nr_tables)
        if ptr:
            break
        assert kernel.nr_unused_pages() == before
        kernel.check()
    assert ptr and len(dict.fromkeys(missing)) == 3  # none, one, then both tables were there


def test_without_address_space_the_management_pages_go_back() -> None:
    kernel = BlockKernel(vmalloc=ADDRESS_SPACE)
    first, second = kernel.alloc(BLOCK_BYTES), kernel.alloc(BLOCK_BYTES)
    assert first and second
    before = kernel.nr_unused_pages()
    assert kernel.alloc(4) == 0
    assert kernel.nr_unused_pages() == before
    kernel.check()
    kernel.free(first)
    assert kernel.alloc(4)


def test_a_block_that_goes_is_unmapped_slice_by_slice_and_its_place_is_free_at_once() -> None:
    kernel = BlockKernel(tlb={"profile": "pentium4"})
    ptr = kernel.alloc(64)
    assert kernel.call("per_cpu", ptr, 2, 4, cpu=1) == 0
    kernel.machine.take_events()
    kernel.free(ptr)
    own = [row.event for row in kernel.machine.take_events() if row.cpu == 0]
    assert [event.pages for event in own if hasattr(event, "pages")] == [2, 2, 2, 2, 9]
    assert not kernel.machine.vmalloc.areas
    kernel.check()
    assert kernel.alloc(64) == ptr


def test_it_is_not_mapped_twice() -> None:
    kernel = BlockKernel()
    ptr = kernel.alloc(64)
    with pytest.raises(KernelBug, match="mapped already"):
        map_pages(kernel.percpu, 0, ptr, [5])


def test_as_posted_the_last_cpus_guard_page_is_the_descriptor() -> None:
    """It is unmapped with the part before it, and read next."""
    kernel = BlockKernel(nr_cpus=5, possible="0-4", options={"as_posted": True})
    ptr = kernel.alloc(64)
    with pytest.raises(KernelFault, match="unable to handle page fault"):
        kernel.free(ptr)
    fault = kernel.machine.fault
    assert fault is not None and "vfree_percpu" in fault.frames
    management = ptr + 5 * BLOCK_BYTES
    assert management <= fault.addr < management + PAGE_SIZE_BYTES
    kernel = BlockKernel(nr_cpus=5, possible="0-3", options={"as_posted": True})
    kernel.free(kernel.alloc(64))
    kernel.check()


def test_as_posted_four_cpus_are_too_few_for_the_page_array() -> None:
    """The ninth management page's pointer lies where the list is, and is that when it is read back."""
    wishes = {"nr_cpus": 4, "possible": "0-1"}
    kernel = BlockKernel(**wishes, options={"as_posted": True})
    ptr = kernel.alloc(64)
    kernel.check()
    with pytest.raises(KernelFault, match="Bad page state"):
        kernel.free(ptr)
    kernel = BlockKernel(**wishes)
    kernel.free(kernel.alloc(64))
    kernel.check()
