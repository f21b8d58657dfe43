"""What stands in the management pages, read byte by byte from memory, lists followed from their heads."""

from __future__ import annotations

import pytest

from kernel_sim.errors import InvariantBroken, KernelFault
from kernel_sim.percpu.block_geometry import BLOCK_BYTES
from tests.kernel_sim.percpu.block_kernel import BlockKernel


@pytest.fixture(params=["i386", "x86-64"])
def kernel(request: pytest.FixtureRequest) -> BlockKernel:
    return BlockKernel(request.param)


def management_of(kernel: BlockKernel, ptr: int) -> int:
    block = kernel.percpu.pool.block_of(ptr)
    assert block is not None
    return block.start_addr + kernel.percpu.geometry.management_offset


def objects_from_memory(kernel: BlockKernel) -> list[tuple[int, int]]:
    """Follow buf_head."""
    word = kernel.machine.arch.word_bytes
    found = []
    at = kernel.word_at(kernel.machine.symbols["buf_head"])
    while at:
        found.append((kernel.word_at(at), kernel.word_at(at + word)))
        at = kernel.word_at(at + 2 * word)
    return found


def blocks_from_memory(kernel: BlockKernel) -> list[int]:
    """Follow blkhead; returns each block's start_addr."""
    head = kernel.machine.symbols["blkhead"]
    back = kernel.percpu.geometry.list_offset
    found = []
    before, at = head, kernel.word_at(head)
    while at != head:
        assert kernel.word_at(at + kernel.machine.arch.word_bytes) == before
        found.append(kernel.word_at(at - back))
        before, at = at, kernel.word_at(at)
    assert kernel.word_at(head + kernel.machine.arch.word_bytes) == before
    return found


def test_the_descriptor_says_what_is_given_out(kernel: BlockKernel) -> None:
    geometry = kernel.percpu.geometry
    ptr = kernel.alloc(12)
    kernel.alloc(4)
    at = management_of(kernel, ptr)
    assert kernel.word_at(at) == ptr
    assert kernel.bytes_at(at + geometry.bitmap_offset, 4) == bytes([0b1111, 0, 0, 0])
    head = kernel.bytes_at(at + geometry.free_list_head_offset, 8)
    assert head == (2).to_bytes(4, "little") + (16).to_bytes(4, "little")
    links = kernel.bytes_at(at + geometry.free_list_offset, 8)
    assert links == (1).to_bytes(4, "little") + (2).to_bytes(4, "little")
    last = at + geometry.free_list_offset + 4 * (geometry.nr_objects - 1)
    assert kernel.bytes_at(last, 4) == b"\xff\xff\xff\xff"


def test_pages_are_named_cpu_by_cpu_then_management(kernel: BlockKernel) -> None:
    ptr = kernel.alloc(4)
    at = management_of(kernel, ptr) + kernel.machine.arch.word_bytes
    word = kernel.machine.arch.word_bytes
    pointers = [kernel.word_at(at + word * index) for index in range(16 + 9)]
    (block,) = kernel.blocks
    pfns = [pfn for cpu in range(4) for pfn in block.cpu_pfns[cpu]]
    assert pointers[:8] == [kernel.percpu.memory.page_pointer(pfn) for pfn in pfns]
    assert pointers[8:16] == [0] * 8
    named = [kernel.percpu.memory.page_pointer(pfn) for pfn in block.management_pfns[:9]]
    assert pointers[16:] == named


def test_all_objects_hang_on_one_list_newest_first(kernel: BlockKernel) -> None:
    first = kernel.alloc(8)
    big = kernel.alloc(BLOCK_BYTES)
    third = kernel.alloc(20)
    assert objects_from_memory(kernel) == [(third, 20), (big, BLOCK_BYTES), (first, 8)]
    kernel.free(third)
    assert objects_from_memory(kernel) == [(big, BLOCK_BYTES), (first, 8)]
    again = kernel.alloc(40)
    kernel.free(big)
    assert objects_from_memory(kernel) == [(again, 40), (first, 8)]
    assert again == third
    kernel.check()


def test_blocks_hang_on_a_list_fullest_first(kernel: BlockKernel) -> None:
    first = kernel.alloc(100)
    second = kernel.alloc(BLOCK_BYTES - 50)
    assert blocks_from_memory(kernel) == [second, first]
    firstnotfull = kernel.machine.symbols["firstnotfull"]
    offset = kernel.percpu.geometry.list_offset
    assert kernel.word_at(firstnotfull) == management_of(kernel, second) + offset
    kernel.alloc(44)
    assert kernel.word_at(firstnotfull) == management_of(kernel, second) + offset
    kernel.alloc(4)  # the second block is full now
    assert kernel.word_at(firstnotfull) == management_of(kernel, first) + offset
    kernel.free(second)
    assert blocks_from_memory(kernel) == [first, second]
    kernel.free(first)
    assert blocks_from_memory(kernel) == [second]
    kernel.check()


def test_an_object_that_goes_gives_its_bits_and_buf_ctl_back(kernel: BlockKernel) -> None:
    geometry = kernel.percpu.geometry
    first, second = kernel.alloc(8), kernel.alloc(8)
    kernel.free(first)
    at = management_of(kernel, second)
    assert kernel.bytes_at(at + geometry.bitmap_offset, 1) == bytes([0b1100])
    head = kernel.bytes_at(at + geometry.free_list_head_offset, 8)
    assert head == bytes(4) + (8).to_bytes(4, "little")
    assert kernel.bytes_at(at + geometry.free_list_offset, 4) == (2).to_bytes(4, "little")


@pytest.mark.parametrize("what", ["bitmap", "buf_ctl 0", "list", "start_addr", "variables"])
def test_a_byte_that_is_not_right_is_found_by_its_field(kernel: BlockKernel, what: str) -> None:
    geometry = kernel.percpu.geometry
    at = management_of(kernel, kernel.alloc(8))
    places = {
        "bitmap": at + geometry.bitmap_offset + 200,
        "buf_ctl 0": at + geometry.buf_ctl_offset(0) + 1,
        "list": at + geometry.list_offset,
        "start_addr": at,
        "variables": kernel.machine.symbols["firstnotfull"],
    }
    kernel.check()
    phys = kernel.machine.space.translate(places[what])
    assert phys is not None
    byte = kernel.machine.memory.read(phys, 1)[0]
    kernel.machine.memory.write(phys, bytes([byte ^ 1]))
    with pytest.raises(InvariantBroken, match=what):
        kernel.system.check(True)


def test_a_page_pointer_that_was_written_over_is_met_when_the_block_goes(
    kernel: BlockKernel,
) -> None:
    ptr = kernel.alloc(8)
    word = kernel.machine.arch.word_bytes
    kernel.machine.access.write(0, management_of(kernel, ptr) + word, bytes([7] * word))
    with pytest.raises(KernelFault, match="Bad page state"):
        kernel.free(ptr)


def test_the_machine_can_be_asked_without_page_pointers() -> None:
    kernel = BlockKernel(options={"mail_mode": True})
    ptr = kernel.alloc(8)
    (block,) = kernel.blocks
    found = [kernel.percpu.memory.page_of(0, block, index) for index in (0, 3, 15, 16)]
    assert found == [block.cpu_pfns[0][0], block.cpu_pfns[1][1], None, block.management_pfns[0]]
    kernel.free(ptr)
    kernel.check()
