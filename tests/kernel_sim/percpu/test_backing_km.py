"""Chunks that are one block of the direct map."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kernel_sim.events import PercpuPopulate

Build = Callable[..., Any]


def full_kernel(small_kernel: Build, **options: Any) -> Any:
    kernel = small_kernel(mode="scripted", backend="km", **options)
    kernel.use_up_ready_space(leave=0)
    return kernel


def test_a_chunk_is_one_block_with_all_its_pages(small_kernel: Build) -> None:
    kernel = full_kernel(small_kernel)
    free_pages = kernel.machine.pages.nr_free_pages
    kernel.machine.take_events()
    assert kernel.alloc(64)
    chunk = kernel.machine.percpu.chunks[1]
    assert kernel.machine.pages.nr_free_pages == free_pages - 32
    assert kernel.machine.percpu.backing.order == 5
    assert (chunk.nr_populated, chunk.populated) == (8, 255)
    assert kernel.machine.space.translate(chunk.base_addr) == chunk.data[0] << 12
    rows = kernel.machine.take_events()
    assert not [row for row in rows if isinstance(row.event, PercpuPopulate)]
    kernel.check()


def test_units_lie_behind_each_other(small_kernel: Build) -> None:
    kernel = full_kernel(small_kernel)
    ptr = kernel.alloc(64)
    phys = [kernel.phys(ptr, cpu) for cpu in range(4)]
    assert [addr - phys[0] for addr in phys] == [0, 32768, 65536, 98304]


@pytest.mark.parametrize("first_chunk", ["embed", "page"])
def test_without_a_block_the_chunk_is_not_made(small_kernel: Build, first_chunk: str) -> None:
    """Fail block 0, 1, 2 … of four; what could not be had costs nothing."""
    for after in range(4):
        kernel = full_kernel(small_kernel, first_chunk=first_chunk)
        free_pages = kernel.machine.pages.nr_free_pages
        kernel.knob("fail_pages", after)
        made = [kernel.alloc(32768) for _ in range(4)]
        assert [bool(ptr) for ptr in made] == [True] * after + [False] * (4 - after)
        assert kernel.machine.pages.nr_free_pages == free_pages - 32 * after
        assert kernel.machine.kernel_log[-1] == (
            4,
            "percpu: allocation failed, size=32768 align=8 atomic=0, failed to allocate new chunk",
        )
        kernel.check()


def test_memory_runs_out_at_last_and_comes_back(small_kernel: Build) -> None:
    kernel = full_kernel(small_kernel)
    free_pages = kernel.machine.pages.nr_free_pages
    ptrs = []
    while ptr := kernel.alloc(32768):
        ptrs.append(ptr)
    assert len(ptrs) > 20
    kernel.check()
    for ptr in ptrs:
        kernel.free(ptr)
    kernel.balance()
    assert kernel.machine.pages.nr_free_pages == free_pages - 32
    kernel.check()


def test_a_block_that_was_written_before_is_cleared_where_allocated(small_kernel: Build) -> None:
    kernel = full_kernel(small_kernel)
    ptrs = [kernel.alloc(32768), kernel.alloc(32768)]
    for ptr in ptrs:
        for cpu in range(4):
            kernel.call("this_cpu_write", ptr + 16, 0xDEADBEEF, 8, cpu=cpu)
        kernel.free(ptr)
    kernel.balance()
    for _ in range(3):
        ptr = kernel.alloc(32768)
        for cpu in range(4):
            assert kernel.bytes_of(ptr, cpu, 64) == bytes(64)
    kernel.check()
