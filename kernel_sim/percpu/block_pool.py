"""All blocks and all objects in them: what an allocation and a free decide, without any memory.

    take()   from firstnotfull to the end of the list: the first block with a place
             in it: the smallest free run that is large enough and can be aligned
    give()   the object of this very address; a block that is empty then is off the list

So it is best fit inside the fullest block that has room, not best fit over all blocks. Who makes blocks and
gives them back, and what is written where, is block_area.py's and the system's.
Source: __alloc_percpu(), free_percpu_obj(), "[patch 2/11]", LKML, 13 Sep 2005.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final, NamedTuple

from kernel_sim.errors import InvariantBroken, KernelBug
from kernel_sim.mm.page import PAGE_SHIFT
from kernel_sim.percpu.block import Block
from kernel_sim.percpu.block_geometry import BLOCK_BYTES, BlockGeometry
from kernel_sim.percpu.block_list import BlockList
from kernel_sim.percpu.buf_ctl import END_OF_LIST, BufCtl, BufCtlList

COUNT_MAX: Final = 1 << 62
"""No run comes that far; a stranger's file may say so, and the next number would not fit into a dump."""


class GivenBack(NamedTuple):
    """What a free did: the object, its block, and the object whose `next` changed (None: buf_head)."""

    buf_ctl: BufCtl
    block: Block
    before: BufCtl | None


@dataclass(slots=True)
class BlockPool:
    """The allocator's lists; blocks by number, numbers never used again."""

    geometry: BlockGeometry
    order: BlockList = field(init=False)
    objects: BufCtlList = field(default_factory=BufCtlList)
    blocks: dict[int, Block] = field(default_factory=dict)
    next_number: int = 0
    next_serial: int = 0
    _starts: list[tuple[int, int]] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        self.order = BlockList(self.geometry.as_posted)

    def add(self, block: Block) -> None:
        """Give a new block its number and put it at the tail of the list."""
        block.number = self.next_number
        self.next_number += 1
        self.blocks[block.number] = block
        insort(self._starts, (block.start_addr, block.number))
        self.order.add(block)

    def take(self, *, size_bytes: int, align: int) -> BufCtl | None:
        """Give an object out; None if no block has a place for it."""
        for block in self.order.candidates():
            bit = block.find_place(size_bytes=size_bytes, align=align)
            if bit is not None:
                buf_ctl = block.take(bit, size_bytes=size_bytes, serial=self.next_serial)
                self.next_serial += 1
                self.order.sort_up(block)
                self.objects.push(buf_ctl)
                return buf_ctl
        return None

    def give(self, buf_ctl: BufCtl) -> GivenBack:
        """Take an object back; a block that has none left is dropped from the list."""
        block = self.blocks[buf_ctl.block_number]
        block.give_back(buf_ctl)
        before = self.objects.remove(buf_ctl)
        if block.size_used:
            self.order.sort_down(block)
        else:
            self.order.drop(block)
            del self.blocks[block.number]
            self._starts.remove((block.start_addr, block.number))
        return GivenBack(buf_ctl, block, before)

    def block_of(self, addr: int) -> Block | None:
        """Return the block whose address space holds an address, its guard page included."""
        at = bisect_right(self._starts, (addr, self.next_number)) - 1
        if at < 0:
            return None
        block = self.blocks[self._starts[at][1]]
        end = block.start_addr + (self.geometry.nr_area_pages << PAGE_SHIFT)
        return block if addr < end else None

    @property
    def used_bytes(self) -> int:
        """Bytes of one CPU that are given out."""
        return sum(block.size_used for block in self.order.blocks)

    @property
    def room_bytes(self) -> int:
        """Bytes of one CPU that the blocks have."""
        return BLOCK_BYTES * len(self.order.blocks)

    def replace(self, blocks: dict[int, Block], order: Sequence[int], first: int) -> None:
        """Hold these blocks and what is in them; order and first are numbers, -1 is blkhead.

        Raises KernelBug for a number that no block has.
        """
        for number in (*order, *([first] if first >= 0 else [])):
            if number not in blocks:
                raise KernelBug(f"the list of blocks names block {number}, which is not there")
        self.blocks = blocks
        self._starts = sorted((block.start_addr, block.number) for block in blocks.values())
        self.order.blocks = [blocks[number] for number in order]
        self.order.first_not_full = blocks[first] if first >= 0 else None
        every = (block.buf_ctls.values() for block in blocks.values())
        self.objects = BufCtlList.of(chain.from_iterable(every))

    def check_invariants(self) -> None:
        """Raise InvariantBroken unless lists, bitmaps and buf_ctl's agree, recomputed from the objects."""
        if list(self.blocks) != sorted(block.number for block in self.order.blocks):
            raise InvariantBroken("the list of blocks has not every block once")
        listed = {buf_ctl.serial: buf_ctl for buf_ctl in self.objects}
        if list(listed) != sorted(listed, reverse=True) or len(listed) != len(self.objects):
            raise InvariantBroken("the list of all objects is not in the order they were made")
        if not max(self.blocks, default=-1) < self.next_number <= COUNT_MAX:
            raise InvariantBroken(f"the next block is {self.next_number}, a number that was used")
        if not max(listed, default=-1) < self.next_serial <= COUNT_MAX:
            raise InvariantBroken(f"the next object is {self.next_serial}, a number that was used")
        for block in self.blocks.values():
            self._check_block(block, listed)
        if listed:
            raise InvariantBroken(f"{len(listed)} objects are on the list of all and in no block")
        used = [block.size_used for block in self.order.blocks]
        if used != sorted(used, reverse=True):
            raise InvariantBroken("the list of blocks does not have the fullest first")
        self._check_first_not_full()

    def _check_block(self, block: Block, listed: dict[int, BufCtl]) -> None:
        bitmap = size_used = 0
        for index, buf_ctl in block.buf_ctls.items():
            bits = block.bits_of(buf_ctl)
            mine = (buf_ctl.block_number, buf_ctl.index) == (block.number, index)
            if bitmap & bits or not mine or listed.pop(buf_ctl.serial, None) is not buf_ctl:
                raise InvariantBroken(
                    f"block {block.number}: the object at {buf_ctl.addr:#x} lies over another one or"
                    " is on no list"
                )
            bitmap |= bits
            size_used += buf_ctl.size_bytes
        if (bitmap, size_used) != (block.bitmap, block.size_used):
            raise InvariantBroken(
                f"block {block.number}: bitmap or size_used is not of its objects"
            )
        free = dict.fromkeys(block.free_list.free_indexes())
        if END_OF_LIST in free or sorted([*free, *block.buf_ctls]) != [
            *range(self.geometry.nr_objects)
        ]:
            raise InvariantBroken(
                f"block {block.number}: not every buf_ctl is either free or in use"
            )

    def _check_first_not_full(self) -> None:
        """As posted, it may be another block with room than the first, or blkhead."""
        first = self.order.first_not_full
        with_room = [block for block in self.order.blocks if not block.is_full]
        if self.geometry.as_posted:
            fits = first is None or first in with_room
        else:
            fits = first is (with_room[0] if with_room else None)
        if not fits:
            raise InvariantBroken("firstnotfull does not name a block with room")
