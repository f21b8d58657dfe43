"""The holes between areas of address space: where one fits, found without stepping over the areas.

    areas   [a][b]      [c][d][e]   [f]           sorted by address, kept elsewhere
    holes         (----)         (-)   (-------   starts sorted; no two of them touch

    by size   2^12..  (-)        2^14..  (----)        2^40..  (-------

Areas that touch leave no hole, so a packed range costs one step however many areas lie in it. Each
hole also stands on the list of its power of two, where the lowest one of some size is looked for.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from dataclasses import dataclass, field

from kernel_sim.alignment import align_up
from kernel_sim.errors import InvariantBroken

Span = tuple[int, int]


@dataclass(slots=True)
class AddressHoles:
    """Free ranges of addresses; the end of each is exclusive.

    `starts` ascend; `end_of` is by start; `by_size` holds the ascending starts of all holes whose
    size has so many binary digits.
    """

    starts: list[int] = field(init=False, default_factory=list)
    end_of: dict[int, int] = field(init=False, default_factory=dict)
    by_size: dict[int, list[int]] = field(init=False, default_factory=dict)

    @classmethod
    def between(cls, start: int, end: int, areas: Iterable[Span]) -> AddressHoles:
        """Return the holes that ascending, disjoint areas leave in [start, end)."""
        holes = cls()
        for area_start, area_end in areas:
            if start < area_start:
                holes._add(start, area_start)
            start = area_end
        if start < end:
            holes._add(start, end)
        return holes

    def spans(self) -> tuple[Span, ...]:
        """Return all holes, ascending."""
        return tuple((start, self.end_of[start]) for start in self.starts)

    def hole_from(self, address: int) -> Span | None:
        """Return the highest hole that begins at or below an address, or None."""
        index = bisect_right(self.starts, address) - 1
        return (self.starts[index], self.end_of[self.starts[index]]) if index >= 0 else None

    def is_free(self, start: int, end: int) -> bool:
        """Say whether all of [start, end) lies in one hole."""
        hole = self.hole_from(start)
        return hole is not None and end <= hole[1]

    def take(self, start: int, end: int) -> None:
        """Let an area fill [start, end); InvariantBroken if that is not free."""
        hole = self.hole_from(start)
        if hole is None or hole[1] < end:
            raise InvariantBroken(f"addresses {start:#x}-{end:#x} are not free")
        self._drop(hole[0])
        if hole[0] < start:
            self._add(hole[0], start)
        if end < hole[1]:
            self._add(end, hole[1])

    def give(self, start: int, end: int) -> None:
        """Make [start, end) free, joined with the holes that touch it.

        InvariantBroken if part of it is free already.
        """
        index = bisect_left(self.starts, start)
        before = self.starts[index - 1] if index else None
        after = self.starts[index] if index < len(self.starts) else None
        if (before is not None and self.end_of[before] > start) or (
            after is not None and after < end
        ):
            raise InvariantBroken(f"addresses {start:#x}-{end:#x} are free in part already")
        if after == end:
            end = self._drop(end)
        if before is not None and self.end_of[before] == start:
            self._drop(before)
            start = before
        self._add(start, end)

    def find_lowest(self, size_bytes: int, align: int, *, lowest: int, limit: int) -> int | None:
        """Return the lowest aligned address from `lowest` on whose size_bytes end by limit, or None.

        Of the holes that are twice as large as needed the first one does, so a search ends after
        one look per power of two. Worst case: many holes of the same power of two as the request,
        all a little too small for it; those below the result are looked at one by one.
        """
        found: int | None = None
        for digits in sorted(self.by_size):
            if digits < size_bytes.bit_length():
                continue
            for start in self.by_size[digits]:
                if found is not None and start > found:
                    break
                address = align_up(max(start, lowest), align)
                if address + size_bytes <= min(self.end_of[start], limit):
                    found = address
                    break
        return found

    def check_invariants(self) -> None:
        """Raise InvariantBroken unless holes ascend, lie apart, and stand on the lists of their size."""
        last_end: int | None = None
        by_size: dict[int, list[int]] = {}
        for start in self.starts:
            end = self.end_of.get(start, start)
            if end <= start or (last_end is not None and start <= last_end):
                raise InvariantBroken(f"hole {start:#x} is empty or touches the one below it")
            by_size.setdefault((end - start).bit_length(), []).append(start)
            last_end = end
        if by_size != self.by_size or len(self.end_of) != len(self.starts):
            raise InvariantBroken("the holes stand on the wrong lists")

    def _add(self, start: int, end: int) -> None:
        insort(self.starts, start)
        self.end_of[start] = end
        insort(self.by_size.setdefault((end - start).bit_length(), []), start)

    def _drop(self, start: int) -> int:
        """Forget a hole and return its end."""
        end = self.end_of.pop(start)
        del self.starts[bisect_left(self.starts, start)]
        digits = (end - start).bit_length()
        alike = self.by_size[digits]
        del alike[bisect_left(alike, start)]
        if not alike:
            del self.by_size[digits]
        return end
