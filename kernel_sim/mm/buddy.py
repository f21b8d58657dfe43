"""Buddy allocator of one zone: free blocks of 2^order pages, each aligned to its own size.

    order 2  |       0       |       4       |       split: the upper half goes down a list
    order 1  |   0   |   2   |   4   |   6   |       merge: buddy = pfn ^ (1 << order) is free
    order 0  | 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 |

The list of an order is a dict whose *last* key is the head of the list: a freed block goes to the
head (or, see keeps_halves, to the tail), a request takes from the head. Blocks of the highest order
that nobody ever split are not listed one by one but kept as ranges, so a zone of a terabyte costs
nothing; they are taken from the low end, after the listed ones, as if they had been freed at boot in
ascending order to the tail.

Memory set aside before there were pages to allocate (memblock's) is reserved: neither free nor
allocated.

Source: mm/page_alloc.c, Linux 6.1: expand(), __rmqueue_smallest(), __free_one_page().
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import OrderedDict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypedDict

from kernel_sim.alignment import align_down, align_up, trailing_zeros
from kernel_sim.errors import ConfigError, DoubleFree, InvariantBroken, KernelBug

MAX_PAGE_ORDER = 10
"""The highest order: 1024 pages, 4 MiB."""
NR_ORDERS = MAX_PAGE_ORDER + 1
MAX_BLOCK_PAGES = 1 << MAX_PAGE_ORDER

PfnRange = tuple[int, int]
"""First page frame number and the one after the last."""


class BuddyState(TypedDict):
    """A Buddy as builtin types; free_lists hold pfns from the tail to the head."""

    memory: list[tuple[int, int]]
    free_lists: list[list[int]]
    untouched: list[tuple[int, int]]
    reserved: list[tuple[int, int]]
    allocated: list[tuple[int, int]]


@dataclass(slots=True)
class Buddy:
    """Free, allocated and reserved blocks of the pages in `memory`: ascending, no overlap.

    keeps_halves: a block whose buddy will likely come back soon goes to the tail, so that it is
    still there then (2.6.35 and later); it is the profile's, not part of the state.
    """

    memory: tuple[PfnRange, ...]
    free_lists: list[OrderedDict[int, None]] = field(init=False)
    untouched: list[PfnRange] = field(init=False)
    reserved: list[PfnRange] = field(init=False)
    allocated: dict[int, int] = field(init=False)
    nr_free_pages: int = field(init=False)
    keeps_halves: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        self.memory = merged_ranges(self.memory)
        self.free_lists = [OrderedDict() for _ in range(NR_ORDERS)]
        self.untouched = []
        self.reserved = []
        self.allocated = {}
        self.nr_free_pages = sum(end - start for start, end in self.memory)
        for start, end in reversed(self.memory):
            self._list_new_range(start, end)

    @property
    def start_pfn(self) -> int:
        """First page frame of the span."""
        return self.memory[0][0]

    @property
    def end_pfn(self) -> int:
        """The page frame after the last one of the span; holes may lie between."""
        return self.memory[-1][1]

    @property
    def nr_present_pages(self) -> int:
        """Pages of memory in the span, without holes."""
        return sum(end - start for start, end in self.memory)

    @property
    def nr_reserved_pages(self) -> int:
        """Pages set aside: neither free nor allocated."""
        return sum(end - start for start, end in self.reserved)

    def free_blocks(self, order: int) -> int:
        """Return the number of free blocks of an order, as /proc/buddyinfo shows it."""
        nr_blocks = len(self.free_lists[order])
        if order == MAX_PAGE_ORDER:
            nr_blocks += sum(end - start for start, end in self.untouched) // MAX_BLOCK_PAGES
        return nr_blocks

    def alloc(self, order: int) -> int | None:
        """Take a block of 2^order pages; return its first pfn, or None if none is large enough."""
        if order < 0:
            raise KernelBug(f"a block of order {order} was asked for; the lowest order is 0")
        for block_order in range(order, NR_ORDERS):
            if self.free_lists[block_order]:
                pfn, _ = self.free_lists[block_order].popitem()
                break
        else:
            if order > MAX_PAGE_ORDER or not self.untouched:
                return None
            block_order = MAX_PAGE_ORDER
            pfn = self._take_untouched()
        while block_order > order:
            block_order -= 1
            self.free_lists[block_order][pfn + (1 << block_order)] = None
        self.allocated[pfn] = order
        self.nr_free_pages -= 1 << order
        return pfn

    def free(self, pfn: int, order: int) -> None:
        """Give back what alloc() returned for the same order; DoubleFree if it did not."""
        self.check_held(pfn, order)
        del self.allocated[pfn]
        self._merge_in(pfn, order)

    def check_held(self, pfn: int, order: int) -> None:
        """Raise DoubleFree unless a block of this order, allocated, starts at pfn."""
        held_order = self.allocated.get(pfn)
        if held_order is None:
            raise DoubleFree(
                f"page {pfn:#x} freed with order {order}: no allocated block starts there"
            )
        if held_order != order:
            raise DoubleFree(
                f"page {pfn:#x} freed with order {order}, but allocated with {held_order}"
            )

    def held_order_at(self, pfn: int) -> int | None:
        """Return the order of the allocated block that holds page pfn, or None."""
        for order in range(NR_ORDERS):
            block_order = self.allocated.get(align_down(pfn, 1 << order), -1)
            if block_order >= order:
                return block_order
        return None

    def has_block(self, order: int) -> bool:
        """Say whether a request of this order could be met: a block as large or larger is free."""
        return bool(self.untouched) or any(self.free_lists[order:])

    def reserve(self, start_pfn: int, end_pfn: int) -> None:
        """Set start_pfn … end_pfn-1 aside; KernelBug, and nothing changed, if one is not free."""
        gap_pfn = self.find_not_free(start_pfn, end_pfn)
        if gap_pfn is not None:
            raise KernelBug(
                f"cannot reserve pages {start_pfn:#x}-{end_pfn:#x}: {gap_pfn:#x} is not free"
            )
        pfn = start_pfn
        while pfn < end_pfn:
            block_start, block_end = self._unlist_at(pfn)
            self._list_new_range(end_pfn, block_end)
            self._list_new_range(block_start, start_pfn)
            pfn = block_end
        self.nr_free_pages -= max(0, end_pfn - start_pfn)
        if start_pfn < end_pfn:
            self.reserved = list(merged_ranges((*self.reserved, (start_pfn, end_pfn))))

    def release(self, start_pfn: int, end_pfn: int) -> None:
        """Free pages that were reserved; DoubleFree, and nothing changed, if one of them is not."""
        if not self.is_reserved(start_pfn, end_pfn):
            raise DoubleFree(f"pages {start_pfn:#x}-{end_pfn:#x} are not all reserved")
        index = bisect_right(self.reserved, start_pfn, key=_first_of) - 1
        start, end = self.reserved[index]
        rest = [(start, start_pfn), (end_pfn, end)]
        self.reserved[index : index + 1] = [(low, high) for low, high in rest if low < high]
        for pfn, order in reversed(aligned_blocks(start_pfn, end_pfn)):
            self._merge_in(pfn, order)

    def find_not_free(self, start_pfn: int, end_pfn: int) -> int | None:
        """Return the lowest page of a range that is not free, or None if all are."""
        pfn = start_pfn
        while pfn < end_pfn:
            order = self._listed_order_at(pfn)
            index = self._untouched_index_at(pfn) if order is None else None
            if order is not None:
                pfn = align_down(pfn, 1 << order) + (1 << order)
            elif index is not None:
                pfn = self.untouched[index][1]
            else:
                return pfn
        return None

    def is_reserved(self, start_pfn: int, end_pfn: int) -> bool:
        """Say whether all pages of a range, at least one, are reserved."""
        index = bisect_right(self.reserved, start_pfn, key=_first_of) - 1
        return index >= 0 and start_pfn < end_pfn <= self.reserved[index][1]

    def free_ranges(self) -> tuple[PfnRange, ...]:
        """Return all free memory as ascending ranges, neighbours joined."""
        ranges = list(self.untouched)
        for order, blocks in enumerate(self.free_lists):
            ranges.extend((pfn, pfn + (1 << order)) for pfn in blocks)
        return merged_ranges(ranges)

    def dump(self) -> BuddyState:
        """Return the whole state as builtin types."""
        return {
            "memory": list(self.memory),
            "free_lists": [list(blocks) for blocks in self.free_lists],
            "untouched": list(self.untouched),
            "reserved": list(self.reserved),
            "allocated": list(self.allocated.items()),
        }

    @classmethod
    def load(cls, state: BuddyState) -> Buddy:
        """Return a Buddy in the state that dump() described."""
        buddy = cls(memory=_as_ranges(state["memory"]))
        buddy.free_lists = [OrderedDict.fromkeys(blocks) for blocks in state["free_lists"]]
        buddy.untouched = list(_as_ranges(state["untouched"]))
        buddy.reserved = list(_as_ranges(state["reserved"]))
        buddy.allocated = dict(state["allocated"])
        buddy.nr_free_pages = sum(end - start for start, end in buddy.free_ranges())
        return buddy

    def check_invariants(self) -> None:
        """Recompute all from the lists; raise InvariantBroken for the first disagreement."""
        for order, blocks in enumerate(self.free_lists):
            for pfn in blocks:
                _check_aligned(pfn, order, "free")
                if order < MAX_PAGE_ORDER and pfn ^ (1 << order) in blocks:
                    raise InvariantBroken(
                        f"free blocks {pfn:#x} and its buddy of order {order} not merged"
                    )
        for pfn, order in self.allocated.items():
            _check_aligned(pfn, order, "allocated")
        for start, end in self.untouched:
            if start % MAX_BLOCK_PAGES or end % MAX_BLOCK_PAGES or start >= end:
                raise InvariantBroken(f"untouched range {start:#x}-{end:#x} is not of whole blocks")
        if self.untouched != sorted(self.untouched):
            raise InvariantBroken("untouched ranges are not ascending")
        self._check_covers_memory()

    def _check_covers_memory(self) -> None:
        free = [
            (pfn, pfn + (1 << order))
            for order, blocks in enumerate(self.free_lists)
            for pfn in blocks
        ]
        free += self.untouched
        nr_free_pages = sum(end - start for start, end in free)
        if nr_free_pages != self.nr_free_pages:
            raise InvariantBroken(
                f"{nr_free_pages} pages on free lists, {self.nr_free_pages} counted"
            )
        taken = [(pfn, pfn + (1 << order)) for pfn, order in self.allocated.items()]
        pieces = sorted(free + taken + self.reserved)
        for (_, end), (start, _) in pairwise(pieces):
            if start < end:
                raise InvariantBroken(f"page {start:#x} belongs to two blocks")
        if merged_ranges(pieces) != self.memory:
            raise InvariantBroken(
                "free, allocated and reserved blocks do not make up the zone's memory"
            )

    def _list_new_range(self, start_pfn: int, end_pfn: int) -> None:
        """List a free range, lowest block at the head; none of its blocks has a free buddy."""
        whole_start, whole_end = (
            align_up(start_pfn, MAX_BLOCK_PAGES),
            align_down(end_pfn, MAX_BLOCK_PAGES),
        )
        if whole_start < whole_end:
            insort(self.untouched, (whole_start, whole_end))
            pieces = aligned_blocks(start_pfn, whole_start) + aligned_blocks(whole_end, end_pfn)
        else:
            pieces = aligned_blocks(start_pfn, end_pfn)
        for pfn, order in reversed(pieces):
            self.free_lists[order][pfn] = None

    def _take_untouched(self) -> int:
        start, end = self.untouched[0]
        if start + MAX_BLOCK_PAGES == end:
            del self.untouched[0]
        else:
            self.untouched[0] = (start + MAX_BLOCK_PAGES, end)
        return start

    def _merge_in(self, pfn: int, order: int) -> None:
        self.nr_free_pages += 1 << order
        while order < MAX_PAGE_ORDER:
            buddy_pfn = pfn ^ (1 << order)
            if buddy_pfn not in self.free_lists[order]:
                break
            del self.free_lists[order][buddy_pfn]
            pfn = min(pfn, buddy_pfn)
            order += 1
        self.free_lists[order][pfn] = None
        if self.keeps_halves and self._is_likely_to_merge(pfn, order):
            self.free_lists[order].move_to_end(pfn, last=False)

    def _is_likely_to_merge(self, pfn: int, order: int) -> bool:
        """Say whether only this block's buddy is missing for a block two orders higher.

        Source: buddy_merge_likely(), Linux 6.1.
        """
        if order >= MAX_PAGE_ORDER - 1:
            return False
        higher_pfn = align_down(pfn, 2 << order)
        return higher_pfn ^ (2 << order) in self.free_lists[order + 1]

    def _listed_order_at(self, pfn: int) -> int | None:
        """Return the order of the listed free block that holds page pfn."""
        for order, blocks in enumerate(self.free_lists):
            if align_down(pfn, 1 << order) in blocks:
                return order
        return None

    def _untouched_index_at(self, pfn: int) -> int | None:
        """Return which untouched range holds page pfn."""
        index = bisect_right(self.untouched, pfn, key=_first_of) - 1
        return index if index >= 0 and pfn < self.untouched[index][1] else None

    def _unlist_at(self, pfn: int) -> PfnRange:
        """Take the free block or untouched range that holds page pfn off its list; return it."""
        order = self._listed_order_at(pfn)
        if order is not None:
            block_pfn = align_down(pfn, 1 << order)
            del self.free_lists[order][block_pfn]
            return block_pfn, block_pfn + (1 << order)
        index = self._untouched_index_at(pfn)
        if index is None:
            raise InvariantBroken(f"page {pfn:#x} was free a moment ago")
        return self.untouched.pop(index)


def aligned_blocks(start_pfn: int, end_pfn: int) -> list[tuple[int, int]]:
    """Cut a range into the largest aligned blocks, ascending: (pfn, order) each.

    Source: __free_pages_memory() in mm/memblock.c, Linux 6.1.
    """
    blocks: list[tuple[int, int]] = []
    while start_pfn < end_pfn:
        order = trailing_zeros(start_pfn | MAX_BLOCK_PAGES)
        order = min(order, (end_pfn - start_pfn).bit_length() - 1)
        blocks.append((start_pfn, order))
        start_pfn += 1 << order
    return blocks


def merged_ranges(ranges: tuple[PfnRange, ...] | list[PfnRange]) -> tuple[PfnRange, ...]:
    """Return ranges ascending, neighbours joined; ConfigError if one is empty or two overlap."""
    merged: list[PfnRange] = []
    for start, end in sorted(ranges):
        if start >= end:
            raise ConfigError(f"page range {start:#x}-{end:#x} is empty")
        if merged and start < merged[-1][1]:
            raise ConfigError(f"page range {start:#x}-{end:#x} overlaps the one before it")
        if merged and start == merged[-1][1]:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    return tuple(merged)


def _first_of(pages: PfnRange) -> int:
    return pages[0]


def _as_ranges(pairs: list[tuple[int, int]]) -> tuple[PfnRange, ...]:
    return tuple((start, end) for start, end in pairs)


def _check_aligned(pfn: int, order: int, what: str) -> None:
    if pfn % (1 << order):
        raise InvariantBroken(f"{what} block {pfn:#x} of order {order} is not aligned to its size")
