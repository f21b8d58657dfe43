"""What every backing does the same with a chunk's memory."""

from __future__ import annotations

import pytest

from kernel_sim.mm.gfp import GFP_HIGHMEM, GFP_KERNEL
from kernel_sim.mm.page_lists import COLD, GFP_COLD, HOT
from kernel_sim.percpu.area_alloc import AreaAlloc
from kernel_sim.percpu.area_memory import CHUNK_GFP, AreaMemory, pages_of
from kernel_sim.percpu.area_vm import AreaVmBacking
from tests.kernel_sim.percpu.area_kernel import AreaKernel


def memory_of(kernel: AreaKernel) -> AreaMemory:
    paths = kernel.system.paths
    assert isinstance(paths, AreaAlloc) and isinstance(paths.backing, AreaVmBacking)
    return paths.backing.memory


@pytest.mark.parametrize(
    ("offset", "size", "pages"),
    [(0, 1, (0, 1)), (6144, 512, (1, 2)), (4095, 2, (0, 2)), (0, 65536, (0, 16)), (4096, 4096, (1, 2))],
)  # fmt: skip
def test_the_pages_of_an_area(offset: int, size: int, pages: tuple[int, int]) -> None:
    assert pages_of(offset, size) == pages


def test_pages_are_asked_for_with_highmem_and_cold(monkeypatch: pytest.MonkeyPatch) -> None:
    assert CHUNK_GFP == GFP_KERNEL | GFP_HIGHMEM | GFP_COLD
    kernel = AreaKernel()
    pages = kernel.machine.pages
    asked: list[int] = []
    real = type(pages).alloc_pages

    def noting(self: object, **wish: object) -> object:
        if wish.get("caller") == "pcpu_alloc_pages":
            asked.append(int(str(wish["gfp"])))
        return real(self, **wish)  # type: ignore[arg-type]

    monkeypatch.setattr(type(pages), "alloc_pages", noting)
    kernel.alloc(65536, 1)
    assert asked == [CHUNK_GFP] * 64


def test_warm_pages_are_left_to_others() -> None:
    """The list of warm pages is as long afterwards, though it has what is wanted."""
    kernel = AreaKernel()
    pages = kernel.machine.pages
    held = [pages.alloc_pages(gfp=GFP_KERNEL, order=0, node=0, cpu=0) for _ in range(20)]
    for pfn in held:
        assert pfn is not None
        pages.free_pages(pfn, 0, 0)
    zone = pages.zone_of_pfn(held[0] or 0)
    assert zone.lists is not None
    kernel.alloc(65536, 1)
    warm, tables = zone.lists.count(0, HOT), kernel.machine.space.nr_table_pages
    assert warm > 0
    kernel.alloc(65536, 1)
    taken_for_tables = kernel.machine.space.nr_table_pages - tables
    assert zone.lists.count(0, HOT) == warm - taken_for_tables
    assert zone.lists.count(0, COLD) > 0


def test_on_i386_pages_come_from_high_memory() -> None:
    kernel = AreaKernel(arch="i386", mib=1200, nr_cpus=2)
    kernel.new_chunk()
    chunk = kernel.chunks[1]
    for cpu in range(2):
        phys = kernel.machine.space.translate(memory_of(kernel).unit_addr(chunk, cpu))
        assert phys is not None and phys >= 896 << 20


def test_each_page_lies_on_its_cpus_node() -> None:
    kernel = AreaKernel(nr_nodes=2, percpu={"atom_bytes": 2 << 20})
    chunk = kernel.new_chunk()
    memory = memory_of(kernel)
    for cpu in range(4):
        for page in range(16):
            assert kernel.node_at(memory.unit_addr(chunk, cpu, page)) == cpu // 2


def test_the_span_reaches_from_the_lowest_unit_to_the_highest() -> None:
    kernel = AreaKernel()
    chunk = kernel.new_chunk()
    low, high = memory_of(kernel).span(chunk, 2, 5)
    assert low == chunk.base_addr + 2 * 4096
    assert high == chunk.base_addr + 3 * 65536 + 5 * 4096


@pytest.mark.parametrize("tlb", ["none", "skylake"])
def test_what_is_given_out_is_zero_whatever_was_there(tlb: str) -> None:
    kernel = AreaKernel(tables={"tlb": {"profile": tlb}})
    ptr = kernel.alloc(65536, 1)
    for cpu in range(4):
        kernel.call("this_cpu_write", ptr + 8 * cpu, 0xFF, 1, cpu=cpu)
    kernel.free(ptr)
    again = kernel.alloc(30000, 1)
    for cpu in range(4):
        addr = kernel.system.copy_addr(again, cpu)
        assert addr is not None
        assert not any(kernel.machine.access.read(cpu, addr, 30000))
