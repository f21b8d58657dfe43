"""Page-table entries and walks, on tables written by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_sim.errors import ConfigError
from kernel_sim.mm.paging import (
    KERNEL_TABLE,
    PAGE_KERNEL,
    PAT_LARGE,
    PSE,
    entry_pfn,
    flag_names,
    is_canonical,
    make_entry,
    walk,
)

VIRT = 0xFFFF_C900_0020_3456
"""PGD 402, PUD 0, PMD 1, PTE 3, offset 0x456."""
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


def read_from(memory: dict[int, int]):  # type: ignore[no-untyped-def]
    return lambda phys: memory.get(phys, 0)


def test_kernel_data_has_the_bits_of_a_real_kernel_mapping() -> None:
    assert PAGE_KERNEL == 0x8000_0000_0000_0163
    assert flag_names(PAGE_KERNEL) == ("PRESENT", "RW", "ACCESSED", "DIRTY", "GLOBAL", "NX")


def test_bit_7_is_pat_in_a_pte_and_page_size_above_it() -> None:
    assert flag_names(PSE | PAT_LARGE) == ("PSE", "PAT_LARGE")
    assert flag_names(PSE | PAT_LARGE, is_pte=True) == ("PAT",)
    assert flag_names(PAT_LARGE) == ()


@given(st.integers(0, 2**40 - 1))
def test_an_entry_gives_back_its_pfn_and_flags(pfn: int) -> None:
    entry = make_entry(pfn, PAGE_KERNEL)
    assert entry_pfn(entry) == pfn
    assert flag_names(entry) == flag_names(PAGE_KERNEL)


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
    assert walk(read_from(tables(pmd=entry)), 0x10, VIRT).phys == 0x40003456


@pytest.mark.parametrize(
    ("changes", "fault", "nr_levels"),
    [
        ({"pgd": 0}, "not present in the PGD", 1),
        ({"pte": make_entry(5, PAGE_KERNEL & ~1)}, "not present in the PTE", 4),
        ({"pgd": make_entry(0x11, KERNEL_TABLE | PSE)}, "reserved bit 7 set in the PGD", 1),
        (
            {"pmd": make_entry(0x40002, PAGE_KERNEL | PSE)},
            "reserved address bits set in a large page's PMD",
            3,
        ),
    ],
)
def test_a_fault_says_where(changes: dict[str, int], fault: str, nr_levels: int) -> None:
    way = walk(read_from(tables(**changes)), 0x10, VIRT)
    assert (way.fault, way.phys, len(way.levels)) == (fault, None, nr_levels)


def test_five_levels_have_a_p4d_and_a_wider_hole() -> None:
    memory = {0x10000: make_entry(0x20, KERNEL_TABLE)}
    way = walk(read_from(memory), 0x10, 0x8000_0000_0000, levels=5)
    assert [level.name for level in way.levels] == ["PGD", "P4D"]
    assert way.levels[1].index == 256
    assert is_canonical(0xFF11_0000_0000_0000, 5)
    assert not is_canonical(0xFF11_0000_0000_0000, 4)


@pytest.mark.parametrize("virt", [0x8000_0000_0000, 0xFFFF_7FFF_FFFF_FFFF, 1 << 64, -1])
def test_a_non_canonical_address_is_a_fault_before_any_table_is_read(virt: int) -> None:
    way = walk(read_from(tables()), 0x10, virt)
    assert (way.levels, way.fault) == ((), "non-canonical address")


@given(words, st.lists(words, min_size=5, max_size=5), st.sampled_from([4, 5]))
def test_no_bits_make_a_walk_raise(virt: int, entries: list[int], levels: int) -> None:
    supply = iter(entries)
    way = walk(lambda _phys: next(supply), 0x10, virt, levels)
    assert (way.phys is None) == (way.fault is not None) == (way.page_size_bytes is None)
    assert len(way.levels) <= levels


def test_three_levels_are_no_x86_64() -> None:
    with pytest.raises(ConfigError, match="4 or 5 levels"):
        walk(read_from({}), 0, 0, levels=3)
