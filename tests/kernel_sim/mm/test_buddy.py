"""The buddy allocator beside a plain table of who owns which page."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kernel_sim.errors import ConfigError, DoubleFree, InvariantBroken, KernelBug
from kernel_sim.mm.buddy import MAX_PAGE_ORDER, NR_ORDERS, Buddy, aligned_blocks, merged_ranges

MEMORIES = (
    ((0, 4096),),
    ((1, 159), (256, 3000)),
    ((5, 6), (7, 8), (1023, 1025)),
    ((1 << 20, (1 << 20) + 5 * 1024 + 17),),
)


def model_free_blocks(free_pages: dict[int, None]) -> list[list[int]]:
    """Return by order the blocks that fully merged free pages form, found by trying every place."""
    left = dict(free_pages)
    blocks: list[list[int]] = [[] for _ in range(NR_ORDERS)]
    for order in reversed(range(NR_ORDERS)):
        for pfn in sorted(left):
            inside = range(pfn, pfn + (1 << order))
            if pfn % (1 << order) == 0 and inside[-1] in left and all(p in left for p in inside):
                blocks[order].append(pfn)
                for page in inside:
                    del left[page]
    return blocks


class BuddyAgainstPageTable(RuleBasedStateMachine):
    @initialize(memory=st.sampled_from(MEMORIES))
    def boot(self, memory: tuple[tuple[int, int], ...]) -> None:
        self.memory = memory
        self.buddy = Buddy(memory)
        self.free_pages = {pfn: None for start, end in memory for pfn in range(start, end)}
        self.blocks: dict[int, int] = {}
        self.reserved: dict[int, None] = {}

    @rule(order=st.integers(0, NR_ORDERS) | st.integers(0, 2))
    def alloc(self, order: int) -> None:
        pfn = self.buddy.alloc(order)
        if pfn is None:
            larger = model_free_blocks(self.free_pages)[order:]
            assert not any(larger)
            return
        assert pfn % (1 << order) == 0
        for page in range(pfn, pfn + (1 << order)):
            del self.free_pages[page]
        self.blocks[pfn] = order

    @precondition(lambda self: self.blocks)
    @rule(data=st.data())
    def free(self, data: st.DataObject) -> None:
        pfn = data.draw(st.sampled_from(sorted(self.blocks)))
        order = self.blocks.pop(pfn)
        self.buddy.free(pfn, order)
        self.free_pages.update(dict.fromkeys(range(pfn, pfn + (1 << order))))

    @rule(data=st.data(), nr_pages=st.integers(1, 40) | st.integers(1000, 2500))
    def reserve(self, data: st.DataObject, nr_pages: int) -> None:
        low, high = self.memory[0][0], self.memory[-1][1]
        start = data.draw(st.integers(low, high))
        pages = range(start, start + nr_pages)
        not_free = [pfn for pfn in pages if pfn not in self.free_pages]
        if not_free:
            before = self.buddy.dump()
            with pytest.raises(KernelBug, match=f"{not_free[0]:#x} is not free"):
                self.buddy.reserve(start, start + nr_pages)
            assert self.buddy.dump() == before
            return
        self.buddy.reserve(start, start + nr_pages)
        for pfn in pages:
            del self.free_pages[pfn]
            self.reserved[pfn] = None

    @precondition(lambda self: self.reserved)
    @rule(data=st.data(), nr_pages=st.integers(1, 1500))
    def release(self, data: st.DataObject, nr_pages: int) -> None:
        start = data.draw(st.sampled_from(sorted(self.reserved)))
        end = start + 1
        while end in self.reserved and end < start + nr_pages:
            end += 1
        self.buddy.release(start, end)
        for pfn in range(start, end):
            del self.reserved[pfn]
            self.free_pages[pfn] = None

    @rule()
    def save_and_load(self) -> None:
        state = self.buddy.dump()
        self.buddy = Buddy.load(state)
        assert self.buddy.dump() == state

    @invariant()
    def agrees_with_the_model(self) -> None:
        self.buddy.check_invariants()
        assert self.buddy.nr_free_pages == len(self.free_pages)
        assert self.buddy.nr_reserved_pages == len(self.reserved)
        expected = [len(blocks) for blocks in model_free_blocks(self.free_pages)]
        assert [self.buddy.free_blocks(order) for order in range(NR_ORDERS)] == expected


TestBuddyAgainstPageTable = BuddyAgainstPageTable.TestCase
TestBuddyAgainstPageTable.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None
)


def test_untouched_memory_is_kept_as_one_range_however_large() -> None:
    buddy = Buddy(((0, 1 << 28),))
    assert buddy.untouched == [(0, 1 << 28)]
    assert not any(buddy.free_lists)
    assert buddy.free_blocks(MAX_PAGE_ORDER) == 1 << 18


def test_memory_is_given_out_from_the_low_end() -> None:
    buddy = Buddy(((1024, 4096),))
    assert [buddy.alloc(0) for _ in range(3)] == [1024, 1025, 1026]
    assert buddy.alloc(MAX_PAGE_ORDER) == 2048


def test_the_span_includes_holes_and_the_count_of_pages_does_not() -> None:
    buddy = Buddy(((256, 3000), (1, 159)))
    assert (buddy.start_pfn, buddy.end_pfn, buddy.nr_present_pages) == (1, 3000, 158 + 2744)


def test_a_split_puts_the_upper_halves_on_the_lists() -> None:
    buddy = Buddy(((0, 1024),))
    assert buddy.alloc(7) == 0
    assert [list(blocks) for blocks in buddy.free_lists[6:]] == [[], [128], [256], [512], []]


def test_the_block_freed_last_is_given_out_first() -> None:
    buddy = Buddy(((0, 1024),))
    pfns = [buddy.alloc(0) for _ in range(6)]
    assert pfns == [0, 1, 2, 3, 4, 5]
    buddy.free(1, 0)
    buddy.free(4, 0)
    assert [buddy.alloc(0), buddy.alloc(0)] == [4, 1]


def test_freed_buddies_merge_into_the_largest_block_and_not_beyond_a_hole() -> None:
    buddy = Buddy(((0, 8),))
    for _ in range(8):
        buddy.alloc(0)
    for pfn in (7, 0, 3, 5, 1, 6, 2, 4):
        buddy.free(pfn, 0)
    assert [buddy.free_blocks(order) for order in range(5)] == [0, 0, 0, 1, 0]


def test_a_second_free_and_a_wrong_order_are_double_frees() -> None:
    buddy = Buddy(((0, 1024),))
    assert buddy.alloc(2) == 0
    with pytest.raises(DoubleFree, match="page 0x0 freed with order 0, but allocated with 2"):
        buddy.free(0, 0)
    with pytest.raises(DoubleFree, match="page 0x1 freed with order 0: no allocated block"):
        buddy.free(1, 0)
    buddy.free(0, 2)
    with pytest.raises(DoubleFree, match="no allocated block starts there"):
        buddy.free(0, 2)


def test_a_page_within_a_block_knows_the_order_of_its_block() -> None:
    buddy = Buddy(((0, 2048),))
    assert (buddy.alloc(3), buddy.alloc(0), buddy.alloc(10)) == (0, 8, 1024)
    orders = [buddy.held_order_at(pfn) for pfn in (0, 7, 8, 9, 1023, 1024, 2047)]
    assert orders == [3, 3, 0, None, None, 10, 10]


def test_a_block_is_there_if_one_as_large_or_larger_is_free() -> None:
    buddy = Buddy(((8, 12), (16, 17)))
    assert [buddy.has_block(order) for order in (0, 1, 2, 3)] == [True, True, True, False]
    assert Buddy(((0, 1024),)).has_block(MAX_PAGE_ORDER)


def test_only_reserved_pages_can_be_released() -> None:
    buddy = Buddy(((0, 2048),))
    buddy.reserve(100, 200)
    for start, end in ((99, 150), (150, 201), (0, 10), (150, 150)):
        with pytest.raises(DoubleFree, match="not all reserved"):
            buddy.release(start, end)
    buddy.release(100, 200)
    assert buddy.free_ranges() == ((0, 2048),)


def test_reserving_the_middle_leaves_whole_blocks_untouched() -> None:
    buddy = Buddy(((0, 10 * 1024),))
    buddy.reserve(3 * 1024 + 1, 5 * 1024)
    assert buddy.untouched == [(0, 3 * 1024), (5 * 1024, 10 * 1024)]
    assert [list(blocks) for blocks in buddy.free_lists[:2]] == [[3072], []]
    assert buddy.free_ranges() == ((0, 3073), (5 * 1024, 10 * 1024))


def test_orders_out_of_range_get_nothing_or_a_bug() -> None:
    buddy = Buddy(((0, 4096),))
    assert buddy.alloc(NR_ORDERS) is None
    with pytest.raises(KernelBug, match="order -1"):
        buddy.alloc(-1)


def test_a_range_is_cut_at_its_alignments() -> None:
    assert aligned_blocks(5, 21) == [(5, 0), (6, 1), (8, 3), (16, 2), (20, 0)]
    assert aligned_blocks(0, 2048) == [(0, 10), (1024, 10)]


def test_ranges_are_joined_and_overlaps_refused() -> None:
    assert merged_ranges([(5, 9), (0, 3), (3, 5), (10, 11)]) == ((0, 9), (10, 11))
    with pytest.raises(ConfigError, match="0x2-0x4 overlaps"):
        merged_ranges([(0, 3), (2, 4)])
    with pytest.raises(ConfigError, match="0x3-0x3 is empty"):
        merged_ranges([(3, 3)])


def break_count(buddy: Buddy) -> None:
    buddy.nr_free_pages += 1


def break_merging(buddy: Buddy) -> None:
    del buddy.free_lists[1][2]
    buddy.free_lists[0].update({2: None, 3: None})


def break_alignment(buddy: Buddy) -> None:
    del buddy.free_lists[1][2]
    buddy.free_lists[1][3] = None


def break_ownership(buddy: Buddy) -> None:
    buddy.allocated[1] = 0


def break_coverage(buddy: Buddy) -> None:
    del buddy.allocated[0]


def break_untouched(buddy: Buddy) -> None:
    buddy.untouched = [(1024, 2047)]


def break_untouched_order(buddy: Buddy) -> None:
    buddy.untouched = [(4096, 5120), (1024, 2048)]


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (break_count, "pages on free lists"),
        (break_merging, "not merged"),
        (break_alignment, "0x3 of order 1 is not aligned"),
        (break_ownership, "page 0x1 belongs to two blocks"),
        (break_untouched, "0x400-0x7ff is not of whole blocks"),
        (break_untouched_order, "not ascending"),
        (break_coverage, "do not make up the zone's memory"),
    ],
)
def test_damage_is_named_by_the_check(damage, complaint: str) -> None:  # type: ignore[no-untyped-def]
    buddy = Buddy(((0, 1024),))
    buddy.alloc(0)
    damage(buddy)
    with pytest.raises(InvariantBroken, match=complaint):
        buddy.check_invariants()


def test_the_tail_is_for_the_half_beside_a_free_block_of_the_next_order() -> None:
    """Block 8 … 11 is free beside 12, 13: freeing 14 alone waits for 15 at the tail."""
    buddy = Buddy(((0, 16),))
    buddy.keeps_halves = True
    singles = [buddy.alloc(0) for _ in range(16)]
    assert singles == list(range(16))
    for pfn in (1, 12, 13):
        buddy.free(pfn, 0)
    buddy.free(14, 0)
    assert list(buddy.free_lists[0]) == [14, 1]  # the tail first: 12-13 is free as order 1
    assert buddy.alloc(0) == 1
    buddy.check_invariants()
