"""98 % of the blocks' bytes are used after random frees, as the mail says, with sizes from 4 to 64 bytes."""

from __future__ import annotations

import pytest

from kernel_sim.alignment import align_up
from kernel_sim.percpu.block import Block
from kernel_sim.percpu.block_geometry import BlockGeometry
from kernel_sim.percpu.block_pool import BlockPool
from kernel_sim.percpu.refill_workload import RefillWorkload
from kernel_sim.random_state import RandomState

NR_BLOCKS = 8


def utilisation(workload: RefillWorkload, *, as_posted: bool = False) -> float:
    pool = BlockPool(BlockGeometry(word_bytes=4, nr_cpus=8, as_posted=as_posted))

    def alloc(size_bytes: int) -> int:
        size_bytes = align_up(size_bytes, 4)
        found = pool.take(size_bytes=size_bytes, align=4)
        if found is None and pool.next_number < NR_BLOCKS:
            start = 0xF8800000 + pool.next_number * 0x1A000
            pool.add(Block.fresh(pool.geometry, start))
            found = pool.take(size_bytes=size_bytes, align=4)
        return found.addr if found else 0

    def free(addr: int) -> None:
        buf_ctl = pool.objects.find(addr)
        assert buf_ctl is not None
        pool.give(buf_ctl)

    workload.run(alloc, free)
    pool.check_invariants()
    assert len(pool.objects) == len(workload.live)
    assert len(pool.blocks) == NR_BLOCKS
    return pool.used_bytes / pool.room_bytes


@pytest.mark.parametrize("as_posted", [False, True])
def test_98_percent_with_counter_like_sizes(as_posted: bool) -> None:
    assert utilisation(RefillWorkload(RandomState.from_seed(1)), as_posted=as_posted) >= 0.98


def test_larger_objects_use_less() -> None:
    large = RefillWorkload(RandomState.from_seed(1), largest_bytes=2048)
    assert utilisation(large) < 0.96


def test_the_same_seed_does_the_same() -> None:
    def sizes(seed: int) -> list[int]:
        workload = RefillWorkload(RandomState.from_seed(seed))
        return [workload.next_size() for _ in range(50)]

    assert sizes(3) == sizes(3) != sizes(4)
    assert min(sizes(3)) >= 4 and max(sizes(3)) <= 64


def test_memory_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kernel_sim.percpu.refill_workload.MAX_REQUESTS", 100)
    with pytest.raises(ValueError, match="has an end"):
        RefillWorkload(RandomState.from_seed(1)).fill(lambda size_bytes: size_bytes)
