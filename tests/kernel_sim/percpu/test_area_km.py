"""Blocks of kernel memory as chunks: what is verified, what is wasted, what is not cleared."""

from __future__ import annotations

import pytest

from kernel_sim.percpu.area_km import order_base_2, pcpu_verify_alloc_info
from kernel_sim.percpu.area_layout import build_area_alloc_info
from kernel_sim.percpu.unit_layout import AllocInfo
from tests.kernel_sim.percpu.area_kernel import KIB, AreaKernel


def layout(nr_cpus: int, unit_kib: int, nodes: tuple[int, ...] = ()) -> AllocInfo:
    return build_area_alloc_info(
        static_size_bytes=unit_kib * KIB,
        reserved_size_bytes=0,
        dyn_size_bytes=0,
        atom_size_bytes=4096,
        cpus=tuple(range(nr_cpus)),
        node_of=nodes.__getitem__ if nodes else None,
        min_unit_bytes=32 * KIB,
    )


@pytest.mark.parametrize(
    ("nr_cpus", "unit_kib", "order", "wasted"),
    [
        (2, 32, 4, 0), (3, 32, 5, 8), (4, 36, 6, 28), (4, 64, 6, 0), (5, 64, 7, 48),
        (6, 128, 8, 64), (1, 36, 4, 7),
    ],
)  # fmt: skip
def test_waste(nr_cpus: int, unit_kib: int, order: int, wasted: int) -> None:
    error, lines = pcpu_verify_alloc_info(layout(nr_cpus, unit_kib))
    assert error == 0
    assert order_base_2(nr_cpus * unit_kib // 4) == order
    expected = [(4, f"percpu: wasting {wasted} pages per chunk")] if wasted else []
    assert [tuple(line) for line in lines] == expected


def test_two_groups_are_an_error_and_nothing_is_said_of_waste() -> None:
    error, lines = pcpu_verify_alloc_info(layout(3, 36, (0, 0, 1)))
    assert (error, [tuple(line) for line in lines]) == (
        -22, [(2, "percpu: can't handle more than one groups")],
    )  # fmt: skip


def test_a_chunk_is_all_there_from_the_start() -> None:
    kernel = AreaKernel("percpu-km-2010", nr_cpus=3)
    before = kernel.machine.pages.nr_free_pages
    ptr = kernel.alloc(65536, 1)
    assert before - kernel.machine.pages.nr_free_pages == 64, "3 units of 16 pages, and 16 wasted"
    kernel.alloc(65536, 1)
    kernel.free(ptr)
    after = kernel.machine.pages.nr_free_pages
    again = kernel.alloc(30000, 1)
    assert kernel.machine.pages.nr_free_pages == after, "an area brings no page"
    assert kernel.place(again)[0] == 1
    addr = kernel.system.copy_addr(again, 1)
    first = kernel.system.copy_addr(again, 0)
    assert addr is not None and first is not None and addr - first == 65536
    direct = kernel.machine.arch.direct_map_addr
    assert kernel.machine.space.translate(addr) == addr - direct
    assert not kernel.machine.vmalloc.areas
    assert "percpu_populate" not in kernel.event_names()
    kernel.check()


def test_a_block_goes_back_whole() -> None:
    kernel = AreaKernel("percpu-km-2010", nr_cpus=3)
    before = kernel.machine.pages.nr_free_pages
    ptrs = [kernel.alloc(65536, 1) for _ in range(3)]
    for ptr in ptrs:
        kernel.free(ptr)
    kernel.work()
    assert before - kernel.machine.pages.nr_free_pages == 64
    assert kernel.event_names().count("percpu_destroy_chunk") == 2
    kernel.check()


def test_no_block_is_no_chunk() -> None:
    kernel = AreaKernel("percpu-km-2010")
    kernel.machine.pages.fail_after = 0
    assert kernel.alloc(65536, 1) == 0
    assert kernel.log()[-1].endswith("align=1, failed to allocate new chunk")
    kernel.check()


def test_a_chunk_beyond_the_largest_block_can_never_be() -> None:
    """Verify accepts the layout, but 40 units of 32 pages are no block of at most 1024 pages."""
    kernel = AreaKernel("percpu-km-2010", nr_cpus=40, percpu={"static_bytes": 100000}, mib=256)
    assert kernel.alloc(65536, 1) == 0
    assert kernel.log()[-1].endswith("failed to allocate new chunk")


@pytest.mark.parametrize("tlb", ["none", "skylake"])
@pytest.mark.parametrize("clears", [False, True])
def test_the_posted_version_clears_nothing(clears: bool, tlb: str) -> None:
    kernel = AreaKernel("percpu-km-2010", km_zero=clears, tables={"tlb": {"profile": tlb}})
    assert kernel.system.zeroes == clears
    ptr = kernel.alloc(65536, 1)
    for cpu in range(4):
        kernel.call("this_cpu_write", ptr + 64, 0xAB, 1, cpu=cpu)
    kernel.free(ptr)
    again = kernel.alloc(65536, 1)
    assert again == ptr
    expected = 0 if clears else 0xAB
    assert [kernel.call("per_cpu", again + 64, cpu, 1) for cpu in range(4)] == [expected] * 4


@pytest.mark.parametrize("clears", [False, True])
def test_a_block_brings_what_was_in_it(clears: bool) -> None:
    kernel = AreaKernel("percpu-km-2010", km_zero=clears, tables={"tlb": {"profile": "none"}})
    ptrs = [kernel.alloc(65536, 1) for _ in range(2)]
    kernel.call("this_cpu_write", ptrs[0] + 64, 0xAB, 1, cpu=2)
    for ptr in reversed(ptrs):
        kernel.free(ptr)
    kernel.free(kernel.alloc(65536, 1))
    spare = kernel.percpu.slots.lists[-1]
    assert len(spare) == 2
    kernel.work()
    values = []
    for _ in range(3):
        ptr = kernel.alloc(65536, 1)
        values.append(kernel.call("per_cpu", ptr + 64, 2, 1))
    assert (0xAB in values) != clears
