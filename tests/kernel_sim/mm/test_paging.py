"""What the bits of page-table entries mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_sim.mm.paging import (
    PAGE_KERNEL,
    PAT,
    PAT_LARGE,
    PSE,
    entry_pfn,
    flag_names,
    is_canonical,
    large_flags,
    make_entry,
    small_flags,
)
from kernel_sim.mm.paging_modes import MODES


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


@pytest.mark.parametrize(
    ("small", "large"),
    [
        (PAGE_KERNEL, PAGE_KERNEL | PSE),
        (PAGE_KERNEL | PAT, PAGE_KERNEL | PSE | PAT_LARGE),
    ],
)
def test_pat_moves_between_bit_7_and_bit_12(small: int, large: int) -> None:
    assert large_flags(small) == large
    assert small_flags(large) == small


@given(st.integers(0, 2**65), st.sampled_from(sorted(MODES)))
def test_an_address_exists_or_not_as_its_mode_says(virt: int, levels: int) -> None:
    assert is_canonical(virt, levels) == MODES[levels].is_address(virt)


@pytest.mark.parametrize(
    ("virt", "levels_where_it_exists"),
    [
        (0, (2, 3, 4, 5)),
        (0xFFFF_FFFF, (2, 3, 4, 5)),
        (1 << 32, (4, 5)),
        (1 << 47, (5,)),
        (0xFF11_0000_0000_0000, (5,)),
        (0xFFFF_8000_0000_0000, (4, 5)),
        (1 << 64, ()),
        (-1, ()),
    ],
)
def test_which_addresses_there_are(virt: int, levels_where_it_exists: tuple[int, ...]) -> None:
    assert tuple(n for n in (2, 3, 4, 5) if is_canonical(virt, n)) == levels_where_it_exists
