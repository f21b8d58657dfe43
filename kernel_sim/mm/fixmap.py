"""The fixmap: addresses that are known when the kernel is built, counted down from the top.

    start                                                 end   top
    |  ◄── 3  |    2    |    1    |                         |  0: a hole, never mapped
              └ reserve_indices(2, "…") gives 1 and 2

An index is the name of a page of address space; what is behind it is decided with set_fixmap() and
can be changed at any time. What is mapped where stands in the page tables alone. Designs that want
some of these pages for themselves reserve a run of indices.
Source: arch/x86/include/asm/fixmap.h, native_set_fixmap(), Linux 6.1.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import NamedTuple, TypedDict

from kernel_sim.errors import ConfigError, InvariantBroken, KernelBug
from kernel_sim.mm.address_space import KernelAddressSpace
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES

FIRST_INDEX = 1  # 0 is the hole at the top


class FixmapRange(NamedTuple):
    """A run of indices and who reserved it."""

    first_index: int
    nr_pages: int
    name: str


class FixmapState(TypedDict):
    """A Fixmap as builtin types; a range is (first_index, nr_pages, name)."""

    start: int
    end: int
    ranges: list[tuple[int, int, str]]


@dataclass(slots=True)
class Fixmap:
    """Page addresses from start to end; end is inclusive, as in the kernel's own figures.

    ranges ascend and follow one another without a gap, the first from FIRST_INDEX on.
    """

    start: int
    end: int
    ranges: list[FixmapRange] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        if (self.start | self.end + 1) % PAGE_SIZE_BYTES or self.end <= self.start:
            raise ConfigError(
                f"fixmap {self.start:#x}-{self.end:#x}: expected whole pages, start below end"
            )

    @property
    def nr_pages(self) -> int:
        """Number of pages, which is also the highest index."""
        return (self.end + 1 - self.start) >> PAGE_SHIFT

    @property
    def nr_reserved_pages(self) -> int:
        """Pages that somebody reserved; the highest reserved index."""
        return self.ranges[-1].first_index + self.ranges[-1].nr_pages - 1 if self.ranges else 0

    def virt_of(self, index: int) -> int:
        """Return the address of an index; KernelBug if there is none.

        Source: __fix_to_virt().
        """
        if not FIRST_INDEX <= index <= self.nr_pages:
            raise KernelBug(f"fixmap index {index}: expected {FIRST_INDEX} to {self.nr_pages}")
        return self.end + 1 - (index << PAGE_SHIFT)

    def index_of(self, virt: int) -> int:
        """Return the index of the page that an address lies in; KernelBug if it is none of these.

        Source: __virt_to_fix().
        """
        if not self.start <= virt <= self.end:
            raise KernelBug(f"{virt:#x} is not in the fixmap {self.start:#x}-{self.end:#x}")
        return ((self.end - virt) >> PAGE_SHIFT) + FIRST_INDEX

    def find_range(self, index: int) -> FixmapRange | None:
        """Return the reserved range that an index is in, or None."""
        at = bisect_right(self.ranges, index, key=lambda each: each.first_index) - 1
        inside = at >= 0 and index < self.ranges[at].first_index + self.ranges[at].nr_pages
        return self.ranges[at] if inside else None

    def reserve_indices(self, nr_pages: int, name: str) -> int:
        """Reserve the next nr_pages indices and return the first one, which has the highest address.

        Raises ConfigError if not so many are left.
        """
        first = self.nr_reserved_pages + FIRST_INDEX
        left = self.nr_pages - self.nr_reserved_pages
        if not 0 < nr_pages <= left:
            raise ConfigError(
                f"fixmap {self.start:#x}-{self.end:#x}: {nr_pages} pages for {name}; "
                f"expected 1 to {left}, what is left"
            )
        self.ranges.append(FixmapRange(first, nr_pages, name))
        return first

    def set_fixmap(
        self,
        space: KernelAddressSpace,
        index: int,
        phys: int,
        flags: int,
        *,
        node: int = 0,
        cpu: int = 0,
    ) -> bool:
        """Map the page of an index to phys, in place of what was there; False without a table page.

        Raises KernelBug for an index that is not there or for half a page. The caller flushes the
        page from the TLBs.
        """
        virt = self.virt_of(index)
        if phys % PAGE_SIZE_BYTES:
            raise KernelBug(f"fixmap index {index} to {phys:#x}: expected a whole page")
        space.unmap_page(virt)
        return space.map_page(virt=virt, pfn=phys >> PAGE_SHIFT, flags=flags, node=node, cpu=cpu)

    def clear_fixmap(self, space: KernelAddressSpace, index: int) -> int | None:
        """Unmap the page of an index; return the physical address it had, or None if it had none."""
        pfn = space.unmap_page(self.virt_of(index))
        return None if pfn is None else pfn << PAGE_SHIFT

    def dump(self) -> FixmapState:
        """Return the whole state as builtin types."""
        return {
            "start": self.start,
            "end": self.end,
            "ranges": [(each.first_index, each.nr_pages, each.name) for each in self.ranges],
        }

    @classmethod
    def load(cls, state: FixmapState) -> Fixmap:
        """Return a Fixmap in the state that dump() described."""
        fixmap = cls(state["start"], state["end"])
        fixmap.ranges = [FixmapRange(*each) for each in state["ranges"]]
        return fixmap

    def check_invariants(self) -> None:
        """Raise InvariantBroken unless the reserved ranges follow one another inside the fixmap."""
        expected = FIRST_INDEX
        for each in self.ranges:
            if each.first_index != expected or each.nr_pages <= 0:
                raise InvariantBroken(
                    f"fixmap range {each.name}: {each.nr_pages} pages from index "
                    f"{each.first_index}, expected them from {expected} on"
                )
            expected += each.nr_pages
        if expected - FIRST_INDEX > self.nr_pages:
            raise InvariantBroken(
                f"fixmap indices up to {expected - 1} are reserved, it has {self.nr_pages} pages"
            )
