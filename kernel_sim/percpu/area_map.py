"""A chunk's area map: signed sizes that cover the unit in order, free ones positive, used ones negative.

    alloc 10, align 4    [-10 65526]                  the first that fits, by offset
    alloc  8, align 8    [-10 6 -8 65512]             a gap of 4 bytes or more is free again
    free the 10          [16 -8 65512]                what is free on either side is merged

A gap of 1 to 3 bytes before an area goes to the area before it, a rest of 1 to 3 bytes behind it stays
inside; freeing gives all of that back. contig_hint is never less than the largest free entry: it is exact
only after a scan that reached the end, and may be stale otherwise.

The kernel walks an array; here the starts of free entries are kept apart, so that a scan meets nothing
else. Two free entries are never neighbours: each is merged as it comes to be. So the kernel's other way
to be rid of a gap, to give it to a free entry before, has no occasion.
Source: pcpu_alloc_area(), pcpu_free_area() and pcpu_need_to_extend(), Linux 2.6.30 to 2.6.34 mm/percpu.c.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from kernel_sim.errors import DoubleFree, InvariantBroken

SMALL_BYTES: Final = 4
"""sizeof(int): anything less is no entry of its own."""
FIRST_CAPACITY: Final = 16
"""PCPU_DFL_MAP_ALLOC."""
NEW_ENTRIES_MAX: Final = 2
"""An allocation adds a gap and a rest at most."""


@dataclass(slots=True)
class AreaMap:
    """The map of one chunk; capacity: entries that its array has room for, 0 where there is none yet."""

    sizes: dict[int, int]  # start of an entry: its bytes, negative if used
    starts: list[int]  # of all entries, ascending
    free_starts: list[int]  # of the free ones
    free_bytes: int
    contig_hint: int
    capacity: int = FIRST_CAPACITY
    changed: bool = field(default=True, compare=False)

    @classmethod
    def of_entries(cls, entries: list[int], capacity: int = FIRST_CAPACITY) -> AreaMap:
        """Return a map with these entries, whose hint is exact."""
        starts: list[int] = []
        at = 0
        for entry in entries:
            starts.append(at)
            at += abs(entry)
        free = [entry for entry in entries if entry > 0]
        return cls(
            sizes=dict(zip(starts, entries, strict=True)),
            starts=starts,
            free_starts=[start for start, size in zip(starts, entries, strict=True) if size > 0],
            free_bytes=sum(free),
            contig_hint=max(free, default=0),
            capacity=capacity,
        )

    @property
    def used_entries(self) -> int:
        """map_used: how many entries there are in the array."""
        return len(self.starts) if self.capacity else 0

    @property
    def end_bytes(self) -> int:
        """The first offset behind the last entry."""
        return self.starts[-1] + abs(self.sizes[self.starts[-1]]) if self.starts else 0

    def entries(self) -> list[int]:
        """Return the signed sizes in order."""
        return [self.sizes[start] for start in self.starts]

    def areas(self) -> Iterator[tuple[int, int]]:
        """Yield (offset, bytes) of every used entry, ascending."""
        for start in self.starts:
            if self.sizes[start] < 0:
                yield start, -self.sizes[start]

    def used_bytes_at(self, offset_bytes: int) -> int:
        """Return the bytes of the used entry that starts there, 0 if none does."""
        return max(-self.sizes.get(offset_bytes, 0), 0)

    # -- room in the array -------------------------------------------------------------------------

    def wanted_capacity(self) -> int:
        """Return the capacity to grow to before an allocation, 0 if there is room for what it adds.

        Source: pcpu_need_to_extend(), Linux 2.6.31.
        """
        needed = len(self.starts) + NEW_ENTRIES_MAX
        if self.capacity >= needed:
            return 0
        capacity = FIRST_CAPACITY
        while capacity < needed:
            capacity *= 2
        return capacity

    def extend(self, capacity: int) -> None:
        """Take the larger array, unless somebody else was faster."""
        if capacity > self.capacity:
            self.capacity = capacity
            self.changed = True

    def double_to_fit(self) -> None:
        """Grow to what an allocation has made of it. Source: pcpu_split_block(), February 2009."""
        while self.capacity < len(self.starts):
            self.capacity *= 2
            self.changed = True

    # -- areas -------------------------------------------------------------------------------------

    def alloc(self, size_bytes: int, align_bytes: int) -> int | None:
        """Take the first place that fits and return its offset; None, and an exact hint, without one."""
        self.changed = True
        largest = 0
        mask = align_bytes - 1
        for index, start in enumerate(self.free_starts):
            found = self.sizes[start]
            gap = (start + mask & ~mask) - start
            if found >= gap + size_bytes:
                return self._take(index, gap, size_bytes, largest)
            if found > largest:
                largest = found
        self.contig_hint = largest
        return None

    def _take(self, index: int, gap: int, size_bytes: int, largest: int) -> int:
        """Split the free entry at an index; largest: of those that the scan passed over."""
        start = self.free_starts.pop(index)
        at = bisect_left(self.starts, start)
        is_last = at + 1 == len(self.starts)
        room = self.sizes.pop(start) - gap
        offset = start + gap
        if gap >= SMALL_BYTES:
            self.sizes[start] = gap
            self.free_starts.insert(index, start)
            index += 1
            at += 1
            self.starts.insert(at, offset)
            largest = max(largest, gap)
        elif gap:
            self.sizes[self.starts[at - 1]] -= gap
            self.free_bytes -= gap
            self.starts[at] = offset
        rest = room - size_bytes
        if rest >= SMALL_BYTES:
            behind = offset + size_bytes
            self.sizes[behind] = rest
            self.starts.insert(at + 1, behind)
            self.free_starts.insert(index, behind)
            room = size_bytes
            largest = max(largest, rest)
        self.contig_hint = largest if is_last else max(self.contig_hint, largest)
        self.free_bytes -= room
        self.sizes[offset] = -room
        return offset

    def free(self, offset_bytes: int) -> None:
        """Give the area at an offset back and merge it with what is free beside it.

        Raises DoubleFree if no used area starts there.
        """
        size = self.used_bytes_at(offset_bytes)
        if not size:
            raise DoubleFree(f"no area in use starts at offset {offset_bytes}")
        self.changed = True
        self.free_bytes += size
        at = bisect_left(self.starts, offset_bytes)
        start = offset_bytes
        if at + 1 < len(self.starts) and self.sizes[self.starts[at + 1]] > 0:
            behind = self.starts.pop(at + 1)
            size += self.sizes.pop(behind)
            del self.free_starts[bisect_left(self.free_starts, behind)]
        if at and self.sizes[self.starts[at - 1]] > 0:
            del self.starts[at], self.sizes[start]
            start = self.starts[at - 1]
            size += self.sizes[start]
        else:
            insort(self.free_starts, start)
        self.sizes[start] = size
        self.contig_hint = max(self.contig_hint, size)

    # -- checking ----------------------------------------------------------------------------------

    def check_invariants(self) -> None:
        """Raise InvariantBroken unless entries lie end to end and all that is kept beside them agrees."""
        at, was_free = 0, False
        for start in self.starts:
            size = self.sizes.get(start, 0)
            if start != at or not size:
                raise InvariantBroken(f"the area map has a hole at offset {at}")
            if size > 0 and was_free:
                raise InvariantBroken(f"two free entries of an area map meet at offset {start}")
            at, was_free = at + abs(size), size > 0
        free = {start: size for start, size in self.sizes.items() if size > 0}
        if len(self.sizes) != len(self.starts) or sorted(free) != self.free_starts:
            raise InvariantBroken("the starts of an area map are not those of its entries")
        if self.free_bytes != sum(free.values()):
            raise InvariantBroken(f"{sum(free.values())} bytes are free, counted {self.free_bytes}")
        if self.contig_hint < max(free.values(), default=0):
            raise InvariantBroken(f"contig_hint {self.contig_hint} is below the largest free entry")
        if self.capacity and self.capacity < len(self.starts):
            raise InvariantBroken(f"{len(self.starts)} entries in room for {self.capacity}")
