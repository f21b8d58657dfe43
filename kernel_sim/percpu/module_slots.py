"""Where a module's per-CPU section goes when all of them share the room behind the kernel's own.

    sizes   -18048      -100   28   -64          14528        sign: negative in use, positive free
            |kernel     |A     |    |B           |        |
    offset  0           18048  …    18176        …        room

One array of signed block sizes in address order is all there is; every CPU's copy of the room is cut
the same way, so one offset serves all. First fit from the left. Bytes skipped for alignment are given to the
block before, whatever its state, so they come back only when that one is freed. A rest of a word or less
is not split off. Entry 0 is the kernel's own section and stays.

Source: Linux 2.6.17 kernel/module.c, split_block(), percpu_modalloc(), percpu_modfree(), percpu_modinit().
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from kernel_sim.alignment import align_up
from kernel_sim.errors import InvariantBroken, KernelBug

BLOCKS_AT_FIRST: Final = 2
SPLIT_SIZE_MASK: Final = 0xFFFF
"""split_block() takes the size as an unsigned short: a section of 64 KiB and more is entered modulo that."""
INT_BYTES: Final = 4
KERN_ERR: Final = 3
KERN_WARNING: Final = 4
NO_ROOM: Final = "No per-cpu room for modules."


class Fit(NamedTuple):
    """A free block that holds a request: its entry, bytes to skip in it, and the offset behind them."""

    entry: int
    skip_bytes: int
    offset_bytes: int


@dataclass(slots=True)
class ModuleSlots:
    """The blocks of one machine's room. line_bytes: SMP_CACHE_BYTES; word_bytes: of an unsigned long."""

    line_bytes: int
    word_bytes: int
    sizes: list[int]  # pcpu_size[], the first pcpu_num_used entries of it
    nr_allocated: int = BLOCKS_AT_FIRST  # pcpu_num_allocated: doubles, never shrinks

    @classmethod
    def for_room(
        cls, *, room_bytes: int, static_bytes: int, line_bytes: int, word_bytes: int
    ) -> ModuleSlots:
        """Return the state after boot: the kernel's section, and the rest if that is not negative.

        Source: percpu_modinit().
        """
        kernel_bytes = align_up(static_bytes, line_bytes)
        rest_bytes = room_bytes - kernel_bytes
        sizes = [-kernel_bytes, rest_bytes] if rest_bytes >= 0 else [-kernel_bytes]
        return cls(line_bytes, word_bytes, sizes)

    @property
    def has_room(self) -> bool:
        """Whether boot left modules a block, be it empty; if not, it said NO_ROOM."""
        return len(self.sizes) > 1

    def align_of(self, align_bytes: int) -> int:
        """Return the alignment that a request gets: never more than a cache line."""
        return min(align_bytes, self.line_bytes)

    def find(self, size_bytes: int, align_bytes: int) -> Fit | None:
        """Return the first free block that holds the request, None if none does."""
        align_bytes = self.align_of(align_bytes)
        offset = 0
        for index, size in enumerate(self.sizes):
            skip = align_up(offset, align_bytes) - offset
            if size >= 0 and size >= skip + size_bytes:
                return Fit(index, skip, offset + skip)
            offset += abs(size)
        return None

    def give_skipped(self, fit: Fit) -> None:
        """Take the skipped bytes from the block and give them to the one before."""
        index, skip, _ = fit
        before = self.sizes[index - 1]
        self.sizes[index - 1] = before - skip if before < 0 else before + skip
        self.sizes[index] -= skip

    def is_split_due(self, fit: Fit, size_bytes: int) -> bool:
        """Say whether what the request leaves of the block is more than a word. After give_skipped()."""
        return self.sizes[fit.entry] - size_bytes > self.word_bytes

    @property
    def is_full(self) -> bool:
        """Whether another entry needs a larger array."""
        return len(self.sizes) + 1 > self.nr_allocated

    @property
    def doubled_bytes(self) -> int:
        """The size of the larger array."""
        return 2 * self.nr_allocated * INT_BYTES

    def split(self, fit: Fit, size_bytes: int) -> None:
        """Cut the block in two, the first of size_bytes as far as an unsigned short can say it."""
        entered = size_bytes & SPLIT_SIZE_MASK
        rest = self.sizes[fit.entry] - entered
        self.sizes[fit.entry : fit.entry + 1] = [entered, rest]

    def take(self, fit: Fit) -> int:
        """Mark the block as in use; returns its offset."""
        self.sizes[fit.entry] = -self.sizes[fit.entry]
        return fit.offset_bytes

    def alloc(self, size_bytes: int, align_bytes: int) -> int | None:
        """Do it all at once, with memory for a larger array always at hand; None if there is no room."""
        fit = self.find(size_bytes, align_bytes)
        if fit is None:
            return None
        self.give_skipped(fit)
        if self.is_split_due(fit, size_bytes):
            if self.is_full:
                self.nr_allocated *= 2
            self.split(fit, size_bytes)
        return self.take(fit)

    def index_of(self, offset_bytes: int) -> int | None:
        """Return the first block at the offset, the kernel's own left aside; None if none begins there."""
        at = abs(self.sizes[0])
        for index in range(1, len(self.sizes)):
            if at == offset_bytes:
                return index
            at += abs(self.sizes[index])
        return None

    def free(self, offset_bytes: int) -> None:
        """Flip the sign of the block at the offset and merge it, first to the left, then to the right.

        What is free already becomes "in use", as in the kernel, which does not look: who calls has to know.
        Raises KernelBug if no block begins there.
        """
        index = self.index_of(offset_bytes)
        if index is None:
            raise KernelBug(
                f"BUG: percpu_modfree: no block begins at offset {offset_bytes:#x} of the modules' room"
            )
        sizes = self.sizes
        sizes[index] = -sizes[index]
        if sizes[index - 1] >= 0:
            sizes[index - 1] += sizes.pop(index)
            index -= 1
        if index + 1 < len(sizes) and sizes[index + 1] >= 0:
            sizes[index] += sizes.pop(index + 1)

    def check(self, room_bytes: int) -> None:
        """Raise InvariantBroken unless the blocks fill the room and none but the last may be empty."""
        sizes, kernel_bytes = self.sizes, abs(self.sizes[0]) if self.sizes else 0
        if not sizes or sizes[0] > 0:
            raise InvariantBroken("module slots: entry 0 is not the kernel's own section in use")
        if len(sizes) > self.nr_allocated:
            raise InvariantBroken(
                f"module slots: {len(sizes)} entries in an array of {self.nr_allocated}"
            )
        total = sum(map(abs, sizes))
        if len(sizes) > 1 and total != room_bytes:
            raise InvariantBroken(f"module slots: blocks of {total} bytes in {room_bytes} of room")
        if len(sizes) == 1 and kernel_bytes < room_bytes:
            raise InvariantBroken(f"module slots: {room_bytes - kernel_bytes} bytes have no block")
        for index in range(2, len(sizes)):
            if sizes[index - 1] > 0 and sizes[index] > 0:
                raise InvariantBroken(f"module slots: free blocks {index - 1} and {index} touch")


def alignment_line(name: str, align_bytes: int, line_bytes: int) -> str:
    """Return what the log says of an alignment that is cut down."""
    return f"{name}: per-cpu alignment {align_bytes} > {line_bytes}"


def exhausted_line(size_bytes: int) -> str:
    """Return what the log says when no block holds a section."""
    return f"Could not allocate {size_bytes} bytes percpu data"
