"""All blocks together: objects never overlap, all comes back, and where one looks first is as told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_sim.errors import InvariantBroken
from kernel_sim.percpu.block import Block
from kernel_sim.percpu.block_geometry import BLOCK_BYTES, BlockGeometry
from kernel_sim.percpu.block_pool import BlockPool
from kernel_sim.percpu.buf_ctl import BufCtl

START = 0xF8800000


def pool_of(nr_blocks: int, *, as_posted: bool = False, word_bytes: int = 4) -> BlockPool:
    pool = BlockPool(BlockGeometry(word_bytes, 8, as_posted=as_posted))
    for _ in range(nr_blocks):
        grow(pool)
    return pool


def grow(pool: BlockPool) -> None:
    start = START + pool.next_number * (pool.geometry.nr_area_pages << 12)
    pool.add(Block.fresh(pool.geometry, start))


@given(
    st.booleans(),
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(1, 600), st.sampled_from([4, 8, 64, 4096])),
        max_size=80,
    ),
)
def test_objects_are_disjoint_aligned_and_all_comes_back(
    as_posted: bool, requests: list[tuple[int, int, int]]
) -> None:
    pool = pool_of(0, as_posted=as_posted)
    live: list[BufCtl] = []
    for choice, nr_units, align in requests:
        if choice < 7:
            size_bytes = 4 * nr_units
            found = pool.take(size_bytes=size_bytes, align=align)
            if found is None:
                grow(pool)
                found = pool.take(size_bytes=size_bytes, align=align)
            assert found is not None
            assert found.addr % align == 0
            for other in live:
                assert (
                    found.addr + size_bytes <= other.addr
                    or other.addr + other.size_bytes <= found.addr
                )
            live.append(found)
        elif live:
            gone = live.pop(choice % len(live))
            assert pool.objects.find(gone.addr) is gone
            pool.give(gone)
        pool.check_invariants()
        assert pool.used_bytes == sum(each.size_bytes for each in live)
        assert pool.room_bytes == BLOCK_BYTES * len(pool.blocks)
    for gone in live:
        pool.give(gone)
    pool.check_invariants()
    assert not pool.blocks or all(not block.size_used for block in pool.blocks.values())


def test_it_is_best_fit_in_the_fullest_block_not_over_all_blocks() -> None:
    pool = pool_of(2)
    first, second = pool.blocks.values()
    big = pool.take(size_bytes=BLOCK_BYTES - 400, align=4)
    small = pool.take(size_bytes=8100, align=4)
    assert big is not None and small is not None
    assert (first.size_used, second.size_used) == (BLOCK_BYTES - 400, 8100)
    found = pool.take(size_bytes=92, align=4)  # the second block's hole has exactly this size
    assert found is not None and found.block_number == 1
    assert second.is_full
    found = pool.take(size_bytes=92, align=4)
    assert found is not None and found.block_number == 0


def test_the_last_object_takes_its_block_along() -> None:
    pool = pool_of(1)
    one = pool.take(size_bytes=8, align=4)
    assert one is not None
    given_back = pool.give(one)
    assert (given_back.block.number, given_back.before) == (0, None)
    assert not pool.blocks and not pool.order.blocks
    assert pool.block_of(START) is None


def test_an_address_belongs_to_the_block_whose_space_it_is_in() -> None:
    pool = pool_of(3)
    nr_bytes = pool.geometry.nr_area_pages << 12
    for number in range(3):
        for addr in (START + number * nr_bytes, START + (number + 1) * nr_bytes - 1):
            block = pool.block_of(addr)
            assert block is not None and block.number == number
    assert pool.block_of(START - 1) is None
    assert pool.block_of(START + 3 * nr_bytes) is None


def test_a_contradiction_is_found() -> None:
    pool = pool_of(1)
    pool.take(size_bytes=8, align=4)
    block = pool.blocks[0]
    block.bitmap |= 1 << 100
    with pytest.raises(InvariantBroken, match="bitmap"):
        pool.check_invariants()
    block.bitmap &= 3
    pool.check_invariants()
    pool.order.first_not_full = None
    with pytest.raises(InvariantBroken, match="firstnotfull"):
        pool.check_invariants()
