"""Entries that a missing flush leaves behind."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kernel_sim.mm.address_space import KernelAddressSpace
from kernel_sim.mm.memory_access import MemoryAccess
from kernel_sim.mm.paging import GLOBAL, NX, PAGE_KERNEL, RW
from kernel_sim.mm.tlb import Tlb
from kernel_sim.mm.tlb_profiles import tlb_profile
from kernel_sim.mm.tlb_stale import stale_entries
from tests.kernel_sim.mm.table_pages import BASE, new_space

LARGE = BASE + (1 << 30)


def used_machine() -> tuple[KernelAddressSpace, Tlb]:
    """Return a space with one small and one large page, both in the TLB of CPU 0."""
    space = new_space()
    space.map_page(virt=BASE, pfn=7, flags=PAGE_KERNEL, node=0)
    space.map_large(virt=LARGE, pfn=512, shift=21, flags=PAGE_KERNEL, node=0)
    tlb = Tlb(tlb_profile("skylake"))
    access = MemoryAccess(space, space.phys, {0: tlb})
    access.read(0, BASE, 8)
    access.read(0, LARGE + 0x5000, 8)
    return space, tlb


def remap(space: KernelAddressSpace) -> None:
    space.unmap_page(BASE)
    space.map_page(virt=BASE, pfn=8, flags=PAGE_KERNEL, node=0)


def test_after_plain_use_nothing_is_stale() -> None:
    space, tlb = used_machine()
    assert stale_entries(tlb, space) == []
    assert tlb.nr_entries == 4


@pytest.mark.parametrize(
    ("change", "virt", "reason"),
    [
        (
            lambda space: space.unmap_page(BASE),
            BASE,
            "not mapped any more: not present in the PTE",
        ),
        (remap, BASE, "frame 0x7 here, 0x8 in the tables"),
        (lambda space: space.change_flags(BASE, 1, clear_bits=RW), BASE, "RW here only"),
        (
            lambda space: space.change_flags(BASE, 1, clear_bits=NX | GLOBAL),
            BASE,
            "GLOBAL here only, NX here only",
        ),
        (
            lambda space: space.split_large_page(LARGE),
            LARGE,
            "a page of 2097152 bytes here, of 4096 in the tables",
        ),
        (
            lambda space: space.unmap_large(LARGE, 21),
            LARGE,
            "not mapped any more: not present in the PMD",
        ),
    ],
)
def test_a_flush_left_out_shows_once_and_goes_with_the_flush(
    change: Callable[[KernelAddressSpace], object], virt: int, reason: str
) -> None:
    space, tlb = used_machine()
    change(space)
    found = stale_entries(tlb, space)
    assert [(each.entry.virt, each.reason) for each in found] == [(virt, reason)]
    tlb.flush_page(virt + 9)
    assert stale_entries(tlb, space) == []
    assert tlb.counters.entries_flushed == 2


def test_a_piece_of_a_gigabyte_is_not_stale() -> None:
    space = new_space()
    space.map_large(virt=BASE, pfn=0, shift=30, flags=PAGE_KERNEL, node=0)
    tlb = Tlb(tlb_profile("nehalem"))
    MemoryAccess(space, space.phys, {0: tlb}).read(0, BASE + (7 << 21), 1)
    assert tlb.nr_entries == 1
    assert stale_entries(tlb, space) == []
