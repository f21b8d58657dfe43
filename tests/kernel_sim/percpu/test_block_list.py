"""The list of blocks: as posted against a list of linked nodes with the posting's own steps, and as meant."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kernel_sim.percpu.block import Block
from kernel_sim.percpu.block_geometry import BLOCK_BYTES, BlockGeometry
from kernel_sim.percpu.block_list import BlockList

GEOMETRY = BlockGeometry(word_bytes=4, nr_cpus=8)


class Node:
    """A list_head inside a block; the head has no block."""

    def __init__(self, block: Block | None) -> None:
        self.block = block
        self.next = self.prev = self

    @property
    def used(self) -> int:
        assert self.block is not None, "size_used of blkhead was read"
        return self.block.size_used

    def insert_after(self, at: Node) -> None:
        self.next, self.prev = at.next, at
        at.next.prev = self
        at.next = self

    def unlink(self) -> None:
        self.prev.next, self.next.prev = self.next, self.prev


class PostedList:
    """What the posting does with its list, pointer by pointer."""

    def __init__(self) -> None:
        self.head = Node(None)
        self.first = self.head
        self.node_of: dict[Block, Node] = {}

    def add(self, block: Block) -> None:
        node = self.node_of[block] = Node(block)
        node.insert_after(self.head.prev)
        if self.first is self.head:
            self.first = node

    def sort_up(self, block: Block) -> None:
        node = self.node_of[block]
        at = node.prev
        while at is not self.head and at.used < node.used:
            node.unlink()
            node.insert_after(at.prev)
            at = node.prev
        if node.used == BLOCK_BYTES:
            self.first = node.next
        elif node.used > self.first.used:
            self.first = node

    def sort_down(self, block: Block) -> None:
        node = self.node_of[block]
        before, behind = node.prev, node.next
        at = node.next
        while at is not self.head and at.used > node.used:
            node.unlink()
            node.insert_after(at)
            at = node.next
        if self.first is self.head:
            self.first = node
        elif self.first is node:
            self.pass_on(before, behind)

    def pass_on(self, before: Node, behind: Node) -> None:
        if before is not self.head and before.used != BLOCK_BYTES:
            self.first, before = before, before.prev
            while before is not self.head and before.used != BLOCK_BYTES:
                if before.used != self.first.used:
                    return
                self.first, before = before, before.prev
        elif behind is not self.head:
            self.first, behind = behind, behind.next
            if self.first.used != BLOCK_BYTES:
                return
            while behind is not self.head and behind.used == BLOCK_BYTES:
                self.first, behind = behind, behind.next

    def drop(self, block: Block) -> None:
        node = self.node_of.pop(block)
        if self.first is node:
            self.first = node.prev
            while self.first is not self.head:
                if self.first.used == BLOCK_BYTES:
                    self.first = self.head
                elif self.first.prev is self.head:
                    break
                elif self.first.prev.used == self.first.used:
                    self.first = self.first.prev
                else:
                    break
        node.unlink()

    def blocks(self) -> list[Block]:
        found = []
        at = self.head.next
        while at.block is not None:
            found.append(at.block)
            at = at.next
        return found


def sort_as_meant(blocks: BlockList) -> None:
    used = [block.size_used for block in blocks.blocks]
    assert used == sorted(used, reverse=True)
    with_room = [block for block in blocks.blocks if not block.is_full]
    assert blocks.first_not_full is (with_room[0] if with_room else None)


def drive(choices: list[tuple[int, int]], blocks: BlockList, model: PostedList | None) -> None:
    """Allocate from candidates and free anywhere, in quarters of a block; compare after each."""
    for choice, amount in choices:
        nr_bytes = amount * BLOCK_BYTES // 4
        candidates = [
            each for each in blocks.candidates() if each.size_used + nr_bytes <= BLOCK_BYTES
        ]
        if choice < 4 and candidates:
            block = candidates[choice % len(candidates)]
            block.size_used += nr_bytes
            blocks.sort_up(block)
            if model:
                model.sort_up(block)
        elif choice < 6:
            block = Block.fresh(GEOMETRY, 0)
            blocks.add(block)
            if model:
                model.add(block)
        elif blocks.blocks:
            block = blocks.blocks[choice % len(blocks.blocks)]
            block.size_used -= min(nr_bytes, block.size_used)
            for each in (blocks, model):
                if each is not None:
                    (each.sort_down if block.size_used else each.drop)(block)
        if model is None:
            sort_as_meant(blocks)
        else:
            assert blocks.blocks == model.blocks()
            assert blocks.first_not_full is model.first.block


choice_lists = st.lists(st.tuples(st.integers(0, 11), st.integers(1, 4)), max_size=60)


@given(choice_lists)
def test_as_posted_every_step_is_that_of_the_linked_list(choices: list[tuple[int, int]]) -> None:
    drive(choices, BlockList(as_posted=True), PostedList())


@given(choice_lists)
def test_as_meant_the_fullest_is_first_and_the_first_with_room_is_known(
    choices: list[tuple[int, int]],
) -> None:
    drive(choices, BlockList(), None)


def block_of(size_used: int, number: int = 0) -> Block:
    block = Block.fresh(GEOMETRY, 0)
    block.number = number
    block.size_used = size_used
    return block


def list_of(*sizes: int, as_posted: bool) -> BlockList:
    blocks = BlockList(as_posted, [block_of(size, at) for at, size in enumerate(sizes)])
    blocks.first_not_full = next((each for each in blocks.blocks if not each.is_full), None)
    return blocks


def test_as_posted_the_emptied_block_makes_the_list_forget_those_behind_it() -> None:
    for as_posted, expected in ((True, None), (False, 2)):
        blocks = list_of(BLOCK_BYTES, 100, 50, as_posted=as_posted)
        emptied = blocks.blocks[1]
        emptied.size_used = 0
        blocks.drop(emptied)
        first = blocks.first_not_full
        assert (first.number if first else None) == expected


def test_as_posted_a_free_in_firstnotfull_passes_it_on_to_a_less_used_block() -> None:
    for as_posted, expected in ((True, 1), (False, 0)):
        blocks = list_of(100, 50, as_posted=as_posted)
        blocks.blocks[0].size_used = 90
        blocks.sort_down(blocks.blocks[0])
        first = blocks.first_not_full
        assert first is not None and first.number == expected


def test_neighbours_are_what_the_list_heads_name() -> None:
    blocks = list_of(BLOCK_BYTES, 8, as_posted=False)
    assert blocks.neighbours(blocks.blocks[0]) == (blocks.blocks[1], None)
    assert blocks.neighbours(blocks.blocks[1]) == (None, blocks.blocks[0])
