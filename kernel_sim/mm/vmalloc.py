"""vmalloc space: areas of kernel addresses, filled from both ends.

    start                                                                                      end
    |[a][b ]g[c]g →  alloc_area(): lowest hole                      ← get_vm_areas() [g1]   [g0] |
                     one guard page g after each                       congruent groups, no guard

A chunk of the per-CPU allocator needs one area per group, at the same distances as in the first
chunk: get_vm_areas() finds the highest base at which all of them are free together.

A freed area is not free yet: until purge() flushes the TLBs for all of them at once, it still
blocks its place. Source: mm/vmalloc.c, Linux 6.1: pcpu_get_vm_areas(), alloc_vmap_area(),
free_vmap_area_noflush().
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import Final, TypedDict

from kernel_sim.alignment import align_down, align_up, is_power_of_two
from kernel_sim.errors import DoubleFree, InvariantBroken, KernelBug
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES

VMALLOC_START: Final = 0xFFFF_C900_0000_0000
VMALLOC_END: Final = 0xFFFF_E8FF_FFFF_FFFF
"""Last address of the space with 4-level page tables: inclusive, as the kernel writes it."""

_LAZY_BYTES_PER_CPU_BIT = 32 << 20


class VmallocState(TypedDict):
    """A VmallocSpace as builtin types; an area is (start, size_bytes, kind, caller)."""

    start: int
    end: int
    lazy_max_pages: int
    areas: list[tuple[int, int, str, str]]
    lazy: list[int]


@dataclass(frozen=True, slots=True)
class VmArea:
    """size_bytes from start on, a guard page included; caller is a kernel function."""

    start: int
    size_bytes: int
    kind: str
    caller: str

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

    end is inclusive. lazy_max_pages: what lazy_max_pages_of() says for the CPUs online.
    """

    start: int = VMALLOC_START
    end: int = VMALLOC_END
    lazy_max_pages: int = 1 * (_LAZY_BYTES_PER_CPU_BIT >> PAGE_SHIFT)
    areas: list[VmArea] = field(init=False, default_factory=list)
    lazy: dict[int, None] = field(init=False, default_factory=dict)
    _starts: list[int] = field(init=False, default_factory=list, repr=False)

    @property
    def nr_lazy_pages(self) -> int:
        """Pages of address space that are freed but not yet purged."""
        return sum(self.area_of(start).size_bytes for start in self.lazy) >> PAGE_SHIFT

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
        if not inside or any(self._find_conflict(at, at + size) for at, size in pairs):
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
        if self.nr_lazy_pages > self.lazy_max_pages:
            self.purge()

    def purge(self) -> tuple[VmArea, ...]:
        """Make all lazily freed areas free and return them; the caller flushes the TLBs."""
        purged = tuple(area for area in self.areas if area.start in self.lazy)
        self.areas = [area for area in self.areas if area.start not in self.lazy]
        self._starts = [area.start for area in self.areas]
        self.lazy.clear()
        return purged

    def alloc_area(
        self, size_bytes: int, align: int, caller: str, *, kind: str = "vmalloc"
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
            self._insert(VmArea(start, size_bytes, kind, caller))
        return start

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
            "areas": [(area.start, area.size_bytes, area.kind, area.caller) for area in self.areas],
            "lazy": list(self.lazy),
        }

    @classmethod
    def load(cls, state: VmallocState) -> VmallocSpace:
        """Return a VmallocSpace in the state that dump() described."""
        space = cls(state["start"], state["end"], state["lazy_max_pages"])
        space.areas = [VmArea(*fields) for fields in state["areas"]]
        space._starts = [area.start for area in space.areas]
        space.lazy = dict.fromkeys(state["lazy"])
        return space

    def check_invariants(self) -> None:
        """Raise InvariantBroken unless areas are whole pages, ascending, disjoint and inside."""
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
        for start in self.lazy:
            if start not in self._starts:
                raise InvariantBroken(f"lazily freed area {start:#x} is not on the list of areas")

    def _insert(self, area: VmArea) -> None:
        index = bisect_left(self._starts, area.start)
        self.areas.insert(index, area)
        self._starts.insert(index, area.start)

    def _find_conflict(self, start: int, end: int) -> VmArea | None:
        """Return the lowest area that overlaps start … end-1."""
        index = bisect_right(self._starts, start)
        if index and self.areas[index - 1].end > start:
            return self.areas[index - 1]
        if index < len(self.areas) and self._starts[index] < end:
            return self.areas[index]
        return None

    def _find_base(
        self, offsets: tuple[int, ...], sizes: tuple[int, ...], align: int
    ) -> int | None:
        """Return the highest aligned base at which all areas are free.

        Every area in the way forces the base down to where the wanted area ends below it; that
        never skips a fitting base. It is found when all areas in turn forced nothing.
        """
        last_end = max(map(sum, zip(offsets, sizes, strict=True)))
        lowest_base = align_up(self.start, align)
        base = align_down(self.end, align) - last_end
        nr_fitting, index = 0, 0
        while nr_fitting < len(offsets):
            if base < lowest_base:
                return None
            start = base + offsets[index]
            conflict = self._find_conflict(start, start + sizes[index])
            if conflict is None:
                nr_fitting += 1
                index = (index + 1) % len(offsets)
            else:
                base = align_down(conflict.start, align) - sizes[index] - offsets[index]
                nr_fitting = 0
        return base if base >= lowest_base else None

    def _find_lowest(self, size_bytes: int, align: int) -> int | None:
        candidate = align_up(self.start, align)
        for area in self.areas:
            if candidate + size_bytes <= area.start:
                break
            candidate = max(candidate, align_up(area.end, align))
        return candidate if candidate + size_bytes <= self.end else None


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
