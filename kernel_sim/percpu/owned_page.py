"""A page that a per-CPU system took from the page allocator, and where it is mapped.

Who owns which page is checked page by page: each has one owner, and what vmalloc space maps is owned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from kernel_sim.errors import InvariantBroken
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.percpu.stretch import HOLE, Stretch


class OwnedPage(NamedTuple):
    """virt: where the system maps it; the direct map's address of a page that it maps nowhere else."""

    pfn: int
    virt: int
    owner: str


def pages_of_stretches(
    stretches: Iterable[Stretch], translate: Callable[[int], int | None]
) -> Iterator[OwnedPage]:
    """Yield the pages under stretches that own theirs, each once.

    translate(virt) gives the physical address or None. Raises InvariantBroken where a page is
    missing, or where address space that should be empty has one.
    """
    last_page = -1
    for stretch in stretches:
        if not stretch.owns_pages:
            continue
        first = stretch.addr >> PAGE_SHIFT
        end = stretch.addr + stretch.size_bytes + PAGE_SIZE_BYTES - 1 >> PAGE_SHIFT
        for page in range(max(first, last_page + 1) if first == last_page else first, end):
            virt = page << PAGE_SHIFT
            phys = translate(virt)
            if (phys is None) != (stretch.kind == HOLE):
                state = "is not mapped" if phys is None else f"maps page {phys >> PAGE_SHIFT:#x}"
                raise InvariantBroken(f"{stretch.strip}: {virt:#x} is {stretch.kind}, and {state}")
            if phys is not None:
                yield OwnedPage(phys >> PAGE_SHIFT, virt, stretch.strip)
            last_page = page
