"""Per-CPU page lists of one zone: single pages kept at hand, so that the zone is seldom asked.

                      head                               tail
    cpu 0   take ◄──   7f   80   81   82   …              31    ──► `batch` pages back to the
            free ──►                                                 buddy once `high` are here
    cpu 1   (nothing: a CPU that never asked costs nothing)

An empty list is filled with `batch` pages from the buddy allocator, lowest end first out.

    profile   lists of a CPU   size
    2.6.20    hot, cold        from the zone's present pages; GFP_COLD asks for the cold one
    modern    one              batch from the managed pages, high from the low watermark, shared by
                               the node's online CPUs; a run of frees without a request doubles
                               what goes back at once

Only order 0 is kept here. The lists that 6.1 has for small orders and for each migrate type are not
modelled. For the buddy allocator a page on a list is an allocated block of order 0.

Source: mm/page_alloc.c, 2.6.20: zone_batchsize(), buffered_rmqueue(), free_hot_cold_page();
Linux 6.1: zone_batchsize(), zone_highsize(), __rmqueue_pcplist(), free_unref_page_commit(),
nr_pcp_free().
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from kernel_sim.errors import DoubleFree, InvariantBroken
from kernel_sim.mm.buddy import Buddy
from kernel_sim.mm.page import PAGE_SIZE_BYTES
from kernel_sim.mm.watermarks import PROFILE_2_6_20

GFP_COLD: Final = 1 << 28
"""A cache-cold page is wanted. 2.6.20 has such a bit and 6.1 has not; this place, outside 6.1's
bits, is ours."""

HOT: Final = 0
COLD: Final = 1

_BATCH_BYTES_MAX_2_6_20 = 512 << 10
_BATCH_BYTES_MAX = 1 << 20

CpuListState = tuple[list[int], int]
"""Pages from head to tail, and the free factor."""
PageListsState = list[tuple[int, list[CpuListState]]]
"""By CPU, ascending: its lists. CPUs without pages and factor are left out."""


@dataclass(frozen=True, slots=True)
class ListSize:
    """high_pages: at so many a list is shortened; batch_pages: moved at a time."""

    high_pages: int
    batch_pages: int


@dataclass(slots=True)
class CpuList:
    """One list of one CPU, its head on the left; free_factor: doublings of the next return."""

    pages: deque[int] = field(default_factory=deque)
    free_factor: int = 0


@dataclass(slots=True)
class PageLists:
    """The lists of all CPUs over one zone's buddy allocator; sizes: by list, hot before cold."""

    buddy: Buddy
    profile: str
    sizes: tuple[ListSize, ...] = ()
    by_cpu: dict[int, tuple[CpuList, ...]] = field(default_factory=dict)
    cpu_of_page: dict[int, int] = field(default_factory=dict)

    @property
    def nr_pages(self) -> int:
        """Pages on all lists of all CPUs."""
        return len(self.cpu_of_page)

    def count(self, cpu: int, kind: int = HOT) -> int:
        """Return the pages on a CPU's list, as /proc/zoneinfo shows it."""
        return len(self.by_cpu[cpu][kind].pages) if cpu in self.by_cpu else 0

    def alloc(self, cpu: int, kind: int = HOT) -> int | None:
        """Take a page from the head of a CPU's list, filling it first if it is empty.

        Returns its pfn, or None if the zone has none left.
        """
        cpu_list = self._lists_of(cpu)[kind]
        cpu_list.free_factor >>= 1
        if not cpu_list.pages:
            self._refill(cpu, cpu_list, self.sizes[kind].batch_pages)
            if not cpu_list.pages:
                return None
        pfn = cpu_list.pages.popleft()
        del self.cpu_of_page[pfn]
        return pfn

    def free(self, pfn: int, cpu: int, kind: int = HOT) -> None:
        """Put a page at the head of a CPU's list; a list that has reached `high` is shortened.

        Raises DoubleFree if nobody holds the page as a block of order 0.
        """
        self.check_held(pfn)
        self.buddy.check_held(pfn, 0)
        cpu_list = self._lists_of(cpu)[kind]
        cpu_list.pages.appendleft(pfn)
        self.cpu_of_page[pfn] = cpu
        if len(cpu_list.pages) >= self.sizes[kind].high_pages:
            self._give_back(cpu_list, self._nr_to_give_back(cpu_list, self.sizes[kind]))

    def check_held(self, pfn: int) -> None:
        """Raise DoubleFree if page pfn lies on a list."""
        if pfn in self.cpu_of_page:
            raise DoubleFree(
                f"page {pfn:#x} freed: it is free already, on a list of cpu {self.cpu_of_page[pfn]}"
            )

    def drain_cpu(self, cpu: int) -> int:
        """Give all pages of a CPU's lists back to the buddy allocator; return how many.

        The free factor stays: it is of the CPU's habits, not of the pages.
        Source: drain_pages_zone(), Linux 6.1.
        """
        nr_drained = 0
        for cpu_list in self.by_cpu.get(cpu, ()):
            nr_drained += len(cpu_list.pages)
            self._give_back(cpu_list, len(cpu_list.pages))
        return nr_drained

    def drain_all(self) -> int:
        """Drain the lists of every CPU, lowest number first; return how many pages came back."""
        return sum(self.drain_cpu(cpu) for cpu in sorted(self.by_cpu))

    def dump(self) -> PageListsState:
        """Return the lists as builtin types; sizes are computed anew by whoever loads them."""
        return [
            (cpu, [(list(one.pages), one.free_factor) for one in lists])
            for cpu, lists in sorted(self.by_cpu.items())
            if any(one.pages or one.free_factor for one in lists)
        ]

    def load(self, state: PageListsState) -> None:
        """Replace all lists by those that dump() described."""
        self.by_cpu = {
            cpu: tuple(CpuList(deque(pages), free_factor) for pages, free_factor in lists)
            for cpu, lists in state
        }
        self.cpu_of_page = {
            pfn: cpu for cpu, lists in self.by_cpu.items() for one in lists for pfn in one.pages
        }

    def check_invariants(self) -> None:
        """Raise InvariantBroken if a page is on two lists, not accounted, or not the lists' own."""
        seen: dict[int, int] = {}
        for cpu, lists in self.by_cpu.items():
            for one in lists:
                for pfn in one.pages:
                    if pfn in seen:
                        raise InvariantBroken(
                            f"page {pfn:#x} is on lists of cpu {seen[pfn]} and cpu {cpu}"
                        )
                    seen[pfn] = cpu
                    if self.buddy.allocated.get(pfn) != 0:
                        raise InvariantBroken(
                            f"page {pfn:#x} on a list of cpu {cpu} is not the zone's to give"
                        )
        if seen != self.cpu_of_page:
            raise InvariantBroken(
                f"{len(seen)} pages on CPUs' lists, {len(self.cpu_of_page)} accounted otherwise"
            )

    def _lists_of(self, cpu: int) -> tuple[CpuList, ...]:
        lists = self.by_cpu.get(cpu)
        if lists is None:
            lists = self.by_cpu[cpu] = tuple(CpuList() for _ in self.sizes)
        return lists

    def _refill(self, cpu: int, cpu_list: CpuList, batch_pages: int) -> None:
        """Source: rmqueue_bulk()."""
        for _ in range(batch_pages):
            pfn = self.buddy.alloc(0)
            if pfn is None:
                return
            cpu_list.pages.append(pfn)
            self.cpu_of_page[pfn] = cpu

    def _nr_to_give_back(self, cpu_list: CpuList, size: ListSize) -> int:
        if self.profile == PROFILE_2_6_20:
            return size.batch_pages
        if size.high_pages < size.batch_pages:
            return 1
        most_pages = size.high_pages - size.batch_pages
        nr_pages = size.batch_pages << cpu_list.free_factor
        if nr_pages < most_pages:
            cpu_list.free_factor += 1
        return max(size.batch_pages, min(nr_pages, most_pages))

    def _give_back(self, cpu_list: CpuList, nr_pages: int) -> None:
        """Free pages from the tail. Source: free_pcppages_bulk()."""
        for _ in range(min(nr_pages, len(cpu_list.pages))):
            pfn = cpu_list.pages.pop()
            del self.cpu_of_page[pfn]
            self.buddy.free(pfn, 0)


def list_sizes(
    profile: str, *, nr_pages: int, low_pages: int, nr_cpus: int
) -> tuple[ListSize, ...]:
    """Return the sizes of a CPU's lists.

    nr_pages: present pages of the zone (2.6.20) or managed ones (modern); low_pages: its low
    watermark; nr_cpus: online CPUs of its node, or of the machine if the node has none.
    """
    if profile == PROFILE_2_6_20:
        batch_pages = _batch(nr_pages, _BATCH_BYTES_MAX_2_6_20)
        return (
            ListSize(6 * batch_pages, max(1, batch_pages)),
            ListSize(2 * batch_pages, max(1, batch_pages // 2)),
        )
    batch_pages = max(1, _batch(nr_pages, _BATCH_BYTES_MAX))
    return (ListSize(max(low_pages // max(nr_cpus, 1), 4 * batch_pages), batch_pages),)


def _batch(nr_pages: int, batch_bytes_max: int) -> int:
    """Return one less than a power of two: 2^n pages at a time would favour one cache colour.

    Source: zone_batchsize().
    """
    batch_pages = max(1, min(nr_pages // 1024, batch_bytes_max // PAGE_SIZE_BYTES) // 4)
    return (1 << (batch_pages + batch_pages // 2).bit_length() - 1) - 1
