"""The lists of chunks, one per size class, and the rule that says where a chunk belongs.

A chunk stands on a list by its contig hint, not by its free bytes:

    slot   0          no room, or parked there by a search that failed
           1 … n      by the bit length of the hint in bytes: 1-15, 16-31, 32-63, 64-127 …
           sidelined  isolated chunks, searched after all of the above
           free       wholly free: the hint is the whole unit
           to_depopulate   pages are about to be taken away; never searched

Within a list the order matters: the head is tried first.
Source: Linux 6.1 mm/percpu.c, pcpu_size_to_slot(), pcpu_chunk_slot().
"""

from __future__ import annotations

from dataclasses import dataclass

from kernel_sim.percpu.chunk import Chunk
from kernel_sim.percpu.md_block import MIN_ALLOC_BYTES

SLOT_BASE_SHIFT = 5
SLOT_FAIL_THRESHOLD = 3  # a chunk on a lower list that fails a search is parked on list 0


@dataclass(slots=True)
class ChunkSlots:
    """All lists of one machine; unit_size_bytes decides how many there are."""

    unit_size_bytes: int
    sidelined: int
    free: int
    to_depopulate: int
    lists: list[list[Chunk]]

    @classmethod
    def for_unit(cls, unit_size_bytes: int) -> ChunkSlots:
        """Return empty lists for units of unit_size_bytes."""
        sidelined = by_bit_length(unit_size_bytes) + 1
        return cls(
            unit_size_bytes,
            sidelined,
            sidelined + 1,
            sidelined + 2,
            [[] for _ in range(sidelined + 3)],
        )

    def of_size(self, size_bytes: int) -> int:
        """Return the list of a hint, or the first list to search for a request, of size_bytes."""
        if size_bytes == self.unit_size_bytes:
            return self.free
        slot = size_bytes.bit_length() - SLOT_BASE_SHIFT + 2
        return slot if slot > 1 else 1

    def of_chunk(self, chunk: Chunk) -> int:
        """Return the list on which the chunk belongs by its hint."""
        hint = chunk.md.contig_hint
        if not hint or chunk.free_bytes < MIN_ALLOC_BYTES:
            return 0
        return self.of_size(hint * MIN_ALLOC_BYTES)

    def move(self, chunk: Chunk, slot: int, to_front: bool) -> None:
        """Put the chunk at the head or the tail of a list, taking it off the one it is on."""
        if chunk.slot >= 0:
            self.remove(chunk)
        if to_front:
            self.lists[slot].insert(0, chunk)
        else:
            self.lists[slot].append(chunk)
        chunk.slot = slot
        chunk.changed = True

    def remove(self, chunk: Chunk) -> None:
        """Take the chunk off its list."""
        chunks = self.lists[chunk.slot]
        for position, other in enumerate(chunks):
            if other is chunk:
                del chunks[position]
                break
        chunk.slot = -1
        chunk.changed = True


def by_bit_length(size_bytes: int) -> int:
    """Return the size class of size_bytes without regard to the unit size."""
    return max(size_bytes.bit_length() - SLOT_BASE_SHIFT + 2, 1)
