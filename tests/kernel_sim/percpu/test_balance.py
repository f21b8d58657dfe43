"""The background work: spare chunks go, empty pages go, a few pages are kept ready."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kernel_sim.events import PercpuDepopulate, PercpuDestroyChunk
from kernel_sim.percpu.chunk import RESERVED

Build = Callable[..., Any]


def kernel_with_spare_chunks(small_kernel: Build, **options: Any) -> Any:
    """Return a kernel in which chunks 1 to 4 were filled and wholly freed again."""
    kernel = small_kernel(mode="scripted", **options)
    ptrs = [kernel.alloc(32768) for _ in range(4)]
    assert all(ptrs)
    for ptr in ptrs:
        kernel.free(ptr)
    return kernel


def test_wholly_free_chunks_but_one_are_destroyed_and_their_pages_go_back(
    small_kernel: Build,
) -> None:
    kernel = kernel_with_spare_chunks(small_kernel)
    machine = kernel.machine
    machine.take_events()
    free_pages = kernel.nr_unused_pages()
    kept = machine.percpu.slots.lists[machine.percpu.slots.free][0].number
    kernel.balance()
    assert list(machine.percpu.chunks) == [RESERVED, 0, kept]
    assert kernel.nr_unused_pages() == free_pages + 3 * 8 * 4
    destroyed = [row for row in machine.take_events() if isinstance(row.event, PercpuDestroyChunk)]
    assert len(destroyed) == 3
    kernel.check()


def test_spare_chunks_go_last_on_the_list_first(small_kernel: Build) -> None:
    kernel = kernel_with_spare_chunks(small_kernel)
    machine = kernel.machine
    listed = [chunk.base_addr for chunk in machine.percpu.slots.lists[machine.percpu.slots.free]]
    machine.take_events()
    kernel.balance()
    destroyed = [
        row.event.base_addr
        for row in machine.take_events()
        if isinstance(row.event, PercpuDestroyChunk)
    ]
    assert destroyed == listed[:0:-1]


def test_empty_pages_of_an_isolated_chunk_go_back_and_it_is_sidelined(
    small_kernel: Build,
) -> None:
    kernel = small_kernel(mode="scripted")
    percpu = kernel.machine.percpu
    kernel.use_up_ready_space(leave=0)
    keep = kernel.alloc(64, align=4)
    pages = [kernel.alloc(4096, align=4096) for _ in range(7)]
    others = [kernel.alloc(4096, align=4096) for _ in range(7)]
    assert percpu.chunk_of(keep + percpu.base_addr) is percpu.chunks[1]
    for ptr in (*others, *pages):
        kernel.free(ptr)
    chunk = next(c for c in percpu.chunks.values() if c.isolated)
    kernel.machine.take_events()
    kernel.balance()
    gone = [row.event for row in kernel.machine.take_events()
            if isinstance(row.event, PercpuDepopulate)]  # fmt: skip
    assert gone and gone[0].base_addr == chunk.base_addr
    assert chunk.slot == percpu.slots.sidelined or not chunk.isolated
    assert percpu.nr_empty_pop_pages >= 4
    kernel.check()


def test_four_pages_are_kept_ready(small_kernel: Build) -> None:
    kernel = small_kernel(mode="scripted")
    kernel.use_up_ready_space()
    assert kernel.machine.percpu.nr_empty_pop_pages < 4
    kernel.balance()
    assert kernel.machine.percpu.nr_empty_pop_pages == 4
    kernel.check()


def test_without_pages_the_work_ends_and_nothing_is_lost(small_kernel: Build) -> None:
    for after in range(24):  # 16 pages of units, then those of tables
        kernel = small_kernel(mode="scripted")
        kernel.use_up_ready_space()
        machine = kernel.machine
        free_pages = kernel.nr_unused_pages() + machine.space.nr_table_pages
        log_at_boot = tuple(machine.kernel_log)
        kernel.knob("fail_pages", after)
        kernel.balance()
        backed = sum(c.nr_populated for n, c in machine.percpu.chunks.items() if n > 0)
        now_free = kernel.nr_unused_pages() + machine.space.nr_table_pages
        assert now_free == free_pages - 4 * backed
        assert backed in (0, 4) and (backed == 0 or after > 16)
        assert tuple(machine.kernel_log) == log_at_boot
        kernel.check()
    assert backed == 4


def test_locks_are_free_afterwards(small_kernel: Build) -> None:
    kernel = kernel_with_spare_chunks(small_kernel)
    kernel.balance()
    assert (kernel.machine.percpu.lock.holder, kernel.machine.percpu.mutex.holder) == (-1, -1)


def test_a_km_chunk_goes_back_as_one_block(small_kernel: Build) -> None:
    kernel = kernel_with_spare_chunks(small_kernel, backend="km")
    machine = kernel.machine
    free_pages = machine.pages.nr_free_pages
    kernel.balance()
    assert machine.pages.nr_free_pages == free_pages + 3 * 32
    kernel.check()


def test_the_free_list_of_one_chunk_is_left_alone(small_kernel: Build) -> None:
    kernel = small_kernel(mode="scripted")
    kernel.free(kernel.alloc(32768))
    kernel.balance()
    assert list(kernel.machine.percpu.chunks) == [RESERVED, 0, 1]
    kernel.check()
