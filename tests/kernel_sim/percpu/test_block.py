"""A block: bits, buf_ctl's and bytes used go together, and what cannot be is not adopted."""

from __future__ import annotations

import pytest

from kernel_sim.errors import KernelBug
from kernel_sim.percpu.block import Block
from kernel_sim.percpu.block_geometry import BLOCK_BYTES, BlockGeometry
from kernel_sim.percpu.buf_ctl import BufCtl
from kernel_sim.percpu.object_map import FreeRun

START = 0xF8800000
GEOMETRY = BlockGeometry(word_bytes=4, nr_cpus=8)


def fresh() -> Block:
    return Block.fresh(GEOMETRY, START)


def test_an_object_has_its_bits_and_a_buf_ctl() -> None:
    block = fresh()
    bit = block.find_place(size_bytes=12, align=4)
    assert bit == 0
    buf_ctl = block.take(0, size_bytes=12, serial=5)
    assert buf_ctl == block.buf_ctls[0]
    assert (buf_ctl.addr, buf_ctl.size_bytes, buf_ctl.index) == (START, 12, 0)
    assert (block.bitmap, block.size_used) == (0b111, 12)
    assert block.object_map() == (FreeRun(BLOCK_BYTES - 12, 3),)


def test_a_full_block_has_no_place_and_gets_it_back() -> None:
    block = fresh()
    buf_ctl = block.take(0, size_bytes=BLOCK_BYTES, serial=0)
    assert block.is_full
    assert block.find_place(size_bytes=4, align=4) is None
    block.give_back(buf_ctl)
    assert (block.bitmap, block.size_used, block.buf_ctls) == (0, 0, {})
    assert block.find_place(size_bytes=BLOCK_BYTES, align=4096) == 0


def test_what_lies_before_an_aligned_object_stays_free() -> None:
    block = fresh()
    block.take(0, size_bytes=4, serial=0)
    assert block.find_place(size_bytes=64, align=64) == 16
    block.take(16, size_bytes=64, serial=1)
    assert block.object_map()[0] == FreeRun(60, 1)


@pytest.mark.parametrize(
    ("offset_bytes", "size_bytes"), [(-4, 8), (BLOCK_BYTES - 4, 8), (2, 4), (8, 6), (8, 0), (0, 4)]
)
def test_an_object_that_cannot_be_is_not_adopted(offset_bytes: int, size_bytes: int) -> None:
    block = fresh()
    block.adopt(BufCtl(0, 0, 0, START, 4))
    with pytest.raises(KernelBug, match=r"no object can lie|two objects"):
        block.adopt(BufCtl(1, 0, 1, START + offset_bytes, size_bytes))


def test_one_buf_ctl_has_one_object() -> None:
    block = fresh()
    block.adopt(BufCtl(0, 0, 3, START, 4))
    assert (block.bitmap, block.size_used) == (1, 4)
    with pytest.raises(KernelBug, match=r"no object can lie|two objects"):
        block.adopt(BufCtl(1, 0, 3, START + 8, 4))
