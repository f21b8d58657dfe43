"""The tree of tables: made on demand, counted, checked, and walked fast as it is walked slowly."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_sim.errors import BadAccess, ConfigError, InvariantBroken, KernelBug
from kernel_sim.mm.address_space import KernelAddressSpace
from kernel_sim.mm.frames import PhysicalMemory
from kernel_sim.mm.page import PAGE_SIZE_BYTES
from kernel_sim.mm.page_tables import PageTables
from kernel_sim.mm.paging import (
    ACCESSED,
    DIRTY,
    GLOBAL,
    KERNEL_TABLE,
    NX,
    PAGE_KERNEL,
    PRESENT,
    RW,
    USER,
    make_entry,
)
from kernel_sim.mm.paging_modes import I386_2LEVEL, MODES
from tests.kernel_sim.mm.table_pages import BASE, GIB, MIB, TablePages, base_of, new_space


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(sorted(MODES)),
    st.integers(0, 2**56 - 1),
    st.booleans(),
    st.lists(st.integers(0, 2**64 - 1), min_size=5, max_size=5),
    st.booleans(),
    st.booleans(),
)
def test_the_fast_ways_agree_with_the_slow_walk_whatever_the_bits(
    levels: int, low: int, is_high: bool, entries: list[int], present: bool, tame: bool
) -> None:
    """Put chance entries on the way of one address, one a level; tame ones lead on more often."""
    space = new_space(levels)
    mode = space.mode
    virt = low & ((1 << mode.virt_bits - (mode.sign_top > 0)) - 1)
    if is_high and mode.sign_top:
        virt |= mode.sign_top << mode.sign_bit
    for entry in entries:
        way = space.walk(virt)
        if way.phys is not None:
            break
        word = (entry | present) & ((1 << 8 * mode.entry_bytes) - 1)
        space.write_entry(way.levels[-1].entry_phys, word & 0xFFFF_FE61 if tame else word)
    way = space.walk(virt)
    assert space.translate(virt) == way.phys
    now = space.find_translation(virt)
    assert (now is None) == (way.phys is None)
    if now is not None:
        assert 1 << now.shift == way.page_size_bytes
        assert now.nr_references == len(way.levels)
        assert (now.pfn << 12) + (virt & ((1 << now.shift) - 1)) == way.phys
        assert now.entry_phys == way.levels[-1].entry_phys
        last = way.levels[-1].entry
        granting = [level.entry for level in way.levels[1 if mode.is_top_bare else 0 :]]
        for bit in (RW, USER, ACCESSED):
            assert bool(now.flags & bit) == all(entry & bit for entry in granting)
        assert bool(now.flags & NX) == any(entry & NX for entry in granting)
        assert now.flags & (GLOBAL | DIRTY) == last & (GLOBAL | DIRTY)


def test_a_chain_of_tables_is_made_once_on_the_node_asked_for() -> None:
    alloc_table = TablePages()
    space = KernelAddressSpace(0x100, 4, PhysicalMemory(), alloc_table)
    for index in range(3):
        virt = BASE + index * PAGE_SIZE_BYTES
        assert space.map_page(virt=virt, pfn=index, flags=PAGE_KERNEL, node=2, cpu=5)
    assert alloc_table.asked == [(2, 5)] * 3
    assert list(space.table_pfns) == [0x100, 0x1000, 0x1001, 0x1002]
    assert space.nr_table_pages == 4
    assert space.tables_by_level() == {"PGD": 1, "PUD": 1, "PMD": 1, "PTE": 1}


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        (2, {"PGD": 1, "PTE": 2}),
        (3, {"PGD": 1, "PMD": 1, "PTE": 2}),
        (4, {"PGD": 1, "PUD": 1, "PMD": 1, "PTE": 2}),
        (5, {"PGD": 1, "P4D": 1, "PUD": 1, "PMD": 1, "PTE": 2}),
    ],
)
def test_tables_are_counted_by_level(levels: int, expected: dict[str, int]) -> None:
    space = new_space(levels)
    for virt in (base_of(levels), base_of(levels) + 4 * MIB):
        assert space.map_page(virt=virt, pfn=1, flags=PAGE_KERNEL, node=0)
    assert space.tables_by_level() == expected
    assert sum(expected.values()) == space.nr_table_pages


def test_a_users_page_gets_tables_that_users_may_pass() -> None:
    space = new_space()
    assert space.map_page(virt=0x40_0000, pfn=1, flags=PAGE_KERNEL | USER, node=0)
    now = space.find_translation(0x40_0000)
    assert now is not None and now.flags & USER
    assert space.map_page(virt=BASE, pfn=1, flags=PAGE_KERNEL, node=0)
    assert all(not level.entry & USER for level in space.walk(BASE).levels)


def test_the_top_of_pae_is_bare() -> None:
    space = new_space(3)
    assert space.map_page(virt=0xF800_0000, pfn=1, flags=PAGE_KERNEL, node=0)
    assert space.walk(0xF800_0000).levels[0].flags == ("PRESENT",)
    now = space.find_translation(0xF800_0000)
    assert now is not None and now.flags & (RW | ACCESSED) == RW | ACCESSED


def test_a_recycled_page_is_cleared_before_it_becomes_a_table() -> None:
    space = new_space()
    for pfn in range(0x1000, 0x1003):
        space.phys.fill_page(pfn, b"\xff" * PAGE_SIZE_BYTES)
    assert space.map_page(virt=BASE, pfn=1, flags=PAGE_KERNEL, node=0)
    assert space.translate(BASE + PAGE_SIZE_BYTES) is None
    space.check_invariants()


def test_leaves_are_counted_by_size_and_range() -> None:
    space = new_space()
    assert space.map_linear(
        virt=BASE, phys=0, nr_bytes=2 * GIB + 6 * MIB + 3 * 4096, flags=PAGE_KERNEL
    )
    end = BASE + 3 * GIB
    assert space.count_leaves(BASE, end) == {30: 2, 21: 3, 12: 3}
    assert space.count_leaves(BASE, BASE + GIB) == {30: 1, 21: 0, 12: 0}
    assert space.count_leaves(BASE + GIB + 5, BASE + GIB + 6) == {30: 1, 21: 0, 12: 0}
    assert space.count_leaves(BASE + 2 * GIB + 2 * MIB, end) == {30: 0, 21: 2, 12: 3}
    assert space.count_leaves(BASE + 2 * GIB + 6 * MIB + 4096, end) == {30: 0, 21: 0, 12: 2}
    assert space.count_leaves(0, 1 << 64) == {30: 2, 21: 3, 12: 3}
    assert space.count_leaves(end, end) == {30: 0, 21: 0, 12: 0}
    assert space.split_large_page(BASE)
    assert space.count_leaves(0, 1 << 64) == {30: 1, 21: 515, 12: 3}


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(MODES)),
    st.lists(st.integers(0, 2100), max_size=12),
    st.integers(0, 2100),
    st.integers(0, 2100),
)
def test_counted_leaves_are_the_pages_in_the_range(
    levels: int, pages: list[int], first: int, nr_pages: int
) -> None:
    space = new_space(levels)
    base = base_of(levels)
    mapped = dict.fromkeys(pages)
    for page in mapped:
        assert space.map_page(virt=base + page * 4096, pfn=page, flags=PAGE_KERNEL, node=0)
    counts = space.count_leaves(base + first * 4096, base + (first + nr_pages) * 4096)
    assert counts.pop(12) == sum(first <= page < first + nr_pages for page in mapped)
    assert not any(counts.values())


@pytest.mark.parametrize("levels", [2, 3])
def test_the_last_page_of_i386_counts_too(levels: int) -> None:
    space = new_space(levels)
    assert space.map_page(virt=0xFFFF_F000, pfn=1, flags=PAGE_KERNEL, node=0)
    assert space.count_leaves(0xFFC0_0000, 1 << 32)[12] == 1


def test_entries_of_two_levels_are_four_bytes_and_know_no_nx() -> None:
    space = new_space(2)
    for page in (0, 1):
        virt = 0xF800_0000 + page * 4096
        assert space.map_page(virt=virt, pfn=0xABCD + page, flags=PAGE_KERNEL, node=0)
    assert space.phys.read(0x1000 << 12, 12) == bytes.fromhex("63d1bc0a 63e1bc0a 00000000")
    assert space.mode is I386_2LEVEL
    with pytest.raises(KernelBug, match="frame 0x100000 does not fit an entry of i386 2-level"):
        space.map_page(virt=0xF900_0000, pfn=1 << 20, flags=PAGE_KERNEL, node=0)


def test_what_is_no_address_is_not_mapped() -> None:
    with pytest.raises(BadAccess, match="0x800000000000: not a canonical address with 4 levels"):
        new_space().table_for(1 << 47, 12, 0, 0)
    with pytest.raises(BadAccess, match="0x100000000: not a 32-bit address"):
        new_space(2).table_for(1 << 32, 12, 0, 0)
    for levels in (2, 3, 4):
        assert new_space(levels).find_translation(1 << 47) is None


def test_modes_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ConfigError, match="with 3 levels"):
        PageTables(0x100, 3, PhysicalMemory(), TablePages())
    with pytest.raises(ConfigError, match="with 4 levels"):
        PageTables(0x100, 4, PhysicalMemory(), TablePages(), arch="i386")


def test_a_table_given_out_twice_is_noticed() -> None:
    space = KernelAddressSpace(0x100, 4, PhysicalMemory(), lambda _node, _cpu: 0x1000)
    with pytest.raises(InvariantBroken, match="page 0x1000 was given out as a table twice"):
        space.map_page(virt=BASE, pfn=1, flags=PAGE_KERNEL, node=0)


@pytest.mark.parametrize("levels", sorted(MODES))
def test_stray_bits_in_a_table_are_found_by_the_check(levels: int) -> None:
    space = new_space(levels)
    virt = base_of(levels) & ~(GIB - 1)
    space.map_page(virt=virt, pfn=1, flags=PAGE_KERNEL, node=0)
    entry_phys = space.walk(virt).levels[0].entry_phys
    other_phys = entry_phys - space.mode.entry_bytes
    good_entry = space.read_entry(entry_phys)
    space.write_entry(entry_phys, 0)
    with pytest.raises(InvariantBroken, match="table 0x1000 is owned, but no entry"):
        space.check_invariants()
    space.write_entry(entry_phys, good_entry)
    space.write_entry(other_phys, good_entry)
    with pytest.raises(InvariantBroken, match="table 0x1000 is reached twice, again from PGD"):
        space.check_invariants()
    table_flags = PRESENT if space.mode.is_top_bare else KERNEL_TABLE
    space.write_entry(other_phys, make_entry(0x77, table_flags))
    with pytest.raises(InvariantBroken, match="table 0x77 is in use, but not owned"):
        space.check_invariants()
