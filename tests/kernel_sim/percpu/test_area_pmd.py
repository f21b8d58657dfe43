"""Large pages behind units, at once or once a chunk is full: what they cost and what they save."""

from __future__ import annotations

import pytest

from kernel_sim.percpu.account import account_of
from kernel_sim.percpu.area_chunk import AreaChunk
from kernel_sim.percpu.area_pmd import is_full
from tests.kernel_sim.percpu.area_kernel import AreaKernel

ARCHES = [("x86-64", 4), ("i386", 3), ("i386", 2)]


def large_kernel(
    arch: str = "x86-64", levels: int = 4, *, pmd: str, **wishes: object
) -> AreaKernel:
    wishes.setdefault("nr_cpus", 2)
    return AreaKernel(arch=arch, levels=levels, pmd=pmd, mib=256, **wishes)  # type: ignore[arg-type]


def unit_bytes(kernel: AreaKernel) -> int:
    return kernel.percpu.unit_size_bytes


def fill(kernel: AreaKernel) -> AreaChunk:
    """Use every byte of chunk 1, the last one last."""
    nr_areas = unit_bytes(kernel) // 65536
    while kernel.chunks.get(1) is None or len(list(kernel.chunks[1].areas())) < nr_areas:
        kernel.alloc(65536, 4096)
    return kernel.chunks[1]


def leaf_shifts(kernel: AreaKernel, chunk: AreaChunk) -> list[int]:
    places = kernel.machine.places
    found = [
        kernel.machine.space.find_leaf(chunk.base_addr + places.unit_offsets[cpu])
        for cpu in places.cpus
    ]
    return [leaf[2] for leaf in found if leaf is not None]


@pytest.mark.parametrize(("arch", "levels"), ARCHES)
def test_the_first_area_brings_a_large_page_for_each_cpu(arch: str, levels: int) -> None:
    kernel = large_kernel(arch, levels, pmd="units")
    before = kernel.nr_unused_pages()
    fill_first(kernel)
    ptr = kernel.alloc(65536, 1)
    chunk = kernel.chunks[1]
    assert kernel.place(ptr) == (1, 0)
    assert leaf_shifts(kernel, chunk) == [kernel.system.plan.large_shift] * 2
    assert before - kernel.nr_unused_pages() == 2 * unit_bytes(kernel) // 4096
    assert chunk.populated.bit_count() == unit_bytes(kernel) // 4096
    kernel.call("this_cpu_write", ptr, 5, 4, cpu=1)
    assert kernel.call("per_cpu", ptr, 1, 4) == 5 and kernel.call("per_cpu", ptr, 0, 4) == 0
    kernel.check()


def fill_first(kernel: AreaKernel) -> None:
    """Use up what is dynamic in the first chunk, so that areas go to chunk 1."""
    while kernel.chunks[0].area_map.free_bytes >= 4096:
        assert kernel.alloc(4096, 1)


def test_one_translation_is_enough_for_a_unit() -> None:
    plain, large = (AreaKernel(pmd=pmd, mib=256, nr_cpus=2) for pmd in ("none", "units"))
    for kernel in (plain, large):
        fill_first(kernel)
    base = [account_of(kernel.machine).tlb_entries(0) for kernel in (plain, large)]
    for kernel in (plain, large):
        for _ in range(16):
            kernel.alloc(65536, 4096)
    after = [account_of(kernel.machine).tlb_entries(0) for kernel in (plain, large)]
    assert after[0] - base[0] == 16 * 16
    assert after[1] - base[1] == 1


@pytest.mark.parametrize(("arch", "levels"), ARCHES[:2])
def test_a_full_chunk_is_converted_and_keeps_its_bytes(arch: str, levels: int) -> None:
    kernel = large_kernel(arch, levels, pmd="when_full")
    first = kernel.alloc(65536, 4096)
    for cpu in range(2):
        kernel.call("this_cpu_write", first + 4096, 100 + cpu, 4, cpu=cpu)
    nr_areas = unit_bytes(kernel) // 65536
    for _ in range(nr_areas - 2):
        kernel.alloc(65536, 4096)
    chunk = kernel.chunks[1]
    assert leaf_shifts(kernel, chunk) == [12, 12] and not chunk.large_pfns
    before, tables = kernel.nr_unused_pages(), kernel.machine.space.nr_table_pages
    kernel.alloc(65536, 4096)
    assert leaf_shifts(kernel, chunk) == [21, 21]
    assert before - kernel.nr_unused_pages() == 2 * 16, "what the last area needed, no page more"
    assert kernel.machine.space.nr_table_pages == tables - 2, "the tables went"
    for cpu in range(2):
        assert kernel.call("per_cpu", first + 4096, cpu, 4) == 100 + cpu
    kernel.check()


def test_other_cpus_forget_the_single_pages() -> None:
    kernel = large_kernel(pmd="when_full", tables={"tlb": {"profile": "skylake"}})
    first = kernel.alloc(65536, 4096)
    kernel.call("this_cpu_write", first, 1, 4, cpu=1)
    fill(kernel)
    assert leaf_shifts(kernel, kernel.chunks[1]) == [21, 21]
    kernel.call("this_cpu_write", first, 2, 4, cpu=1)
    assert kernel.call("per_cpu", first, 1, 4) == 2
    kernel.check()


def test_a_free_does_not_split_and_the_reclaim_gives_the_blocks_back() -> None:
    kernel = large_kernel(pmd="when_full")
    chunk = fill(kernel)
    before = kernel.nr_unused_pages()
    ptrs = [kernel.percpu.ptr_of(chunk.base_addr + offset) for offset, _ in chunk.areas()]
    for ptr in ptrs:
        kernel.free(ptr)
    assert leaf_shifts(kernel, chunk) == [21, 21]
    spare = kernel.alloc(65536, 4096)
    assert kernel.place(spare)[0] == 1, "its large pages are used on"
    kernel.free(spare)
    assert kernel.nr_unused_pages() == before
    kernel.check()


@pytest.mark.parametrize("pmd", ["units", "when_full"])
def test_a_chunk_with_large_pages_is_destroyed(pmd: str) -> None:
    kernel = large_kernel(pmd=pmd)
    fill_first(kernel)
    before = kernel.nr_unused_pages()
    nr_areas = unit_bytes(kernel) // 65536
    ptrs = [kernel.alloc(65536, 4096) for _ in range(2 * nr_areas)]
    assert [bool(chunk.large_pfns) for chunk in kernel.chunks.values()] == [
        False,
        False,
        True,
        True,
    ]
    for ptr in ptrs:
        kernel.free(ptr)
    kernel.work()
    assert len(kernel.chunks) == 3
    assert before - kernel.nr_unused_pages() == 2 * unit_bytes(kernel) // 4096
    kernel.check()
    again = [kernel.alloc(65536, 4096) for _ in range(2 * nr_areas)]
    assert all(again)
    kernel.check()


def test_without_blocks_nothing_is_converted() -> None:
    kernel = large_kernel(pmd="when_full")
    nr_areas = unit_bytes(kernel) // 65536
    for _ in range(nr_areas - 1):
        kernel.alloc(65536, 4096)
    kernel.machine.pages.fail_after = 2 * 16
    assert kernel.alloc(65536, 4096), "the area is there all the same"
    kernel.machine.pages.fail_after = -1
    assert leaf_shifts(kernel, kernel.chunks[1]) == [12, 12]
    assert is_full(kernel.chunks[1])
    kernel.check()


def test_without_blocks_a_chunk_of_large_units_cannot_serve() -> None:
    kernel = large_kernel(pmd="units")
    fill_first(kernel)
    before = kernel.nr_unused_pages()
    kernel.machine.pages.fail_after = 1
    assert kernel.alloc(65536, 4096) == 0
    kernel.machine.pages.fail_after = -1
    assert kernel.nr_unused_pages() == before
    assert kernel.log()[-1].endswith("failed to populate")
    kernel.check()


def test_large_units_are_used_again_where_tables_were() -> None:
    """Address space that had single pages has tables; they give way."""
    kernel = large_kernel(pmd="when_full")
    ptrs = [kernel.alloc(65536, 4096) for _ in range(3)]
    for ptr in ptrs:
        kernel.free(ptr)
    chunk = fill(kernel)
    assert leaf_shifts(kernel, chunk) == [21, 21]
    kernel.check()
