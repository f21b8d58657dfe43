"""Per-CPU page lists: sizes, ends, what goes back when, and a model of plain Python lists."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kernel_sim.errors import DoubleFree, InvariantBroken
from kernel_sim.mm.buddy import Buddy
from kernel_sim.mm.gfp import PRINT_ORDER
from kernel_sim.mm.page_lists import COLD, GFP_COLD, HOT, ListSize, PageLists, list_sizes
from kernel_sim.mm.watermarks import PROFILE_2_6_20, PROFILE_MODERN

GIB_PAGES = 1 << 18
SMALL = {
    PROFILE_2_6_20: (ListSize(12, 3), ListSize(4, 1)),
    PROFILE_MODERN: (ListSize(12, 3),),
}


def lists_of(profile: str, nr_pages: int = 1024) -> PageLists:
    return PageLists(Buddy(((0, nr_pages),)), profile, SMALL[profile])


def test_sizes_of_2_6_20() -> None:
    gib = list_sizes(PROFILE_2_6_20, nr_pages=GIB_PAGES, low_pages=0, nr_cpus=1)
    dma = list_sizes(PROFILE_2_6_20, nr_pages=4096, low_pages=0, nr_cpus=1)
    large = list_sizes(PROFILE_2_6_20, nr_pages=1 << 28, low_pages=0, nr_cpus=1)
    assert gib == large == (ListSize(186, 31), ListSize(62, 15))
    assert dma == (ListSize(0, 1), ListSize(0, 1))


def test_sizes_of_modern_kernels_share_the_low_mark_among_the_nodes_cpus() -> None:
    def size(nr_pages: int, low_pages: int, nr_cpus: int) -> tuple[int, int]:
        (one,) = list_sizes(PROFILE_MODERN, nr_pages=nr_pages, low_pages=low_pages, nr_cpus=nr_cpus)
        return one.high_pages, one.batch_pages

    assert size(GIB_PAGES, 13847, 2) == (6923, 63)
    assert size(GIB_PAGES, 13847, 64) == (252, 63)
    assert size(113439, 6930, 2) == (3465, 31)
    assert size(3840, 3, 8) == (4, 1)


def test_our_cold_flag_is_none_of_the_kernels_bits() -> None:
    assert not any(mask & GFP_COLD for _, mask in PRINT_ORDER)


def test_a_list_is_filled_by_the_batch_and_given_out_lowest_first() -> None:
    lists = lists_of(PROFILE_MODERN)
    assert [lists.alloc(7) for _ in range(4)] == [0, 1, 2, 3]
    assert list(lists.by_cpu) == [7]
    assert lists.count(7) == lists.nr_pages == 2
    assert lists.count(3) == 0
    assert lists.buddy.nr_free_pages == 1024 - 6


def test_the_page_freed_last_comes_first_and_cold_ones_are_apart() -> None:
    lists = lists_of(PROFILE_2_6_20)
    pfns = [lists.alloc(0) for _ in range(6)]
    assert pfns == [0, 1, 2, 3, 4, 5]
    lists.free(4, 0)
    lists.free(1, 0, COLD)
    assert lists.alloc(0, COLD) == 1
    assert lists.alloc(0, COLD) == 6
    assert lists.alloc(0) == 4


def test_2_6_20_returns_one_batch_from_the_tail_when_high_is_reached() -> None:
    lists = lists_of(PROFILE_2_6_20)
    pfns = [lists.alloc(0) for _ in range(12)]
    for pfn in pfns:
        lists.free(pfn or 0, 0)
    assert list(lists.by_cpu[0][HOT].pages) == [11, 10, 9, 8, 7, 6, 5, 4, 3]
    assert [lists.buddy.held_order_at(pfn) for pfn in range(4)] == [None, None, None, 0]


def test_a_zone_too_small_for_lists_gives_every_page_back_at_once() -> None:
    lists = PageLists(Buddy(((0, 64),)), PROFILE_2_6_20, (ListSize(0, 1), ListSize(0, 1)))
    pfn = lists.alloc(0)
    lists.free(pfn or 0, 0)
    assert (lists.nr_pages, lists.buddy.nr_free_pages) == (0, 64)


def test_a_run_of_frees_doubles_what_goes_back_and_a_request_halves_it() -> None:
    lists = lists_of(PROFILE_MODERN)
    pfns = [lists.alloc(0) for _ in range(36)]
    counts = []
    for pfn in pfns:
        lists.free(pfn or 0, 0)
        counts.append(lists.count(0))
    assert [after for before, after in pairwise(counts) if after < before] == [9, 6, 3, 3]
    assert lists.by_cpu[0][HOT].free_factor == 2
    lists.alloc(0)
    assert lists.by_cpu[0][HOT].free_factor == 1


def test_a_page_on_a_list_cannot_be_freed_again() -> None:
    lists = lists_of(PROFILE_MODERN)
    assert lists.alloc(5) == 0
    lists.free(0, 2)
    with pytest.raises(DoubleFree, match="page 0x0 freed: it is free already, on a list of cpu 2"):
        lists.free(0, 5)
    with pytest.raises(DoubleFree, match="page 0x1 freed: it is free already, on a list of cpu 5"):
        lists.free(1, 0)
    with pytest.raises(DoubleFree, match="page 0x200 freed with order 0: no allocated block"):
        lists.free(0x200, 0)


def test_draining_a_cpu_leaves_the_others_alone() -> None:
    lists = lists_of(PROFILE_2_6_20)
    taken = [lists.alloc(0), lists.alloc(1), lists.alloc(1, COLD)]
    assert taken == [0, 3, 6]
    assert lists.drain_cpu(1) == 2
    assert lists.drain_cpu(9) == 0
    assert (lists.nr_pages, lists.count(0), lists.count(1)) == (2, 2, 0)
    assert lists.drain_all() == 2
    assert lists.buddy.nr_free_pages == 1024 - 3
    assert lists.dump() == []


def break_twice(lists: PageLists) -> None:
    lists.by_cpu[0][HOT].pages.append(lists.by_cpu[0][HOT].pages[0])


def break_account(lists: PageLists) -> None:
    lists.by_cpu[0][HOT].pages.pop()


def break_ownership(lists: PageLists) -> None:
    lists.buddy.free(1, 0)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (break_twice, "page 0x1 is on lists of cpu 0 and cpu 0"),
        (break_account, "1 pages on CPUs' lists, 2 accounted"),
        (break_ownership, "page 0x1 on a list of cpu 0 is not the zone's to give"),
    ],
)
def test_damage_is_named_by_the_check(damage, complaint: str) -> None:  # type: ignore[no-untyped-def]
    lists = lists_of(PROFILE_MODERN)
    lists.alloc(0)
    damage(lists)
    with pytest.raises(InvariantBroken, match=complaint):
        lists.check_invariants()


class ListsAgainstModel(RuleBasedStateMachine):
    """Python lists with the head at index 0; the buddy allocator itself is not modelled again."""

    @initialize(profile=st.sampled_from([PROFILE_2_6_20, PROFILE_MODERN]))
    def boot(self, profile: str) -> None:
        self.profile = profile
        self.lists = lists_of(profile, 200)
        self.model: dict[tuple[int, int], list[int]] = {}
        self.held: list[int] = []

    def kinds(self) -> list[int]:
        return [HOT, COLD] if self.profile == PROFILE_2_6_20 else [HOT]

    @rule(cpu=st.integers(0, 3), data=st.data(), count=st.integers(1, 9))
    def alloc(self, cpu: int, data: st.DataObject, count: int) -> None:
        kind = data.draw(st.sampled_from(self.kinds()))
        for _ in range(count):
            on_list = self.model.setdefault((cpu, kind), [])
            nr_free_pages = self.lists.buddy.nr_free_pages
            pfn = self.lists.alloc(cpu, kind)
            if on_list:
                assert pfn == on_list.pop(0)
            elif nr_free_pages == 0:
                assert pfn is None
                return
            else:
                nr_fetched = min(SMALL[self.profile][kind].batch_pages, nr_free_pages)
                assert self.lists.count(cpu, kind) == nr_fetched - 1
                on_list.extend(self.lists.by_cpu[cpu][kind].pages)
            assert pfn is not None
            self.held.append(pfn)

    @precondition(lambda self: self.held)
    @rule(cpu=st.integers(0, 3), data=st.data(), count=st.integers(1, 14))
    def free(self, cpu: int, data: st.DataObject, count: int) -> None:
        kind = data.draw(st.sampled_from(self.kinds()))
        size = SMALL[self.profile][kind]
        for _ in range(min(count, len(self.held))):
            pfn = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
            self.lists.free(pfn, cpu, kind)
            on_list = self.model.setdefault((cpu, kind), [])
            on_list.insert(0, pfn)
            if len(on_list) >= size.high_pages:
                nr_left = self.lists.count(cpu, kind)
                nr_returned = len(on_list) - nr_left
                assert size.batch_pages <= nr_returned <= size.high_pages - size.batch_pages
                if self.profile == PROFILE_2_6_20:
                    assert nr_returned == size.batch_pages
                del on_list[nr_left:]

    @rule(cpu=st.integers(0, 3))
    def drain(self, cpu: int) -> None:
        expected = sum(len(self.model.pop((cpu, kind), [])) for kind in self.kinds())
        assert self.lists.drain_cpu(cpu) == expected

    @rule()
    def save_and_load(self) -> None:
        state = self.lists.dump()
        loaded = PageLists(self.lists.buddy, self.profile, SMALL[self.profile])
        loaded.load(state)
        assert loaded.dump() == state
        self.lists = loaded

    @invariant()
    def agrees(self) -> None:
        self.lists.check_invariants()
        self.lists.buddy.check_invariants()
        for (cpu, kind), pfns in self.model.items():
            held = self.lists.by_cpu.get(cpu)
            assert (list(held[kind].pages) if held else []) == pfns
        nr_listed = sum(len(pfns) for pfns in self.model.values())
        assert self.lists.nr_pages == nr_listed
        assert self.lists.buddy.nr_free_pages == 200 - nr_listed - len(self.held)


TestListsAgainstModel = ListsAgainstModel.TestCase
TestListsAgainstModel.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


def test_the_free_factor_outlives_a_drain_and_shrinks_with_every_request() -> None:
    lists = lists_of(PROFILE_MODERN, 8)
    taken = [lists.alloc(0) for _ in range(8)]
    lists.by_cpu[0][HOT].free_factor = 3
    assert lists.alloc(0) is None  # the zone is empty, but it was a request
    assert lists.by_cpu[0][HOT].free_factor == 1
    lists.free(taken[0] or 0, 0)
    assert lists.drain_all() == 1
    assert lists.dump() == [(0, [([], 1)])]
