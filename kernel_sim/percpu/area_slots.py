"""Lists of chunks by how much is free in all: the fullest chunk that may do is tried first.

    slot of a size      max(bitlength - 3, 1):  1..15 -> 1, 16..31 -> 2, … 64 KiB -> 14
    slot of a chunk     that of its free bytes; 0 if they, or the largest run, are below 4 bytes
    one more slot       for chunks that are wholly free (2.6.31 and later)

A chunk that rises goes to the front of its new list, one that falls to the end. What counts is all that is
free, not the largest run: that came with the bitmaps.
Source: pcpu_size_to_slot(), pcpu_chunk_slot(), pcpu_chunk_relocate(), Linux 2.6.30 to 2.6.34.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from kernel_sim.errors import InvariantBroken
from kernel_sim.percpu.area_chunk import RESERVED, AreaChunk
from kernel_sim.percpu.area_map import SMALL_BYTES

SLOT_BASE_SHIFT: Final = 5
NO_SLOT: Final = -1


def slot_of_size(size_bytes: int) -> int:
    """Return the slot of a number of free bytes. Source: __pcpu_size_to_slot()."""
    return max(size_bytes.bit_length() - SLOT_BASE_SHIFT + 2, 1)


@dataclass(slots=True)
class AreaSlots:
    """The lists of one allocator; the reserved chunk is on none."""

    unit_size_bytes: int
    has_free_slot: bool
    lists: list[list[AreaChunk]] = field(init=False)

    def __post_init__(self) -> None:
        nr_slots = slot_of_size(self.unit_size_bytes) + (2 if self.has_free_slot else 1)
        self.lists = [[] for _ in range(nr_slots)]

    @property
    def last(self) -> int:
        """The slot of wholly free chunks."""
        return len(self.lists) - 1

    def of_size(self, size_bytes: int) -> int:
        """Return the slot where the search for a size begins."""
        if self.has_free_slot and size_bytes == self.unit_size_bytes:
            return self.last
        return slot_of_size(size_bytes)

    def of_chunk(self, chunk: AreaChunk) -> int:
        """Return the slot that a chunk's free bytes and hint ask for."""
        area_map = chunk.area_map
        if area_map.free_bytes < SMALL_BYTES or area_map.contig_hint < SMALL_BYTES:
            return 0
        return self.of_size(area_map.free_bytes)

    def relocate(self, chunk: AreaChunk, old_slot: int) -> None:
        """Put a chunk where it belongs now; a new one comes from NO_SLOT."""
        slot = self.of_chunk(chunk)
        if chunk.number == RESERVED or slot == old_slot:
            return
        self.remove(chunk)
        if old_slot < slot:
            self.lists[slot].insert(0, chunk)
        else:
            self.lists[slot].append(chunk)
        chunk.slot = slot
        chunk.changed = True

    def remove(self, chunk: AreaChunk) -> None:
        """Take a chunk off its list."""
        if chunk.slot != NO_SLOT:
            self.lists[chunk.slot].remove(chunk)
            chunk.slot = NO_SLOT
            chunk.changed = True

    def candidates(self, size_bytes: int) -> Iterator[AreaChunk]:
        """Yield the chunks whose hint says that a size may fit, the fullest first.

        A chunk that turns out to have no such place goes to another list at once, and the walk goes on
        behind where it was.
        """
        for slot in range(self.of_size(size_bytes), len(self.lists)):
            for chunk in tuple(self.lists[slot]):
                if size_bytes <= chunk.area_map.contig_hint:
                    yield chunk

    def check_invariants(self, chunks: list[AreaChunk]) -> None:
        """Raise InvariantBroken unless every chunk but the reserved one is on its list, once."""
        listed = [chunk for members in self.lists for chunk in members]
        expected = [chunk for chunk in chunks if chunk.number != RESERVED]
        if sorted(c.number for c in listed) != sorted(c.number for c in expected):
            raise InvariantBroken("the lists do not hold every chunk once")
        for slot, members in enumerate(self.lists):
            for chunk in members:
                if chunk.slot != slot or self.of_chunk(chunk) != slot:
                    raise InvariantBroken(
                        f"chunk {chunk.number} is on list {slot}, its free bytes say"
                        f" {self.of_chunk(chunk)}"
                    )
