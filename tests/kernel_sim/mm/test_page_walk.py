"""Walks, on tables written by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_sim.mm.page_walk import walk
from kernel_sim.mm.paging import (
    GLOBAL,
    KERNEL_TABLE,
    NX,
    PAGE_KERNEL,
    PAT_LARGE,
    PRESENT,
    PSE,
    RW,
    make_entry,
)
from kernel_sim.mm.paging_modes import I386_2LEVEL, I386_PAE, MODES, X86_64_5LEVEL

VIRT = 0xFFFF_C900_0020_3456
"""PGD 402, PUD 0, PMD 1, PTE 3, offset 0x456."""
VIRT32 = 0xF8C0_3456
"""2-level: PGD 995, PTE 3; PAE: PGD 3, PMD 454, PTE 3."""
words = st.integers(0, 2**64 - 1)


def tables(**changes: int) -> dict[int, int]:
    """Return 4 levels that map VIRT to 0xabcd456, entries by physical address, some replaced."""
    entries = {
        "pgd": make_entry(0x11, KERNEL_TABLE),
        "pud": make_entry(0x12, KERNEL_TABLE),
        "pmd": make_entry(0x13, KERNEL_TABLE),
        "pte": make_entry(0xABCD, PAGE_KERNEL),
    } | changes
    places = {"pgd": 0x10000 + 402 * 8, "pud": 0x11000, "pmd": 0x12000 + 8, "pte": 0x13000 + 3 * 8}
    return {places[name]: entry for name, entry in entries.items()}


def pae_tables(**changes: int) -> dict[int, int]:
    """Return the three levels of PAE that map VIRT32 to 0x2abcd456, above 4 GiB if asked."""
    entries = {
        "pgd": make_entry(0x11, PRESENT),
        "pmd": make_entry(0x12, KERNEL_TABLE),
        "pte": make_entry(0x2ABCD, PAGE_KERNEL),
    } | changes
    places = {"pgd": 0x10000 + 3 * 8, "pmd": 0x11000 + 454 * 8, "pte": 0x12000 + 3 * 8}
    return {places[name]: entry for name, entry in entries.items()}


def read_from(memory: dict[int, int]) -> Callable[[int], int]:
    return lambda phys: memory.get(phys, 0)


def test_a_walk_names_every_level_and_where_its_entry_lies() -> None:
    way = walk(read_from(tables()), 0x10, VIRT)
    assert [(level.name, level.table_pfn, level.index) for level in way.levels] == [
        ("PGD", 0x10, 402),
        ("PUD", 0x11, 0),
        ("PMD", 0x12, 1),
        ("PTE", 0x13, 3),
    ]
    assert way.levels[-1].entry_phys == 0x13018
    assert (way.phys, way.page_size_bytes, way.fault) == (0xABCD456, 4096, None)


def test_large_pages_end_the_walk_early() -> None:
    in_2m = walk(read_from(tables(pmd=make_entry(0x40000, PAGE_KERNEL | PSE))), 0x10, VIRT)
    assert (in_2m.phys, in_2m.page_size_bytes, len(in_2m.levels)) == (0x40003456, 2 << 20, 3)
    in_1g = walk(read_from(tables(pud=make_entry(0x80000, PAGE_KERNEL | PSE))), 0x10, VIRT)
    assert (in_1g.phys, in_1g.page_size_bytes, len(in_1g.levels)) == (0x80203456, 1 << 30, 2)


def test_the_pat_bit_of_a_large_page_is_no_part_of_its_address() -> None:
    entry = make_entry(0x40000, PAGE_KERNEL | PSE) | PAT_LARGE
    way = walk(read_from(tables(pmd=entry)), 0x10, VIRT)
    assert way.phys == 0x40003456
    assert way.levels[-1].flags[-1] == "PAT_LARGE"


@pytest.mark.parametrize(
    ("changes", "fault", "nr_levels", "is_reserved_bit"),
    [
        ({"pgd": 0}, "not present in the PGD", 1, False),
        ({"pte": make_entry(5, PAGE_KERNEL & ~1)}, "not present in the PTE", 4, False),
        ({"pgd": make_entry(0x11, KERNEL_TABLE | PSE)}, "reserved bit 7 set in the PGD", 1, True),
        (
            {"pmd": make_entry(0x40002, PAGE_KERNEL | PSE)},
            "reserved address bits set in a large page's PMD",
            3,
            True,
        ),
    ],
)
def test_a_fault_says_where(
    changes: dict[str, int], fault: str, nr_levels: int, is_reserved_bit: bool
) -> None:
    way = walk(read_from(tables(**changes)), 0x10, VIRT)
    assert (way.fault, way.phys, len(way.levels)) == (fault, None, nr_levels)
    assert way.is_reserved_bit == is_reserved_bit


def test_five_levels_have_a_p4d_and_a_wider_hole() -> None:
    memory = {0x10000: make_entry(0x20, KERNEL_TABLE)}
    way = walk(read_from(memory), 0x10, 0x8000_0000_0000, X86_64_5LEVEL)
    assert [level.name for level in way.levels] == ["PGD", "P4D"]
    assert way.levels[1].index == 256


def test_two_levels_have_entries_of_four_bytes() -> None:
    memory = {0x10000 + 995 * 4: 0x11000 | KERNEL_TABLE, 0x11000 + 3 * 4: 0xABCD163}
    way = walk(read_from(memory), 0x10, VIRT32, I386_2LEVEL)
    assert [(level.name, level.index, level.entry_phys) for level in way.levels] == [
        ("PGD", 995, 0x10000 + 995 * 4),
        ("PTE", 3, 0x11000 + 3 * 4),
    ]
    assert (way.phys, way.page_size_bytes) == (0xABCD456, 4096)
    large = walk(read_from({0x10000 + 995 * 4: 0x1C001E3}), 0x10, VIRT32, I386_2LEVEL)
    assert (large.phys, large.page_size_bytes) == (0x1C03456, 4 << 20)
    stray = walk(read_from({0x10000 + 995 * 4: 0x1A001E3}), 0x10, VIRT32, I386_2LEVEL)
    assert stray.fault == "reserved address bits set in a large page's PGD"


def test_pae_reaches_above_4_gib_and_has_four_bare_entries_on_top() -> None:
    way = walk(read_from(pae_tables(pte=make_entry(0x2ABCDE, PAGE_KERNEL))), 0x10, VIRT32, I386_PAE)
    assert [(level.name, level.index) for level in way.levels] == [
        ("PGD", 3),
        ("PMD", 454),
        ("PTE", 3),
    ]
    assert way.phys == 0x2ABCDE456
    assert way.levels[0].flags == ("PRESENT",)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"pgd": make_entry(0x11, PRESENT | RW | GLOBAL)}, "reserved bits 1, 8 set in the PGD"),
        ({"pgd": make_entry(0x11, PRESENT | PSE)}, "reserved bit 7 set in the PGD"),
        ({"pgd": make_entry(0x11, PRESENT | NX)}, "reserved bit 63 set in the PGD"),
        ({"pte": make_entry(5, PAGE_KERNEL) | 1 << 58}, "reserved bit 58 set in the PTE"),
    ],
)
def test_pae_has_more_bits_that_must_be_zero(changes: dict[str, int], fault: str) -> None:
    way = walk(read_from(pae_tables(**changes)), 0x10, VIRT32, I386_PAE)
    assert (way.fault, way.is_reserved_bit) == (fault, True)


@pytest.mark.parametrize("virt", [0x8000_0000_0000, 0xFFFF_7FFF_FFFF_FFFF, 1 << 64, -1])
def test_a_non_canonical_address_is_a_fault_before_any_table_is_read(virt: int) -> None:
    way = walk(read_from(tables()), 0x10, virt)
    assert (way.levels, way.fault) == ((), "non-canonical address")


def test_an_i386_address_has_32_bits() -> None:
    assert walk(read_from({}), 0x10, 1 << 32, I386_PAE).fault == "not a 32-bit address"


@given(words, st.lists(words, min_size=5, max_size=5), st.sampled_from(list(MODES.values())))
def test_no_bits_make_a_walk_raise(virt, entries, mode) -> None:  # type: ignore[no-untyped-def]
    supply = iter(entries)
    virt &= mode.address_mask
    way = walk(lambda _phys: next(supply) & ((1 << 8 * mode.entry_bytes) - 1), 0x10, virt, mode)
    assert (way.phys is None) == (way.fault is not None) == (way.page_size_bytes is None)
    assert len(way.levels) <= len(mode.levels)
