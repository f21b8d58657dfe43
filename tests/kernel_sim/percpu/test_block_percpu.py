"""The allocator's build: what pages are asked for with, which unit, where its variables are."""

from __future__ import annotations

import pytest

from kernel_sim.errors import ConfigError
from kernel_sim.mm.gfp import GFP_ATOMIC, GFP_HIGHMEM, GFP_KERNEL, GFP_ZERO
from kernel_sim.percpu.block_geometry import BLOCK_BYTES
from tests.kernel_sim.percpu.block_kernel import BlockKernel


@pytest.mark.parametrize(
    ("posting", "management", "of_cpus"),
    [
        ("jan", GFP_KERNEL, GFP_KERNEL | GFP_HIGHMEM),
        ("review", GFP_KERNEL | GFP_HIGHMEM | GFP_ZERO, GFP_KERNEL | GFP_HIGHMEM),
        ("sep", GFP_ATOMIC | GFP_ZERO, GFP_ATOMIC | GFP_HIGHMEM),
    ],
)
def test_each_posting_asks_for_pages_in_its_way(
    posting: str, management: int, of_cpus: int
) -> None:
    percpu = BlockKernel(options={"posting": posting}).percpu
    for gfp in (GFP_KERNEL, GFP_ATOMIC):
        assert percpu.page_flags(gfp) == (management, of_cpus)


def test_with_the_callers_flags_it_is_one_of_two() -> None:
    percpu = BlockKernel(options={"posting": "caller"}).percpu
    sleeping = GFP_KERNEL | GFP_HIGHMEM | GFP_ZERO
    assert percpu.page_flags(GFP_KERNEL) == (sleeping, sleeping)
    assert percpu.page_flags(GFP_ATOMIC) == (GFP_ATOMIC | GFP_ZERO,) * 2


@pytest.mark.parametrize(
    ("arch", "posting", "currency_bytes", "nr_pages"),
    [
        ("i386", "jan", 4, 9),
        ("i386", "sep", 4, 9),
        ("x86-64", "jan", 8, 8),
        ("x86-64", "sep", 4, 15),
    ],
)
def test_the_unit_was_a_pointer_first_and_an_int_later(
    arch: str, posting: str, currency_bytes: int, nr_pages: int
) -> None:
    geometry = BlockKernel(arch, options={"posting": posting}).percpu.geometry
    assert (geometry.currency_bytes, geometry.nr_management_pages) == (currency_bytes, nr_pages)


def test_its_variables_are_symbols_in_the_image() -> None:
    kernel = BlockKernel()
    head = kernel.machine.symbols["blkhead"]
    assert [kernel.word_at(head), kernel.word_at(head + 4)] == [head, head]
    assert kernel.word_at(kernel.machine.symbols["firstnotfull"]) == head
    assert kernel.word_at(kernel.machine.symbols["buf_head"]) == 0


def test_a_descriptor_that_spoils_its_own_bitmap_is_refused() -> None:
    for nr_cpus, is_refused in ((2, True), (3, True), (4, False)):
        wishes = {"nr_cpus": nr_cpus, "possible": "0-1", "options": {"as_posted": True}}
        if is_refused:
            with pytest.raises(ConfigError, match="spoil its bitmap"):
                BlockKernel(**wishes)
        else:
            BlockKernel(**wishes)


def test_in_mail_mode_512_cpus_cost_no_more_management() -> None:
    kernel = BlockKernel(nr_cpus=512, options={"mail_mode": True})
    assert kernel.percpu.geometry.stack_bytes == 36
    assert BlockKernel(nr_cpus=512).percpu.geometry.stack_bytes == 44
    kernel.free(kernel.alloc(64))
    kernel.check()


def test_a_copy_is_where_a_cpu_has_pages_and_nowhere_else() -> None:
    kernel = BlockKernel()
    ptr = kernel.alloc(64)
    assert [kernel.percpu.copy_addr(ptr, cpu) for cpu in range(5)] == [
        *(ptr + cpu * BLOCK_BYTES for cpu in range(4)),
        None,
    ]
    assert kernel.percpu.copy_addr(ptr + BLOCK_BYTES, 0) is None
