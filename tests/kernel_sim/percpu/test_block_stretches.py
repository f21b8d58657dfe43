"""Every byte of a block has its name: objects, free runs, holes, each field of the management pages."""

from __future__ import annotations

from itertools import pairwise

import pytest

from kernel_sim.percpu.block_geometry import BLOCK_BYTES
from kernel_sim.percpu.block_stretches import block_stretches, scratch_bytes
from kernel_sim.percpu.stretch import DYNAMIC, FREE, HOLE, METADATA, PADDING, Stretch
from tests.kernel_sim.percpu.block_kernel import BlockKernel


def strips_of(kernel: BlockKernel) -> dict[str, list[Stretch]]:
    strips: dict[str, list[Stretch]] = {}
    for stretch in block_stretches(kernel.percpu):
        strips.setdefault(stretch.strip, []).append(stretch)
    return strips


@pytest.mark.parametrize("arch", ["i386", "x86-64"])
@pytest.mark.parametrize("possible", ["0-3", "0-1,6", "0-7"])
def test_strips_of_a_block_fill_its_address_space(arch: str, possible: str) -> None:
    kernel = BlockKernel(arch, possible=possible)
    first = kernel.alloc(100)
    kernel.alloc(8, 64)
    kernel.free(first)
    block = kernel.blocks[0]
    stretches = [each for each in block_stretches(kernel.percpu) if each.strip.startswith("block")]
    assert stretches[0].addr == block.start_addr
    assert all(one.end == above.addr for one, above in pairwise(stretches))
    nr_bytes = sum(each.size_bytes for each in stretches)
    assert nr_bytes == kernel.percpu.geometry.nr_area_pages * 4096


def test_objects_and_what_is_free_between_them() -> None:
    kernel = BlockKernel()
    first, second, third = kernel.alloc(16), kernel.alloc(8), kernel.alloc(4)
    kernel.free(second)
    for cpu in range(4):
        found = strips_of(kernel)[f"block 0, cpu {cpu}"]
        assert [(each.kind, each.size_bytes, each.ptr) for each in found] == [
            (DYNAMIC, 16, first),
            (FREE, 8, 0),
            (DYNAMIC, 4, third),
            (FREE, BLOCK_BYTES - 28, 0),
        ]
        assert all((each.cpu, each.node) == (cpu, cpu // 2) for each in found)


def test_a_full_block_has_no_free_stretch() -> None:
    kernel = BlockKernel()
    kernel.alloc(BLOCK_BYTES)
    assert [each.kind for each in strips_of(kernel)["block 0, cpu 1"]] == [DYNAMIC]


def test_cpus_without_pages_are_a_hole() -> None:
    kernel = BlockKernel(possible="0-1,6")
    kernel.alloc(4)
    strips = strips_of(kernel)
    holes = {name: strip[0].size_bytes for name, strip in strips.items() if strip[0].kind == HOLE}
    assert holes == {"block 0, cpus 2-5": 4 * BLOCK_BYTES, "block 0, cpu 7": BLOCK_BYTES}


def test_management_is_named_field_by_field() -> None:
    kernel = BlockKernel()
    kernel.alloc(4)
    found = strips_of(kernel)["block 0, management"]
    assert [(each.what, each.size_bytes) for each in found] == [
        ("start_addr", 4),
        ("pages[]", 4 * 32),
        ("list: next, prev", 8),
        ("bitmap", 256),
        ("bufctl_fl[]", 8192),
        ("bufctl_fl_head, size_used", 8),
        ("buf_ctl[]", 24576),
        ("unused end of the last page", 9 * 4096 - 33172),
        ("guard page", 4096),
    ]
    assert [each.kind for each in found] == [METADATA] * 7 + [PADDING, HOLE]


def test_without_page_pointers_there_is_no_field_for_them() -> None:
    kernel = BlockKernel(options={"mail_mode": True})
    kernel.alloc(4)
    assert "pages[]" not in [each.what for each in strips_of(kernel)["block 0, management"]]


def test_the_sorting_array_lies_in_no_simulated_memory() -> None:
    assert scratch_bytes(BlockKernel().percpu) == 2048 * 8 + 4
