"""State out and in: equal on another machine, shared where nothing changed, refused where it cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from kernel_sim.errors import InvariantBroken, KernelBug
from kernel_sim.machine_state import dump_parts, load_parts
from kernel_sim.percpu.block_geometry import BLOCK_BYTES
from kernel_sim.percpu.block_state import LISTS_PART, check_blocks, dump_blocks, load_blocks
from tests.kernel_sim.percpu.block_kernel import BlockKernel


def busy(arch: str = "i386") -> tuple[BlockKernel, list[int]]:
    kernel = BlockKernel(arch)
    ptrs = [kernel.alloc(size) for size in (8, BLOCK_BYTES, 100, 12, 4000, 5000)]
    kernel.free(ptrs.pop(3))
    return kernel, ptrs


@pytest.mark.parametrize("arch", ["i386", "x86-64"])
def test_another_machine_goes_on_from_the_same_state(arch: str) -> None:
    kernel, ptrs = busy(arch)
    parts = dump_parts(kernel.machine)
    other = BlockKernel(arch)
    load_parts(other.machine, parts)
    other.system.check_loaded()
    other.check()
    assert dump_parts(other.machine) == parts
    for each in (kernel, other):
        each.free(ptrs[2])
        each.alloc(300)
        each.check()
    assert dump_parts(other.machine) == dump_parts(kernel.machine)


def test_back_and_forth_on_the_same_machine() -> None:
    kernel, ptrs = busy()
    parts = dump_parts(kernel.machine)
    for ptr in ptrs:
        kernel.free(ptr)
    assert not kernel.blocks
    later = dump_parts(kernel.machine)
    for wanted in (parts, later, parts):
        load_parts(kernel.machine, wanted)
        kernel.check()
        assert dump_parts(kernel.machine) == wanted
    assert sorted(ptr for ptr, _ in kernel.system.live_areas()) == sorted(ptrs)


def test_a_block_that_did_not_change_is_the_same_part() -> None:
    kernel, _ = busy()
    parts = dump_blocks(kernel.percpu, {})
    kernel.alloc(4)
    after = dump_blocks(kernel.percpu, parts)
    shared = [name for name in parts if after[name] is parts[name]]
    assert len(shared) == len(kernel.blocks) - 1
    assert dump_blocks(kernel.percpu, after)[LISTS_PART] is after[LISTS_PART]


def test_a_block_that_changed_in_silence_is_found() -> None:
    kernel, _ = busy()
    parts = dump_parts(kernel.machine)
    assert kernel.system.unnoticed_change(parts) == ""
    block = kernel.blocks[-1]
    block.free_list.links[7] = 9
    assert kernel.system.unnoticed_change(parts) == f"block {block.number}"


def spoilt(parts: dict[str, Any], name: str, key: str, value: object) -> dict[str, Any]:
    return parts | {name: parts[name] | {key: value}}


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        (LISTS_PART, "order", (0, 99)),
        (LISTS_PART, "order", ()),
        (LISTS_PART, "order", (0,)),
        (LISTS_PART, "first_not_full", 99),
        (LISTS_PART, "order", "nonsense"),
        ("system.block.0", "number", 4),
        ("system.block.0", "objects", ((0, 0, 8190, 8),)),
        ("system.block.0", "objects", ((0, 0, 0, 8), (1, 1, 4, 8))),
        ("system.block.0", "free_links", ((1, "two"),)),
    ],
)
def test_what_cannot_be_is_refused_when_loaded(name: str, key: str, value: object) -> None:
    kernel, _ = busy()
    parts = spoilt(dump_blocks(kernel.percpu, {}), name, key, value)
    with pytest.raises(KernelBug):
        load_blocks(BlockKernel().percpu, parts, {})


@pytest.mark.parametrize("name", ["system.block.x", "system.block.99", "system.block.-1"])
def test_a_block_that_no_list_has_is_refused(name: str) -> None:
    kernel, _ = busy()
    parts = dump_blocks(kernel.percpu, {})
    parts[name] = parts["system.block.0"]
    with pytest.raises(KernelBug, match="as listed"):
        load_blocks(BlockKernel().percpu, parts, {})


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        (LISTS_PART, "order", (1, 1, 2)),
        (LISTS_PART, "next_number", 0),
        (LISTS_PART, "next_number", 1 << 63),
        (LISTS_PART, "next_serial", 2),
        (LISTS_PART, "first_not_full", -1),
        (LISTS_PART, "possible", (0, 77)),
        (LISTS_PART, "possible", (0, 1)),
        ("system.block.0", "free_head", 1 << 70),
        ("system.block.0", "free_links", ((2, 2),)),
        ("system.block.0", "start_addr", 0),
        ("system.block.0", "cpu_pfns", ((0, (1, 2, 3)),)),
        ("system.block.0", "cpu_pfns", ((0, (1, 1 << 40)),)),
        ("system.block.0", "management_pfns", (1,)),
    ],
)
def test_what_contradicts_itself_is_found_before_anything_runs(
    name: str, key: str, value: object
) -> None:
    kernel, _ = busy()
    other = BlockKernel()
    load_parts(other.machine, dump_parts(kernel.machine))
    parts = spoilt(dump_blocks(other.percpu, {}), name, key, value)
    load_blocks(other.percpu, parts, {})
    with pytest.raises((InvariantBroken, KernelBug)):
        check_blocks(other.percpu)
