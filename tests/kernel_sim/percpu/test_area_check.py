"""Every contradiction that the checks are there for is found."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kernel_sim.errors import InvariantBroken
from kernel_sim.percpu.area_check import check_areas
from tests.kernel_sim.percpu.area_kernel import AreaKernel


@pytest.fixture
def kernel() -> AreaKernel:
    kernel = AreaKernel()
    kernel.alloc(65536, 1)
    kernel.alloc(5000, 1)
    kernel.check()
    return kernel


def renumber(kernel: AreaKernel) -> None:
    kernel.chunks[1].number = 5


def shorten(kernel: AreaKernel) -> None:
    area_map = kernel.chunks[1].area_map
    area_map.sizes[0] = -100


def free_static(kernel: AreaKernel) -> None:
    area_map = kernel.chunks[0].area_map
    area_map.sizes[0] = -area_map.sizes[0]
    area_map.free_starts.insert(0, 0)
    area_map.free_bytes += area_map.sizes[0]
    area_map.contig_hint = 65536


def lose_pages(kernel: AreaKernel) -> None:
    kernel.chunks[1].populated = 0


def forget_base(kernel: AreaKernel) -> None:
    kernel.percpu.chunk_bases.clear()


def make_immutable(kernel: AreaKernel) -> None:
    kernel.chunks[1].immutable = True


def count_back(kernel: AreaKernel) -> None:
    kernel.percpu.next_number = 1


def move_to_another_list(kernel: AreaKernel) -> None:
    kernel.percpu.slots.lists[0].remove(kernel.chunks[1])
    kernel.percpu.slots.lists[3].append(kernel.chunks[1])


@pytest.mark.parametrize(
    ("breaks", "match"),
    [
        (renumber, "chunk 1 says that it is chunk 5"),
        (shorten, "counted|ends at offset 100"),
        (free_static, "meet at offset|static variables are free"),
        (lose_pages, "the area at 0 lacks pages"),
        (forget_base, "found by address"),
        (make_immutable, "chunk 1 is immutable"),
        (count_back, "chunk 1 comes next, and chunk 1 is there"),
        (move_to_another_list, "chunk 1 is on list 3"),
    ],
)
def test_what_is_broken_is_found(
    kernel: AreaKernel, breaks: Callable[[AreaKernel], None], match: str
) -> None:
    breaks(kernel)
    with pytest.raises(InvariantBroken, match=match):
        check_areas(kernel.percpu, is_idle=True)


def move_areas(kernel: AreaKernel) -> None:
    chunk = kernel.chunks[1]
    chunk.data = (chunk.data[0] + 4096,)


def free_areas(kernel: AreaKernel) -> None:
    kernel.machine.vmalloc.free_vm_areas(kernel.chunks[1].data)


def lose_areas(kernel: AreaKernel) -> None:
    free_areas(kernel)
    kernel.machine.vmalloc.purge()


def some_large(kernel: AreaKernel) -> None:
    kernel.chunks[1].large_pfns = (512,)


def claim_large(kernel: AreaKernel) -> None:
    kernel.chunks[1].large_pfns = (512, 1024, 1536, 2048)


@pytest.mark.parametrize(
    ("breaks", "match"),
    [
        (move_areas, "not where its units are"),
        (free_areas, "was freed"),
        (lose_areas, "no area of 262144 bytes"),
        (some_large, "for some CPUs only"),
        (claim_large, "cpu 0 has no large page 0x200"),
    ],
)
def test_address_space_and_large_pages_are_held_against_chunks(
    kernel: AreaKernel, breaks: Callable[[AreaKernel], None], match: str
) -> None:
    breaks(kernel)
    with pytest.raises(InvariantBroken, match=match):
        kernel.system.check(is_idle=True)


def wrong_block(kernel: AreaKernel) -> None:
    kernel.chunks[1].data = (kernel.chunks[1].data[0] + 1,)


def no_block(kernel: AreaKernel) -> None:
    kernel.chunks[1].data = ()


def freed_block(kernel: AreaKernel) -> None:
    kernel.machine.pages.free_pages(kernel.chunks[1].data[0], 6)


@pytest.mark.parametrize(
    ("breaks", "match"),
    [
        (wrong_block, "not where its units are"),
        (no_block, "not where its units are"),
        (freed_block, "no block of order 6"),
    ],
)
def test_blocks_are_held_against_the_page_allocator(
    breaks: Callable[[AreaKernel], None], match: str
) -> None:
    kernel = AreaKernel("percpu-km-2010")
    kernel.alloc(65536, 1)
    kernel.check()
    breaks(kernel)
    with pytest.raises(InvariantBroken, match=match):
        kernel.system.check(is_idle=True)
