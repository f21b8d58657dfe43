"""A stretch of physical memory as firmware writes it: first and last byte, both included.

    "0x100000-0x3fffffff"   starts at 1 MiB, ends with the last byte below 1 GiB

Firmware cuts where it likes (0x9fbff); the kernel uses the whole pages inside.
"""

from __future__ import annotations

from typing import NamedTuple

from kernel_sim.alignment import align_down, align_up
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES


class PhysRange(NamedTuple):
    """Bytes from start to last, last included."""

    start: int
    last: int

    def __str__(self) -> str:
        return f"{self.start:#x}-{self.last:#x}"

    @property
    def first_pfn(self) -> int:
        """The first whole page."""
        return align_up(self.start, PAGE_SIZE_BYTES) >> PAGE_SHIFT

    @property
    def end_pfn(self) -> int:
        """One more than the last whole page; not above first_pfn if there is none."""
        return align_down(self.last + 1, PAGE_SIZE_BYTES) >> PAGE_SHIFT

    @property
    def nr_pages(self) -> int:
        """How many whole pages lie inside."""
        return max(self.end_pfn - self.first_pfn, 0)

    def overlaps(self, other: PhysRange) -> bool:
        """Say whether a byte is in both."""
        return self.start <= other.last and other.start <= self.last

    def contains(self, *, addr: int, size_bytes: int) -> bool:
        """Say whether size_bytes from addr lie wholly inside."""
        return self.start <= addr and addr + size_bytes - 1 <= self.last
