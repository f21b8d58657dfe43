"""alloc_percpu() and free_percpu() on the machine, several CPUs at once, and CPUs that come up."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_sim.errors import KernelFault
from kernel_sim.events import PercpuAllocPercpu
from kernel_sim.mm.gfp import GFP_ATOMIC, GFP_KERNEL, GFP_NOFS
from kernel_sim.percpu.block_geometry import BLOCK_BYTES
from tests.kernel_sim.percpu.block_kernel import FOREVER, BlockKernel

EINVAL = 22


@pytest.fixture
def kernel() -> BlockKernel:
    return BlockKernel()


def test_sizes_are_whole_units_side_by_side(kernel: BlockKernel) -> None:
    start = kernel.alloc(1)
    assert [kernel.alloc(size) - start for size in (4, 5, 8189 - 8192 + 60)] == [4, 8, 16]
    assert [size for _, size in kernel.system.live_areas()] == [4, 4, 8, 60]


def test_nothing_is_given_for_size_zero_and_align_zero_is_a_unit(kernel: BlockKernel) -> None:
    assert kernel.alloc(0) == 0
    assert not kernel.blocks
    assert kernel.alloc(4, 0)


def test_more_than_a_block_is_more_than_it_can_handle(kernel: BlockKernel) -> None:
    assert kernel.alloc(BLOCK_BYTES)
    assert kernel.alloc(BLOCK_BYTES + 4) == 0
    line = "alloc_percpu: size 8196 requested is more than I can handle"
    assert kernel.machine.kernel_log[-1] == (4, line)
    assert len(kernel.blocks) == 1


def test_what_is_negative_is_a_vast_size_t(kernel: BlockKernel) -> None:
    """An alignment of -1 would be found nowhere, and block after block made until no page is left."""
    vast = (1 << 8 * kernel.machine.arch.word_bytes) - 1
    assert kernel.alloc(4, -1) == 0
    line = f"alloc_percpu: alignment {vast} requested is more than a page"
    assert kernel.machine.kernel_log[-1] == (4, line)
    assert kernel.alloc(-8) == 0
    assert kernel.machine.kernel_log[-1][1].startswith(f"alloc_percpu: size {vast - 7} requested")
    assert not kernel.blocks


def test_an_alignment_above_a_page_is_refused_at_once(kernel: BlockKernel) -> None:
    assert kernel.alloc(8, 4096) % 4096 == 0
    assert kernel.alloc(8, 8192) == 0
    assert "alignment 8192" in kernel.machine.kernel_log[-1][1]
    assert len(kernel.blocks) == 1


def test_as_posted_an_alignment_that_no_block_has_takes_all_there_is() -> None:
    """Blocks are 26 pages apart, so none begins at another address modulo 8192 than the first."""
    space = {"start": "0xf8801000", "end": "0xf889efff"}
    kernel = BlockKernel(options={"as_posted": True}, vmalloc=space)
    assert kernel.alloc(8192, 8192) == 0
    assert len(kernel.blocks) == 6
    kernel.check()


def test_every_copy_is_zero_whatever_was_there(kernel: BlockKernel) -> None:
    first = kernel.alloc(64)
    keeper = kernel.alloc(4)
    for cpu in range(4):
        kernel.machine.access.write(0, first + cpu * BLOCK_BYTES, b"\xa5" * 64)
    kernel.free(first)
    again = kernel.alloc(64)
    assert again == first != keeper
    for cpu in range(4):
        assert kernel.bytes_at(again + cpu * BLOCK_BYTES, 64) == bytes(64)


def test_an_address_of_no_object_is_a_bug(kernel: BlockKernel) -> None:
    ptr = kernel.alloc(64)
    kernel.free(0)
    with pytest.raises(KernelFault, match="kernel BUG"):
        kernel.free(ptr + 4)


def test_freed_twice_is_a_bug(kernel: BlockKernel) -> None:
    ptr, _ = kernel.alloc(64), kernel.alloc(4)
    kernel.free(ptr)
    with pytest.raises(KernelFault, match="no object is there"):
        kernel.free(ptr)


def test_an_empty_block_goes_at_once(kernel: BlockKernel) -> None:
    before = kernel.nr_unused_pages()
    for _ in range(2):
        ptr = kernel.alloc(64)
        assert len(kernel.blocks) == 1
        kernel.free(ptr)
        assert not kernel.blocks and kernel.nr_unused_pages() == before
    names = kernel.event_names()
    assert names.count("percpu_add_block") == names.count("percpu_free_block") == 2


def test_events_say_block_place_and_bytes_of_all_copies(kernel: BlockKernel) -> None:
    kernel.alloc(4)
    kernel.machine.take_events()
    ptr = kernel.alloc(6, 8, gfp=GFP_ATOMIC)
    (row,) = kernel.machine.take_events()
    assert row.event == PercpuAllocPercpu(
        "f+0x1", False, True, 6, 8, ptr - 8, 8, ptr, 8 * 4, GFP_ATOMIC
    )


def test_where_flags_are_the_callers_others_than_two_are_a_bug() -> None:
    kernel = BlockKernel(options={"posting": "caller"})
    assert kernel.alloc(4) and kernel.alloc(4, gfp=GFP_ATOMIC)
    kernel.check()
    with pytest.raises(KernelFault, match="takes GFP_KERNEL"):
        kernel.alloc(4, gfp=GFP_NOFS | 0x100)


def test_the_way_there_has_the_postings_names(kernel: BlockKernel) -> None:
    call = kernel.machine.give(0, "pcpu_alloc", (8, 4, False, GFP_KERNEL, "f"))
    kernel.machine.run(5)
    assert call.frames()[-1] == "__alloc_percpu"
    assert call.frames()[1:3] == ("alloc_pages", "valloc_percpu")


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4000)), min_size=2, max_size=6), st.data()
)
def test_cpus_that_allocate_at_once_do_not_get_the_same(
    requests: list[tuple[int, int]], data: Any
) -> None:
    kernel = BlockKernel(schedule={"policy": "random", "seed": data.draw(st.integers(0, 99))})
    calls = [
        kernel.machine.give(cpu, "pcpu_alloc", (size, 4, False, GFP_KERNEL, "f"))
        for cpu, size in requests
    ]
    kernel.machine.run(FOREVER)
    areas = sorted(kernel.system.live_areas())
    assert [ptr for ptr, _ in areas] == sorted(int(str(call.result)) for call in calls)
    assert all(ptr + size <= above for (ptr, size), (above, _) in itertools.pairwise(areas))
    kernel.check()
    for at, (ptr, _) in enumerate(areas):
        kernel.machine.give(at % 4, "free_percpu", (ptr,))
    kernel.machine.run(FOREVER)
    kernel.check()
    assert not list(kernel.system.live_areas())


# -- CPUs that come up ---------------------------------------------------------------------------------

TWO_OF_FOUR = {"cpus": {"possible": "0-3", "online": "0-1"}}


def test_a_possible_cpu_has_its_pages_before_it_comes() -> None:
    kernel = BlockKernel(**TWO_OF_FOUR)
    ptr = kernel.alloc(8)
    before = kernel.nr_unused_pages()
    assert kernel.call("cpu_up", 2) == 0
    assert before - kernel.nr_unused_pages() == 4  # its stack
    assert kernel.call("this_cpu_read", ptr, 4, cpu=2) == 0
    kernel.check()


def growing() -> BlockKernel:
    return BlockKernel(options={"possible_map": "grows"}, **TWO_OF_FOUR)


def test_a_cpu_that_was_not_possible_yet_gets_pages_in_every_block() -> None:
    kernel = growing()
    first, second = kernel.alloc(8), kernel.alloc(BLOCK_BYTES)
    assert kernel.system.copy_addr(first, 2) is None
    assert kernel.machine.space.translate(first + 2 * BLOCK_BYTES) is None
    assert kernel.call("cpu_up", 2) == 0
    for ptr in (first, second):
        assert kernel.node_at(ptr + 2 * BLOCK_BYTES) == 1
    assert kernel.call("this_cpu_read", first, 4, cpu=2) == 0
    kernel.check()
    before = kernel.nr_unused_pages()
    kernel.free(first)
    assert kernel.nr_unused_pages() - before == 9 + 3 * 2
    third = kernel.alloc(8)
    assert kernel.system.copy_addr(third, 2) and not kernel.system.copy_addr(third, 3)
    assert kernel.call("cpu_down", 2) == 0 and kernel.call("cpu_up", 2) == 0
    kernel.check()


def test_cpus_are_served_in_the_order_of_their_numbers_whichever_came_first() -> None:
    kernel = growing()
    for cpu in (3, 2, 3):
        kernel.call("cpu_up", cpu)
    assert list(kernel.percpu.possible) == [0, 1, 2, 3]
    kernel.alloc(8)
    assert list(kernel.blocks[0].cpu_pfns) == [0, 1, 2, 3]


def test_without_pages_for_it_the_cpu_is_refused() -> None:
    kernel = growing()
    kernel.alloc(8)
    before = kernel.nr_unused_pages()
    kernel.machine.pages.fail_after = 2  # the stack, and one of its two pages
    assert kernel.call("cpu_up", 2) == -EINVAL
    kernel.machine.pages.fail_after = -1
    assert (4, "cpu_up: attempt to bring up CPU 2 failed") in kernel.machine.kernel_log
    assert not kernel.machine.cpus[2].online
    assert kernel.nr_unused_pages() == before
    kernel.check()
    assert kernel.call("cpu_up", 2) == 0
    kernel.check()
