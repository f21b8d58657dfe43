"""Mapping operations on tables in simulated memory, beside a dict from virtual page to frame, flags."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kernel_sim.errors import BadAccess, ConfigError, KernelBug
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.mm.paging import (
    GLOBAL,
    NX,
    PAGE_KERNEL,
    PAT,
    PAT_LARGE,
    PRESENT,
    RW,
    small_flags,
)
from kernel_sim.mm.paging_modes import MODES
from tests.kernel_sim.mm.table_pages import BASE, GIB, MIB, base_of, new_space

DIRECT_MAP = 0xFFFF_8880_0000_0000
NR_SLOTS = 3
flag_choices = st.sampled_from([PAGE_KERNEL, PAGE_KERNEL & ~NX, PAGE_KERNEL | PAT, PRESENT | NX])
set_choices = st.sampled_from([0, NX, PAT, RW, PAT | NX])
clear_choices = st.sampled_from([0, RW, NX, PAT, GLOBAL | RW])


class MapAgainstDict(RuleBasedStateMachine):
    """Three slots of one large page each, mapped whole or by pages; tables run out sometimes."""

    @initialize(levels=st.sampled_from(sorted(MODES)), nr_table_pages=st.integers(2, 8))
    def boot(self, levels: int, nr_table_pages: int) -> None:
        self.space = new_space(levels, nr_table_pages)
        self.mode = self.space.mode
        self.shift = 22 if levels == 2 else 21
        self.slot_pages = 1 << self.shift - PAGE_SHIFT
        self.base = base_of(levels)
        self.mapped: dict[int, tuple[int, int]] = {}
        self.large: dict[int, None] = {}
        self.slots_with_table: dict[int, None] = {}

    def virt(self, page: int) -> int:
        return self.base + page * PAGE_SIZE_BYTES

    def nr_left(self) -> int:
        return self.space.alloc_table.nr_left  # type: ignore[attr-defined, no-any-return]

    def page_near(self, slot: int, page: int) -> int:
        return slot * self.slot_pages + page % self.slot_pages

    @rule(
        slot=st.integers(0, NR_SLOTS - 1),
        page=st.integers(-2, 2),
        pfn=st.integers(0, 2**20 - 1),
        flags=flag_choices,
    )
    def map_page(self, slot: int, page: int, pfn: int, flags: int) -> None:
        page = self.page_near(slot, page)
        virt = self.virt(page)
        if slot in self.large:
            with pytest.raises(KernelBug, match="no table can stand"):
                self.space.map_page(virt=virt, pfn=pfn, flags=flags, node=0)
        elif page in self.mapped:
            with pytest.raises(KernelBug, match="mapped already"):
                self.space.map_page(virt=virt, pfn=pfn, flags=flags, node=0)
        elif self.space.map_page(virt=virt, pfn=pfn, flags=flags, node=0):
            self.mapped[page] = (pfn, flags & self.mode.flag_mask)
            self.slots_with_table[slot] = None
        else:
            assert self.nr_left() == 0 and slot not in self.slots_with_table

    @rule(slot=st.integers(0, NR_SLOTS - 1), page=st.integers(-2, 2))
    def unmap_page(self, slot: int, page: int) -> None:
        page = self.page_near(slot, page)
        if slot in self.large:
            with pytest.raises(KernelBug, match="cannot unmap 4096"):
                self.space.unmap_page(self.virt(page))
            return
        gone = self.mapped.pop(page, None)
        assert self.space.unmap_page(self.virt(page)) == (gone and gone[0])

    @rule(slot=st.integers(0, NR_SLOTS - 1), block=st.integers(0, 200), flags=flag_choices)
    def map_large(self, slot: int, block: int, flags: int) -> None:
        first = slot * self.slot_pages
        pfn = block * self.slot_pages

        def map_it() -> bool:
            return self.space.map_large(
                virt=self.virt(first), pfn=pfn, shift=self.shift, flags=flags, node=0
            )

        if slot in self.large or slot in self.slots_with_table:
            with pytest.raises(KernelBug, match="mapped already"):
                map_it()
        elif map_it():
            self.large[slot] = None
            kept = flags & self.mode.flag_mask
            for page in range(self.slot_pages):
                self.mapped[first + page] = (pfn + page, kept)
        else:
            assert self.nr_left() == 0

    @rule(slot=st.integers(0, NR_SLOTS - 1))
    def unmap_large(self, slot: int) -> None:
        first = slot * self.slot_pages
        if slot not in self.large and first in self.mapped:
            with pytest.raises(KernelBug, match="lies in a page of 4096 bytes"):
                self.space.unmap_large(self.virt(first), self.shift)
            return
        expected = self.mapped[first][0] if slot in self.large else None
        assert self.space.unmap_large(self.virt(first), self.shift) == expected
        if self.large.pop(slot, self) is None:
            for page in range(self.slot_pages):
                del self.mapped[first + page]

    @rule(slot=st.integers(0, NR_SLOTS - 1), page=st.integers(-2, 2))
    def split(self, slot: int, page: int) -> None:
        virt = self.virt(self.page_near(slot, page))
        if slot not in self.large:
            with pytest.raises(KernelBug, match="no large page to split"):
                self.space.split_large_page(virt)
        elif self.space.split_large_page(virt):
            self.note_split(slot)
        else:
            assert self.nr_left() == 0

    @rule(
        slot=st.integers(0, NR_SLOTS - 1),
        page=st.integers(-2, 2),
        length=st.sampled_from([(0, 1), (0, 3), (1, 0), (1, 1), (2, 0), (3, 0)]),
        set_bits=set_choices,
        clear_bits=clear_choices,
    )
    def change_flags(
        self, slot: int, page: int, length: tuple[int, int], set_bits: int, clear_bits: int
    ) -> None:
        first = self.page_near(slot, page)
        nr_pages = length[0] * self.slot_pages + length[1]
        pages = range(first, first + nr_pages)

        def change_it() -> bool:
            return self.space.change_flags(
                self.virt(first), nr_pages, set_bits=set_bits, clear_bits=clear_bits
            )

        if any(each not in self.mapped for each in pages):
            with pytest.raises(KernelBug, match="nothing is mapped there"):
                change_it()
            return
        changed = {
            each: (pfn, (flags & ~clear_bits | set_bits) & self.mode.flag_mask)
            for each in pages
            for pfn, flags in [self.mapped[each]]
        }
        to_split = [
            slot
            for slot in self.large
            for whole in [range(slot * self.slot_pages, (slot + 1) * self.slot_pages)]
            if (pages.start in whole and pages.start != whole.start)
            or (pages.stop in whole and pages.stop != whole.start)
            if any(each in whole and self.mapped[each] != changed[each] for each in pages)
        ]
        nr_left = self.nr_left()
        if change_it():
            assert nr_left - self.nr_left() == len(to_split)
            self.mapped |= changed
            for slot in to_split:
                self.note_split(slot)
        else:
            assert nr_left < len(to_split) and self.nr_left() == 0
            for slot in to_split:
                if self.space.walk(self.virt(slot * self.slot_pages)).page_size_bytes == 4096:
                    self.note_split(slot)

    def note_split(self, slot: int) -> None:
        del self.large[slot]
        self.slots_with_table[slot] = None

    @rule(
        slot=st.integers(0, NR_SLOTS - 1),
        page=st.integers(-2, 2),
        offset_bytes=st.integers(0, PAGE_SIZE_BYTES - 1),
    )
    def translate(self, slot: int, page: int, offset_bytes: int) -> None:
        self.compare(self.page_near(slot, page), offset_bytes)

    def compare(self, page: int, offset_bytes: int = 0) -> None:
        virt = self.virt(page) + offset_bytes
        way = self.space.walk(virt)
        there = self.mapped.get(page)
        expected = None if there is None else there[0] * PAGE_SIZE_BYTES + offset_bytes
        assert self.space.translate(virt) == way.phys == expected
        if there is not None:
            entry = way.levels[-1].entry
            is_large = page // self.slot_pages in self.large
            assert way.page_size_bytes == 1 << (self.shift if is_large else PAGE_SHIFT)
            flags = entry & (self.mode.flag_mask | PAT_LARGE)
            assert (small_flags(flags) if is_large else entry & self.mode.flag_mask) == there[1]

    @invariant()
    def tables_are_owned_and_counted(self) -> None:
        self.space.check_invariants()
        by_level = self.space.tables_by_level()
        assert sum(by_level.values()) == self.space.nr_table_pages
        assert by_level["PTE"] >= len(self.slots_with_table)
        counts = self.space.count_leaves(self.base, self.virt(NR_SLOTS * self.slot_pages))
        assert counts[self.shift] == len(self.large)
        assert sum(n << shift - PAGE_SHIFT for shift, n in counts.items()) == len(self.mapped)

    def teardown(self) -> None:
        if hasattr(self, "space"):
            for page in range(0, NR_SLOTS * self.slot_pages, 7):
                self.compare(page)


TestMapAgainstDict = MapAgainstDict.TestCase
TestMapAgainstDict.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)


@pytest.mark.slow
class TestMapAgainstDictLong(MapAgainstDict.TestCase):  # type: ignore[misc]
    settings = settings(max_examples=400, stateful_step_count=40, deadline=None)


def test_without_memory_for_a_table_the_tables_made_so_far_stay() -> None:
    space = new_space(nr_table_pages=2)
    assert not space.map_page(virt=BASE, pfn=1, flags=PAGE_KERNEL, node=0)
    assert space.nr_table_pages == 3
    space.check_invariants()
    assert space.translate(BASE) is None


@pytest.mark.parametrize("levels", [4, 5])
def test_a_direct_map_of_64_tib_takes_one_table_for_each_512_gib(levels: int) -> None:
    space = new_space(levels)
    start = DIRECT_MAP if levels == 4 else 0xFF11_0000_0000_0000
    assert space.map_linear(virt=start, phys=0, nr_bytes=64 << 40, flags=PAGE_KERNEL)
    assert space.nr_table_pages == 1 + 128 + (levels - 4)
    for phys in (0, GIB + 5, (64 << 40) - 1):
        assert space.translate(start + phys) == phys
    assert space.translate(start + (64 << 40)) is None
    assert space.walk(start).page_size_bytes == GIB
    assert space.count_leaves(start, start + (64 << 40)) == {30: 65536, 21: 0, 12: 0}
    space.check_invariants()


@pytest.mark.parametrize(("levels", "shift", "nr_tables"), [(2, 22, 1), (3, 21, 2)])
def test_the_lowmem_of_i386_is_mapped_by_large_pages(
    levels: int, shift: int, nr_tables: int
) -> None:
    space = new_space(levels)
    assert space.map_linear(virt=0xC000_0000, phys=0, nr_bytes=896 * MIB, flags=PAGE_KERNEL)
    assert space.nr_table_pages == nr_tables
    assert space.count_leaves(0, 1 << 32) == {shift: 896 * MIB >> shift, 12: 0}
    assert space.translate(0xC123_4567) == 0x123_4567


def test_a_linear_map_uses_the_largest_pages_that_alignment_permits() -> None:
    space = new_space()
    start = DIRECT_MAP + 2 * MIB - PAGE_SIZE_BYTES
    nr_bytes = PAGE_SIZE_BYTES + (GIB - 2 * MIB) + GIB + 4 * MIB + PAGE_SIZE_BYTES
    assert space.map_linear(
        virt=start, phys=start - DIRECT_MAP, nr_bytes=nr_bytes, flags=PAGE_KERNEL
    )
    sizes = {
        offset: space.walk(DIRECT_MAP + offset).page_size_bytes
        for offset in (2 * MIB - 1, 2 * MIB, GIB - 1, GIB, 2 * GIB, 2 * GIB + 4 * MIB)
    }
    assert list(sizes.values()) == [4096, 2 * MIB, 2 * MIB, GIB, 2 * MIB, 4096]
    assert space.translate(start - 1) is None
    assert space.translate(start + nr_bytes) is None


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(MODES)),
    st.integers(0, 1024),
    st.integers(0, 1024),
    st.integers(1, 1200),
    st.lists(st.integers(0, 1199), max_size=5),
)
def test_a_linear_map_translates_every_page_to_its_own(
    levels: int, virt_page: int, phys_page: int, nr_pages: int, looks: list[int]
) -> None:
    space = new_space(levels)
    virt, phys = base_of(levels) + virt_page * PAGE_SIZE_BYTES, phys_page * PAGE_SIZE_BYTES
    assert space.map_linear(
        virt=virt, phys=phys, nr_bytes=nr_pages * PAGE_SIZE_BYTES, flags=PAGE_KERNEL
    )
    for page_index in (0, nr_pages - 1, *(look % nr_pages for look in looks)):
        offset_bytes = page_index * PAGE_SIZE_BYTES
        assert space.translate(virt + offset_bytes) == phys + offset_bytes
    assert space.translate(virt - 1) is None
    assert space.translate(virt + nr_pages * PAGE_SIZE_BYTES) is None
    space.check_invariants()


def test_a_linear_map_without_memory_for_tables_says_so() -> None:
    space = new_space(nr_table_pages=2)
    assert not space.map_linear(virt=BASE, phys=0, nr_bytes=2 * MIB + 8192, flags=PAGE_KERNEL)
    assert space.translate(BASE) == 0
    assert space.translate(BASE + 2 * MIB) is None
    space.check_invariants()


def test_nothing_is_mapped_over_or_cut_out_of_a_large_page() -> None:
    space = new_space()
    assert space.map_linear(virt=BASE, phys=0, nr_bytes=4 * MIB, flags=PAGE_KERNEL)
    with pytest.raises(KernelBug, match="no table can stand"):
        space.map_page(virt=BASE + 4096, pfn=1, flags=PAGE_KERNEL, node=0)
    with pytest.raises(KernelBug, match="mapped already"):
        space.map_linear(virt=BASE + 2 * MIB, phys=0, nr_bytes=2 * MIB, flags=PAGE_KERNEL)
    with pytest.raises(KernelBug, match="lies in a page of 2097152 bytes"):
        space.unmap_page(BASE + 4096)


@pytest.mark.parametrize("levels", [4, 5])
def test_a_gigabyte_is_split_down_to_one_page(levels: int) -> None:
    space = new_space(levels)
    flags = PAGE_KERNEL | PAT
    assert space.map_large(virt=BASE, pfn=0x80000, shift=30, flags=flags, node=0)
    nr_tables = space.nr_table_pages
    assert space.change_flags(BASE + 5 * 4096, 1, clear_bits=RW)
    assert space.nr_table_pages == nr_tables + 2
    assert space.count_leaves(BASE, BASE + GIB) == {30: 0, 21: 511, 12: 512}
    for offset in (0, 5 * 4096 + 7, 2 * MIB, GIB - 1):
        assert space.translate(BASE + offset) == (0x80000 << 12) + offset
    small = space.walk(BASE + 5 * 4096).levels[-1].entry
    large = space.walk(BASE + 2 * MIB).levels[-1].entry
    assert small == (0x80005 << 12) | (flags & ~RW)
    assert large == (0x80200 << 12) | PAGE_KERNEL | PAT | PAT_LARGE
    assert space.unmap_large(BASE + 2 * MIB, 21) == 0x80200
    space.check_invariants()


@pytest.mark.parametrize("nr_left", [0, 1])
def test_a_change_without_memory_for_a_split_changes_no_flag(nr_left: int) -> None:
    space = new_space(nr_table_pages=1 + nr_left)
    assert space.map_large(virt=BASE, pfn=0, shift=30, flags=PAGE_KERNEL, node=0)
    assert not space.change_flags(BASE + 4096, 1, clear_bits=RW)
    now = space.find_translation(BASE + 4096)
    assert now is not None and now.flags & RW
    assert space.walk(BASE).page_size_bytes == (GIB, 2 * MIB)[nr_left]
    space.check_invariants()


def test_a_split_without_memory_changes_nothing() -> None:
    space = new_space(2, nr_table_pages=0)
    assert space.map_large(virt=0xF800_0000, pfn=0x400, shift=22, flags=PAGE_KERNEL, node=0)
    before = dict(space.phys.frames), dict(space.table_pfns)
    assert not space.split_large_page(0xF800_1000)
    assert (space.phys.frames, space.table_pfns) == before


def test_flags_that_are_there_already_split_nothing() -> None:
    space = new_space()
    assert space.map_large(virt=BASE, pfn=0, shift=21, flags=PAGE_KERNEL, node=0)
    assert space.change_flags(BASE + 4096, 1, set_bits=NX)
    assert space.walk(BASE).page_size_bytes == 2 * MIB


def test_a_modules_text_becomes_read_only_and_executable() -> None:
    space = new_space()
    for page in range(4):
        assert space.map_page(virt=BASE + page * 4096, pfn=page + 9, flags=PAGE_KERNEL, node=0)
    assert space.change_flags(BASE, 2, clear_bits=RW | NX)
    assert space.change_flags(BASE + 2 * 4096, 1, clear_bits=RW)
    rights = [space.find_translation(BASE + page * 4096) for page in range(4)]
    assert [now and now.flags & (RW | NX) for now in rights] == [0, 0, NX, RW | NX]


def test_a_flag_both_cleared_and_set_is_set() -> None:
    space = new_space()
    assert space.map_page(virt=BASE, pfn=1, flags=PAGE_KERNEL, node=0)
    assert space.change_flags(BASE, 1, set_bits=RW | PAT, clear_bits=RW | NX)
    now = space.find_translation(BASE)
    assert now is not None and now.flags & (RW | NX) == RW
    assert space.walk(BASE).levels[-1].entry == 1 << 12 | PAGE_KERNEL & ~NX | PAT


def test_bad_requests_are_refused_with_a_reason() -> None:
    space = new_space()
    with pytest.raises(BadAccess, match="0x800000000000: not a canonical"):
        space.map_page(virt=1 << 47, pfn=1, flags=PAGE_KERNEL, node=0)
    assert space.translate(1 << 47) is None
    assert space.unmap_page(1 << 47) is None
    with pytest.raises(ConfigError, match="not whole pages"):
        space.map_linear(virt=BASE, phys=0, nr_bytes=5, flags=PAGE_KERNEL)
    with pytest.raises(ConfigError, match="x86-64 4-level has no large pages of 2\\^22 bytes"):
        space.map_large(virt=BASE, pfn=0, shift=22, flags=PAGE_KERNEL, node=0)
    with pytest.raises(KernelBug, match="is not aligned to a page of 2097152 bytes"):
        space.map_large(virt=BASE + 4096, pfn=0, shift=21, flags=PAGE_KERNEL, node=0)
    with pytest.raises(KernelBug, match="frame 0x1 is not aligned"):
        space.map_large(virt=BASE, pfn=1, shift=21, flags=PAGE_KERNEL, node=0)
    with pytest.raises(KernelBug, match="does not fit an entry"):
        space.map_page(virt=BASE, pfn=1 << 40, flags=PAGE_KERNEL, node=0)
    with pytest.raises(KernelBug, match="expected flags other than PRESENT"):
        space.change_flags(BASE, 1, clear_bits=PRESENT)
