"""The list of blocks: a circle through its head, the fullest block first.

    blkhead ─► full ─► full ─► 6004 ─► 4100 ─► 0 ─► blkhead
                                 ▲
                          firstnotfull: where every allocation begins to look; blkhead if all are full

An allocation moves its block up past emptier ones, a free moves it down past fuller ones. A new block goes to
the tail. firstnotfull is meant to name the first block that is not full, and as posted it does not always:

    a full block that gets room is not found unless no block had any      (free of a full block)
    a free in firstnotfull itself passes it on to the block behind        (free, block stays first)
    the emptied firstnotfull leaves blkhead, whatever else has room       (free of the last object)

With as_posted it goes wrong in the same way: blocks in front of it are passed over, until a free in
it moves it up again. Otherwise it is what it is meant to be.
Source: sort_blk_list_up(), sort_blk_list_down(), free_percpu_obj(), "[patch 2/11]", LKML, 13 Sep 2005.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from kernel_sim.percpu.block import Block
from kernel_sim.percpu.block_geometry import BLOCK_BYTES


@dataclass(slots=True)
class BlockList:
    """Blocks in the list's order; first_not_full None is blkhead."""

    as_posted: bool = False
    blocks: list[Block] = field(default_factory=list)
    first_not_full: Block | None = None

    def candidates(self) -> Iterator[Block]:
        """Yield the blocks in which an allocation looks, in that order."""
        if self.first_not_full is not None:
            yield from self.blocks[self.blocks.index(self.first_not_full) :]

    def add(self, block: Block) -> None:
        """Put a new block at the tail: the least used one."""
        self.blocks.append(block)
        if self.first_not_full is None:
            self.first_not_full = block

    def sort_up(self, block: Block) -> None:
        """Move a block that was allocated from past the emptier ones in front of it."""
        at = was_at = self.blocks.index(block)
        while at and self.blocks[at - 1].size_used < block.size_used:
            at -= 1
        if at != was_at:
            self.blocks.insert(at, self.blocks.pop(was_at))
        if not self.as_posted:
            self._find_first_not_full()
        elif block.is_full:
            self.first_not_full = self._at(at + 1)
        elif self.first_not_full is not None and block.size_used > self.first_not_full.size_used:
            self.first_not_full = block

    def sort_down(self, block: Block) -> None:
        """Move a block that lost an object past the fuller ones behind it."""
        at = was_at = self.blocks.index(block)
        before, behind = self._at(was_at - 1), self._at(was_at + 1)
        while at + 1 < len(self.blocks) and self.blocks[at + 1].size_used > block.size_used:
            at += 1
        if at != was_at:
            self.blocks.insert(at, self.blocks.pop(was_at))
        if not self.as_posted:
            self._find_first_not_full()
        elif self.first_not_full is None:
            self.first_not_full = block
        elif self.first_not_full is block:
            self._pass_on(before, behind)

    def drop(self, block: Block) -> None:
        """Take a block without objects off the list."""
        at = self.blocks.index(block)
        if self.as_posted and self.first_not_full is block:
            self.first_not_full = self._topmost_equal(self._at(at - 1))
        del self.blocks[at]
        if not self.as_posted:
            self._find_first_not_full()

    def neighbours(self, block: Block) -> tuple[Block | None, Block | None]:
        """Return the blocks that its `next` and `prev` name, None for blkhead."""
        at = self.blocks.index(block)
        return self._at(at + 1), self._at(at - 1)

    def _at(self, index: int) -> Block | None:
        return self.blocks[index] if 0 <= index < len(self.blocks) else None

    def _find_first_not_full(self) -> None:
        found = (block for block in self.blocks if block.size_used < BLOCK_BYTES)
        self.first_not_full = next(found, None)

    def _pass_on(self, before: Block | None, behind: Block | None) -> None:
        """Choose another one, after a free in firstnotfull: as posted.

        The blocks that are meant are those that stood beside it before it moved.
        """
        if before is not None and not before.is_full:
            self.first_not_full = self._topmost_equal(before)
        elif behind is not None:
            self.first_not_full = behind

    def _topmost_equal(self, block: Block | None) -> Block | None:
        """Return the topmost block that is used as much as this one; None if it is full or blkhead."""
        if block is None or block.is_full:
            return None
        at = self.blocks.index(block)
        while at and self.blocks[at - 1].size_used == block.size_used:
            at -= 1
        return self.blocks[at]
