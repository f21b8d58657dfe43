"""vmalloc space: areas of kernel addresses, filled from both ends.

    start                                                                                      end
    |[a][b ]g[c]g →  alloc_area(): lowest hole                      ← get_vm_areas() [g1]   [g0] |
                     one guard page g after each                       congruent groups, no guard

A chunk of the per-CPU allocator needs one area per group, at the same distances as in the first
chunk: get_vm_areas() finds the highest base at which all of them are free together.

A freed area is not free yet: until purge() lets go of all of them at once, it still blocks its
place. TLBs that may still know the purged addresses are flushed by whoever caused the purge:
take_purged() tells which addresses. Nothing here steps over all areas: the holes between them are
kept too (address_holes.py). Source: mm/vmalloc.c, Linux 6.1: pcpu_get_vm_areas(), alloc_vmap_area(),
free_vmap_area_noflush().
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, TypedDict

from kernel_sim.alignment import align_down, align_up, is_power_of_two
from kernel_sim.errors import ConfigError, DoubleFree, InvariantBroken, KernelBug
from kernel_sim.mm.address_holes import AddressHoles
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES

VMALLOC_START: Final = 0xFFFF_C900_0000_0000
VMALLOC_END: Final = 0xFFFF_E8FF_FFFF_FFFF
"""Last address of the space with 4-level page tables: inclusive, as the kernel writes it."""

_LAZY_BYTES_PER_CPU_BIT = 32 << 20


class VmallocState(TypedDict):
    """A VmallocSpace as builtin types; an area is (start, size_bytes, kind, caller), and of one that
    has any of them also (…, nr_pages, phys).
    """

    start: int
    end: int
    lazy_max_pages: int
    areas: list[tuple[int, int, str, str] | tuple[int, int, str, str, int, int]]
    lazy: list[int]


@dataclass(frozen=True, slots=True)
class VmArea:
    """size_bytes from start on, a guard page included; caller is a kernel function.

    nr_pages: pages that belong to the area itself, as those of vmalloc() do. phys: the physical
    address that it maps, 0 if it maps none of its own.
    """

    start: int
    size_bytes: int
    kind: str
    caller: str
    nr_pages: int = 0
    phys: int = 0

    def dump(self) -> tuple[int, int, str, str] | tuple[int, int, str, str, int, int]:
        """Return the area as builtin types, its last two facts only if it has them."""
        place = (self.start, self.size_bytes, self.kind, self.caller)
        return (*place, self.nr_pages, self.phys) if self.nr_pages or self.phys else place

    @property
    def end(self) -> int:
        """The address after the last one."""
        return self.start + self.size_bytes


def lazy_max_pages_of(nr_online_cpus: int) -> int:
    """Return how many lazily freed pages are put up with. Source: lazy_max_pages(), 6.1."""
    return nr_online_cpus.bit_length() * (_LAZY_BYTES_PER_CPU_BIT >> PAGE_SHIFT)


@dataclass(slots=True)
class VmallocSpace:
    """Areas in ascending order; `lazy` is the ordered set of starts of those freed but not yet
    purged.

    end is inclusive. lazy_max_pages: what lazy_max_pages_of() says for the CPUs online. version
    grows with every change of the areas; it is not part of the state.
    """

    start: int = VMALLOC_START
    end: int = VMALLOC_END
    lazy_max_pages: int = 1 * (_LAZY_BYTES_PER_CPU_BIT >> PAGE_SHIFT)
    areas: list[VmArea] = field(init=False, default_factory=list)
    lazy: dict[int, None] = field(init=False, default_factory=dict)
    version: int = field(init=False, default=0, compare=False)
    _starts: list[int] = field(init=False, default_factory=list, repr=False)
    _holes: AddressHoles = field(init=False, repr=False)
    _lazy_bytes: int = field(init=False, default=0, repr=False)
    _purged: tuple[int, int] | None = field(init=False, default=None, repr=False)

    def __post_init__(self) -> None:
        self._holes = AddressHoles.between(self.start, self.end + 1, ())

    @property
    def nr_lazy_pages(self) -> int:
        """Pages of address space that are freed but not yet purged."""
        return self._lazy_bytes >> PAGE_SHIFT

    def find_area(self, virt: int) -> VmArea | None:
        """Return the area that holds virt, lazily freed or not."""
        index = bisect_right(self._starts, virt) - 1
        return self.areas[index] if index >= 0 and virt < self.areas[index].end else None

    def area_of(self, start: int) -> VmArea:
        """Return the area that starts at this address; KernelBug if none does."""
        area = self.find_area(start)
        if area is None or area.start != start:
            raise KernelBug(f"no vmalloc area starts at {start:#x}")
        return area

    def get_vm_areas(
        self,
        offsets: tuple[int, ...],
        sizes: tuple[int, ...],
        align: int,
        caller: str = "pcpu_get_vm_areas",
    ) -> tuple[int, ...] | None:
        """Take congruent areas [base + offset, + size) at the highest base; return their addresses.

        None if there is no such base, even after a purge. Raises KernelBug if align is no power of
        two of whole pages, an offset or size is not aligned to it, or two areas would overlap.
        """
        _check_congruent(offsets, sizes, align)
        base = self._find_base(offsets, sizes, align)
        if base is None and self.lazy:
            self.purge()
            base = self._find_base(offsets, sizes, align)
        if base is None:
            return None
        for offset_bytes, size_bytes in zip(offsets, sizes, strict=True):
            self._insert(VmArea(base + offset_bytes, size_bytes, "vmalloc", caller))
        return tuple(base + offset_bytes for offset_bytes in offsets)

    def next_base(
        self, offsets: tuple[int, ...], sizes: tuple[int, ...], align: int, *, purged: bool = False
    ) -> int | None:
        """Return the base that get_vm_areas() would take; with purged, if it purged before."""
        if not purged or not self.lazy:
            return self._find_base(offsets, sizes, align)
        after = VmallocSpace.load(self.dump())
        after.purge()
        return after._find_base(offsets, sizes, align)

    def take_at(self, starts: tuple[int, ...], sizes: tuple[int, ...]) -> tuple[int, ...] | None:
        """Take the areas at these very addresses, as a log has them; None if one is not free."""
        inside = all(
            self.start <= start and start + size - 1 <= self.end
            for start, size in zip(starts, sizes, strict=True)
        )
        pairs = tuple(zip(starts, sizes, strict=True))
        if not inside or not all(self._holes.is_free(at, at + size) for at, size in pairs):
            return None
        if any(at + size > above for (at, size), (above, _) in pairwise(sorted(pairs))):
            return None
        for start, size_bytes in pairs:
            self._insert(VmArea(start, size_bytes, "vmalloc", "pcpu_get_vm_areas"))
        return starts

    def free_vm_areas(self, bases: tuple[int, ...]) -> None:
        """Free the areas that start at these addresses, lazily; DoubleFree if one of them is not
        taken.

        Purges all lazily freed areas when they exceed lazy_max_pages.
        """
        for base in bases:
            area = self.find_area(base)
            if area is None or area.start != base or base in self.lazy:
                raise DoubleFree(f"no vmalloc area in use starts at {base:#x}")
            self.lazy[base] = None
            self._lazy_bytes += area.size_bytes
            self.version += 1
        if self.nr_lazy_pages > self.lazy_max_pages:
            self.purge()

    def purge(self) -> tuple[VmArea, ...]:
        """Make all lazily freed areas free and return them; the caller flushes the TLBs."""
        purged = tuple(self._remove(start) for start in sorted(self.lazy))
        if purged:
            start, end = self._purged or (purged[0].start, purged[-1].end)
            self._purged = min(start, purged[0].start), max(end, purged[-1].end)
        self.lazy.clear()
        self._lazy_bytes = 0
        return purged

    def take_purged(self) -> tuple[int, int] | None:
        """Return the range [start, end) of all that was purged since the last call, and forget it.

        It must be taken in the step of the purge, by whoever then flushes the TLBs.
        """
        purged, self._purged = self._purged, None
        return purged

    def alloc_area(
        self,
        size_bytes: int,
        align: int,
        caller: str,
        *,
        kind: str = "vmalloc",
        nr_pages: int = 0,
        phys: int = 0,
    ) -> int | None:
        """Take the lowest hole for size_bytes and a guard page; return its address, or None if none
        fits.

        size_bytes is rounded up to whole pages. Source: __get_vm_area_node(), Linux 6.1; where that
        prefers another hole because of the shape of its tree (align above one page), this takes the
        lowest.
        """
        if size_bytes <= 0:
            return None
        size_bytes = align_up(size_bytes, PAGE_SIZE_BYTES) + PAGE_SIZE_BYTES
        start = self._find_lowest(size_bytes, align)
        if start is None and self.lazy:
            self.purge()
            start = self._find_lowest(size_bytes, align)
        if start is not None:
            self._insert(VmArea(start, size_bytes, kind, caller, nr_pages, phys))
        return start

    def add_taken(self, start: int, size_bytes: int, caller: str) -> None:
        """Note an area that somebody else has from the start, its guard page included.

        Raises ConfigError if it is not of whole pages, not inside, or overlaps another one.
        """
        end = start + size_bytes
        name = f"area {start:#x}-{end:#x} of {caller or 'nobody'}"
        if size_bytes <= 0 or (start | size_bytes) % PAGE_SIZE_BYTES:
            raise ConfigError(f"vmalloc {name}: expected whole pages")
        if start < self.start or end > self.end + 1:
            raise ConfigError(
                f"vmalloc {name}: expected addresses in {self.start:#x}-{self.end + 1:#x}"
            )
        if not self._holes.is_free(start, end):
            raise ConfigError(f"vmalloc {name}: expected addresses that no other area has")
        self._insert(VmArea(start, size_bytes, "vmalloc", caller))

    def register_early(self, size_bytes: int, align: int, caller: str) -> int:
        """Take the lowest hole at boot, without a guard page; KernelBug if none fits.

        Source: vm_area_register_early(), Linux 6.1.
        """
        size_bytes = align_up(size_bytes, PAGE_SIZE_BYTES)
        start = self._find_lowest(size_bytes, align)
        if start is None:
            raise KernelBug(f"no room for {size_bytes} bytes in vmalloc space at boot")
        self._insert(VmArea(start, size_bytes, "vmalloc", caller))
        return start

    def dump(self) -> VmallocState:
        """Return the whole state as builtin types."""
        return {
            "start": self.start,
            "end": self.end,
            "lazy_max_pages": self.lazy_max_pages,
            "areas": [area.dump() for area in self.areas],
            "lazy": list(self.lazy),
        }

    @classmethod
    def load(cls, state: VmallocState) -> VmallocSpace:
        """Return a VmallocSpace in the state that dump() described."""
        space = cls(state["start"], state["end"], state["lazy_max_pages"])
        space.areas = [VmArea(*fields) for fields in state["areas"]]
        space._starts = [area.start for area in space.areas]
        space.lazy = dict.fromkeys(state["lazy"])
        space._lazy_bytes = sum(space.area_of(start).size_bytes for start in space.lazy)
        space._holes = AddressHoles.between(
            space.start, space.end + 1, ((area.start, area.end) for area in space.areas)
        )
        return space

    def check_invariants(self) -> None:
        """Raise InvariantBroken unless areas are whole pages, ascending, disjoint and inside, and
        what is kept beside them agrees.
        """
        lowest = self.start
        for area in self.areas:
            if area.start < lowest:
                raise InvariantBroken(f"vmalloc area {area.start:#x} begins before {lowest:#x}")
            if area.size_bytes <= 0 or (area.start | area.size_bytes) % PAGE_SIZE_BYTES:
                raise InvariantBroken(f"vmalloc area {area.start:#x} is not of whole pages")
            lowest = area.end
        if lowest > self.end + 1:
            raise InvariantBroken(
                f"vmalloc areas reach to {lowest:#x}, the space ends at {self.end:#x}"
            )
        if self._starts != [area.start for area in self.areas]:
            raise InvariantBroken("the vmalloc search keys disagree with the areas")
        area_of = dict(zip(self._starts, self.areas, strict=True))
        lazy_bytes = 0
        for start in self.lazy:
            if start not in area_of:
                raise InvariantBroken(f"lazily freed area {start:#x} is not on the list of areas")
            lazy_bytes += area_of[start].size_bytes
        if lazy_bytes != self._lazy_bytes:
            raise InvariantBroken(
                f"{lazy_bytes} bytes are lazily freed, {self._lazy_bytes} were counted"
            )
        self._holes.check_invariants()
        ends = ((area.start, area.end) for area in self.areas)
        if self._holes != AddressHoles.between(self.start, self.end + 1, ends):
            raise InvariantBroken("the vmalloc holes are not what the areas leave free")

    def _insert(self, area: VmArea) -> None:
        self._holes.take(area.start, area.end)
        index = bisect_left(self._starts, area.start)
        self.areas.insert(index, area)
        self._starts.insert(index, area.start)
        self.version += 1

    def _remove(self, start: int) -> VmArea:
        index = bisect_left(self._starts, start)
        del self._starts[index]
        area = self.areas.pop(index)
        self._holes.give(area.start, area.end)
        self.version += 1
        return area

    def _find_base(
        self, offsets: tuple[int, ...], sizes: tuple[int, ...], align: int
    ) -> int | None:
        """Return the highest aligned base at which all areas are free.

        Whatever is in an area's way begins where the hole below its start ends: the base goes down
        until the area ends there; that never skips a fitting base. It is found when all areas in
        turn forced nothing. The worst case is one step per hole that is too small.
        """
        last_end = max(map(sum, zip(offsets, sizes, strict=True)))
        lowest_base = align_up(self.start, align)
        base = align_down(self.end, align) - last_end
        nr_fitting, index = 0, 0
        while nr_fitting < len(offsets):
            if base < lowest_base:
                return None
            start = base + offsets[index]
            hole = self._holes.hole_from(start)
            if hole is None:
                return None
            if start + sizes[index] <= hole[1]:
                nr_fitting += 1
                index = (index + 1) % len(offsets)
            else:
                base = align_down(hole[1], align) - sizes[index] - offsets[index]
                nr_fitting = 0
        return base if base >= lowest_base else None

    def _find_lowest(self, size_bytes: int, align: int) -> int | None:
        """Return the lowest address; as in the areas' own search, the very last byte stays unused."""
        return self._holes.find_lowest(size_bytes, align, lowest=self.start, limit=self.end)


def _check_congruent(offsets: tuple[int, ...], sizes: tuple[int, ...], align: int) -> None:
    if not is_power_of_two(align) or align % PAGE_SIZE_BYTES:
        raise KernelBug(f"areas aligned to {align:#x}: expected a power of two of whole pages")
    if not offsets or len(offsets) != len(sizes) or min(sizes) <= 0:
        raise KernelBug(
            f"{len(offsets)} offsets and {len(sizes)} sizes do not make groups of areas"
        )
    previous_end = 0
    for offset_bytes, size_bytes in sorted(zip(offsets, sizes, strict=True)):
        if (offset_bytes | size_bytes) % align:
            raise KernelBug(f"area {offset_bytes:#x}+{size_bytes:#x} is not aligned to {align:#x}")
        if offset_bytes < previous_end:
            raise KernelBug(f"area at offset {offset_bytes:#x} overlaps the one before it")
        previous_end = offset_bytes + size_bytes
