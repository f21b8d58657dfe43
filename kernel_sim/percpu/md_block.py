"""What the bitmap allocator remembers about a stretch of free space, so that it need not look.

One MdBlock describes one page worth of a chunk's allocation bitmap, or (as `chunk_md`) the whole chunk.
All figures are bits; one bit stands for 4 bytes of unit space:

    bit       0     3          9        14                  24       nr_bits
    bitmap    ......##########..........####################.........
              left=3          scan hint                     contig hint, right

`contig_hint` is the largest free run known, `scan_hint` a smaller one *before* it: a search for more than
scan_hint bits may start behind it. Hints may be too small, never too large. A `…_start` whose size is 0 is
a leftover without meaning, kept because the kernel keeps it, too.

Source: Linux 6.1 mm/percpu-internal.h, struct pcpu_block_md; mm/percpu.c, pcpu_block_update().
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from kernel_sim.alignment import trailing_zeros

MIN_ALLOC_SHIFT = 2
MIN_ALLOC_BYTES = 1 << MIN_ALLOC_SHIFT  # PCPU_MIN_ALLOC_SIZE: one bit of the bitmap
BLOCK_BITS = 1024  # PCPU_BITMAP_BLOCK_BITS: one block per page
BLOCK_MASK = (1 << BLOCK_BITS) - 1

MdRow: TypeAlias = tuple[int, int, int, int, int, int, int]


@dataclass(slots=True)
class MdBlock:
    """Hints on one block or on a whole chunk; sizes and places in bits."""

    scan_hint: int
    scan_hint_start: int
    contig_hint: int
    contig_hint_start: int
    left_free: int
    right_free: int
    first_free: int
    nr_bits: int

    @classmethod
    def fresh(cls, nr_bits: int) -> MdBlock:
        """Return the hints of nr_bits that are all free."""
        return cls(0, 0, nr_bits, 0, nr_bits, nr_bits, 0, nr_bits)

    def row(self) -> MdRow:
        """Return the seven figures in the order in which the kernel's own dumps give them."""
        return (
            self.scan_hint,
            self.scan_hint_start,
            self.contig_hint,
            self.contig_hint_start,
            self.left_free,
            self.right_free,
            self.first_free,
        )

    def update(self, start: int, end: int) -> None:
        """Take note that [start, end) is a maximal free run.

        A run as large as the known one wins only by better alignment; the loser may become the scan
        hint. end may lie before start when the caller passes it block-relative for a chunk (see
        Chunk.free_area): then only first_free can change, as in the kernel.
        """
        contig = end - start
        if start < self.first_free:
            self.first_free = start
        if start == 0:
            self.left_free = contig
        if end == self.nr_bits:
            self.right_free = contig
        known = self.contig_hint
        if contig > known:
            self._replace_contig(start, contig)
        elif contig == known:
            self._weigh_equal(start, contig)
        elif start < self.contig_hint_start and (
            contig > self.scan_hint or (contig == self.scan_hint and start > self.scan_hint_start)
        ):
            self.scan_hint_start = start
            self.scan_hint = contig

    def _replace_contig(self, start: int, contig: int) -> None:
        if start <= self.contig_hint_start:
            self.scan_hint = 0
        elif self.contig_hint > self.scan_hint:
            self.scan_hint_start = self.contig_hint_start
            self.scan_hint = self.contig_hint
        elif start < self.scan_hint_start:
            self.scan_hint = 0
        self.contig_hint_start = start
        self.contig_hint = contig

    def _weigh_equal(self, start: int, contig: int) -> None:
        held = self.contig_hint_start
        if held and (not start or trailing_zeros(start) > trailing_zeros(held)):
            self.contig_hint_start = start
            if start < self.scan_hint_start and contig > self.scan_hint:
                self.scan_hint = 0
        elif start > self.scan_hint_start or contig > self.scan_hint:
            self.scan_hint_start = start
            self.scan_hint = contig

    def promote_scan_hint(self) -> int:
        """Make the scan hint the contig hint and return the bit from which to look for a larger run."""
        if self.scan_hint:
            start = self.scan_hint_start + self.scan_hint
            self.contig_hint_start = self.scan_hint_start
            self.contig_hint = self.scan_hint
            self.scan_hint = 0
            return start
        self.contig_hint = 0
        return self.first_free

    def next_hint(self, nr_bits: int) -> int:
        """Return the first bit at which a search for nr_bits makes sense.

        Source: Linux 6.1 mm/percpu.c, pcpu_next_hint().
        """
        if (
            self.scan_hint
            and self.contig_hint_start > self.scan_hint_start
            and nr_bits > self.scan_hint
        ):
            return self.scan_hint_start + self.scan_hint
        return self.first_free

    def fill(self) -> None:
        """Take note that the whole block is now in use; first_free stays as it was, as in the kernel."""
        self.scan_hint = 0
        self.contig_hint = 0
        self.left_free = 0
        self.right_free = 0

    def clear(self) -> None:
        """Take note that the whole block is now free."""
        self.first_free = 0
        self.scan_hint = 0
        self.contig_hint_start = 0
        self.contig_hint = self.left_free = self.right_free = self.nr_bits
