"""The four modes: their shape, and that the figures worked out beforehand agree with it."""

from __future__ import annotations

import pytest

from kernel_sim.errors import ConfigError
from kernel_sim.mm.paging import KERNEL_TABLE, NX, PAGE_KERNEL, PRESENT, PSE, USER
from kernel_sim.mm.paging_modes import (
    I386_2LEVEL,
    I386_PAE,
    MODES,
    X86_64_4LEVEL,
    X86_64_5LEVEL,
    PagingMode,
    paging_mode,
)

ALL = tuple(MODES.values())


@pytest.mark.parametrize(
    ("mode", "names", "leaf_shifts", "entry_bytes"),
    [
        (X86_64_4LEVEL, ("PGD", "PUD", "PMD", "PTE"), (30, 21, 12), 8),
        (X86_64_5LEVEL, ("PGD", "P4D", "PUD", "PMD", "PTE"), (30, 21, 12), 8),
        (I386_PAE, ("PGD", "PMD", "PTE"), (21, 12), 8),
        (I386_2LEVEL, ("PGD", "PTE"), (22, 12), 4),
    ],
)
def test_levels_pages_and_entries_are_those_of_the_architecture(
    mode: PagingMode, names: tuple[str, ...], leaf_shifts: tuple[int, ...], entry_bytes: int
) -> None:
    assert tuple(level.name for level in mode.levels) == names
    assert mode.leaf_shifts == leaf_shifts
    assert mode.entry_bytes == entry_bytes == 1 << mode.entry_shift
    assert mode.is_wide == (entry_bytes == 8)


@pytest.mark.parametrize("mode", ALL, ids=lambda mode: mode.name)
def test_the_levels_cover_the_address_without_a_gap(mode: PagingMode) -> None:
    reach = 12
    for level in reversed(mode.levels):
        assert level.shift == reach
        assert level.nr_entries <= mode.index_mask + 1
        reach += level.nr_entries.bit_length() - 1
    assert reach == mode.virt_bits


@pytest.mark.parametrize("mode", ALL, ids=lambda mode: mode.name)
def test_the_edges_of_the_address_space(mode: PagingMode) -> None:
    top = mode.address_mask
    assert mode.is_address(0) and mode.is_address(top)
    assert not mode.is_address(top + 1) and not mode.is_address(-1)
    if mode.arch == "x86-64":
        half = 1 << (mode.virt_bits - 1)
        assert mode.is_address(half - 1) and not mode.is_address(half)
        assert mode.is_address(top - half + 1) and not mode.is_address(top - half)


def test_what_cannot_be_forbidden_without_pae() -> None:
    assert [mode.has_nx for mode in (X86_64_4LEVEL, X86_64_5LEVEL, I386_PAE, I386_2LEVEL)] == [
        True, True, True, False,
    ]  # fmt: skip
    assert PAGE_KERNEL & I386_2LEVEL.flag_mask == PAGE_KERNEL & ~NX


def test_a_pointer_to_a_table_grants_all_except_where_it_can_grant_nothing() -> None:
    assert X86_64_4LEVEL.table_flags(0, PAGE_KERNEL) == KERNEL_TABLE
    assert X86_64_4LEVEL.table_flags(0, PAGE_KERNEL | USER) == KERNEL_TABLE | USER
    assert I386_PAE.table_flags(0, PAGE_KERNEL | USER) == PRESENT
    assert I386_PAE.table_flags(1, PAGE_KERNEL) == KERNEL_TABLE


def test_bits_that_must_be_zero() -> None:
    assert I386_2LEVEL.levels[0].reserved_large_bits == 0x3FE000
    assert X86_64_4LEVEL.levels[2].reserved_large_bits == 0x1FE000
    assert X86_64_4LEVEL.levels[1].reserved_large_bits == 0x3FFFE000
    assert X86_64_4LEVEL.levels[0].reserved_large_bits == PSE
    assert I386_PAE.levels[0].reserved_bits & 0xFFF == 0x166
    assert I386_PAE.levels[2].reserved_bits == 0x7FF0_0000_0000_0000


@pytest.mark.parametrize(
    ("arch", "levels", "text"),
    [
        ("x86-64", 3, "x86-64 with 3 levels of page tables; x86-64 has 4 or 5"),
        ("i386", 4, "i386 with 4 levels of page tables; i386 has 2 or 3"),
        ("vax", 2, "expected x86-64 or i386"),
    ],
)
def test_other_modes_are_refused(arch: str, levels: int, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        paging_mode(arch, levels)
