"""alloc_percpu() and free_percpu() on a small machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kernel_sim.events import PercpuAllocPercpu, PercpuFreePercpu
from kernel_sim.mm.gfp import GFP_ATOMIC, GFP_KERNEL, GFP_NOWAIT, GFP_NOWARN
from kernel_sim.percpu.chunk import RESERVED

Build = Callable[..., Any]


def percpu_lines(kernel: Any) -> list[str]:
    """Return what the allocator printed since boot."""
    return [t for _, t in kernel.machine.kernel_log if "allocation" in t or "limit reached" in t]


def test_an_allocation_gives_an_area_in_the_first_chunk_and_tells_of_it(
    small_kernel: Build,
) -> None:
    kernel = small_kernel()
    kernel.machine.take_events()
    ptr = kernel.alloc(61, align=16)
    event = next(
        row.event
        for row in kernel.machine.take_events()
        if isinstance(row.event, PercpuAllocPercpu)
    )
    chunk = kernel.machine.percpu.chunks[0]
    assert event.ptr == ptr
    assert chunk.base_addr + event.off - kernel.machine.percpu.base_addr == ptr
    assert (event.size, event.align, event.off % 16) == (64, 16, 0)
    assert event.bytes_alloc == 64 * 4 + 16 * 8
    assert kernel.live_areas() == {(0, event.off): 64}
    kernel.check()


def test_8_bytes_on_4_cpus_are_48_bytes_of_memory(small_kernel: Build) -> None:
    kernel = small_kernel()
    kernel.alloc(8)
    assert kernel.machine.take_events()[0].event.bytes_alloc == 48


@pytest.mark.parametrize(
    ("size", "align"),
    [(0, 8), (32769, 8), (8, 8192), (8, 24), (1 << 40, 8), (32768 + 4, 4)],
)
def test_an_illegal_request_is_warned_of_and_refused(
    small_kernel: Build, size: int, align: int
) -> None:
    kernel = small_kernel()
    assert kernel.alloc(size, align=align) == 0
    rounded = -(-size // 4) * 4
    text = f"illegal size ({rounded}) or align ({align}) for percpu allocation"
    assert kernel.machine.kernel_log[-1][1].endswith(text)
    assert kernel.live_areas() == {}
    kernel.check()


def test_an_illegal_request_that_wants_no_warning_gets_none(small_kernel: Build) -> None:
    kernel = small_kernel()
    nr_lines = len(kernel.machine.kernel_log)
    assert kernel.alloc(0, gfp=GFP_KERNEL | GFP_NOWARN) == 0
    assert len(kernel.machine.kernel_log) == nr_lines


def test_a_chunk_is_made_when_no_hint_fits(small_kernel: Build) -> None:
    kernel = small_kernel(mode="scripted")
    kernel.use_up_ready_space()
    kernel.machine.take_events()
    assert kernel.alloc(4096, align=4096)
    assert kernel.taken_events() == [
        "percpu_create_chunk", "percpu_populate", "percpu_alloc_percpu",
    ]  # fmt: skip
    assert list(kernel.machine.percpu.chunks) == [RESERVED, 0, 1]
    kernel.check()


def test_an_area_of_a_whole_unit_can_be_had(small_kernel: Build) -> None:
    kernel = small_kernel()
    ptr = kernel.alloc(32768)
    assert ptr
    assert kernel.live_areas() == {(1, 0): 32768}
    kernel.check()
    kernel.free(ptr)
    kernel.check()


@pytest.mark.parametrize("gfp", [GFP_ATOMIC, GFP_NOWAIT])
def test_an_atomic_request_makes_no_chunk_and_prints_nothing(small_kernel: Build, gfp: int) -> None:
    kernel = small_kernel(mode="scripted")
    kernel.use_up_ready_space()
    kernel.machine.take_events()
    nr_lines = len(kernel.machine.kernel_log)
    assert kernel.alloc(4096, gfp=gfp) == 0
    percpu = kernel.machine.percpu
    assert kernel.taken_events()[0] == "percpu_alloc_percpu_fail"
    assert (len(kernel.machine.kernel_log), list(percpu.chunks)) == (nr_lines, [RESERVED, 0])
    assert percpu.atomic_alloc_failed
    assert kernel.machine.work.queued_cpu == 0
    kernel.check()


def test_after_a_failed_atomic_request_the_work_makes_room_for_the_next(
    small_kernel: Build,
) -> None:
    kernel = small_kernel(mode="scripted")
    kernel.use_up_ready_space()
    assert kernel.alloc(4096, gfp=GFP_ATOMIC) == 0
    kernel.balance()
    assert not kernel.machine.percpu.atomic_alloc_failed
    assert kernel.machine.percpu.nr_empty_pop_pages >= 4
    assert kernel.alloc(4096, gfp=GFP_ATOMIC)
    kernel.check()


def test_reserved_space_is_for_reserved_requests_only(small_kernel: Build) -> None:
    kernel = small_kernel()
    ptrs = [kernel.alloc(2048, reserved=True) for _ in range(5)]
    assert [number for number, _ in kernel.live_areas()] == [RESERVED] * 4
    assert ptrs[4] == 0
    assert percpu_lines(kernel) == [
        "percpu: allocation failed, size=2048 align=8 atomic=0, alloc from reserved chunk failed"
    ]
    kernel.check()
    for ptr in ptrs:
        kernel.free(ptr)
    assert kernel.live_areas() == {}
    kernel.check()


def test_without_reserved_space_a_reserved_request_is_like_any_other(small_kernel: Build) -> None:
    kernel = small_kernel(reserved=False)
    assert kernel.alloc(64, reserved=True)
    assert [number for number, _ in kernel.live_areas()] == [0]


def test_ten_failures_are_printed_then_the_limit_is_reached(small_kernel: Build) -> None:
    kernel = small_kernel()
    for _ in range(4):
        kernel.alloc(2048, reserved=True)
    assert kernel.alloc(8, reserved=True, gfp=GFP_KERNEL | GFP_NOWARN) == 0
    for _ in range(13):
        assert kernel.alloc(8, reserved=True) == 0
    failed = "percpu: allocation failed, size=8 align=8 atomic=0, alloc from reserved chunk failed"
    assert percpu_lines(kernel) == [failed] * 10 + ["percpu: limit reached, disable warning"]
    assert [level for level, _ in kernel.machine.kernel_log[-2:]] == [4, 6]


def test_a_free_gives_the_area_back_and_tells_of_it(small_kernel: Build) -> None:
    kernel = small_kernel()
    ptr = kernel.alloc(64)
    other = kernel.alloc(64)
    kernel.machine.take_events()
    kernel.free(ptr, cpu=3)
    (row,) = kernel.machine.take_events()
    chunk = kernel.machine.percpu.chunks[0]
    off = ptr + kernel.machine.percpu.base_addr - chunk.base_addr & (1 << 64) - 1
    assert (row.cpu, row.event) == (3, PercpuFreePercpu(chunk.base_addr, off, ptr))
    kernel.check()
    assert kernel.alloc(64) == ptr != other


def test_freeing_nothing_does_nothing(small_kernel: Build) -> None:
    kernel = small_kernel()
    kernel.free(0)
    assert kernel.machine.take_events() == []
    kernel.check()


@pytest.mark.parametrize("shift", [4, 2, -4, 1 << 30])
def test_a_free_inside_or_outside_an_area_stops_the_machine(
    small_kernel: Build, shift: int
) -> None:
    kernel = small_kernel()
    ptr = kernel.alloc(64)
    kernel.give(2, "free_percpu", ptr + shift)
    kernel.drain()
    fault = kernel.machine.fault
    assert fault is not None
    assert (fault.cpu, fault.frames) == (2, ("free_percpu",))
    assert fault.reason.startswith(f"cpu 2: free of {ptr + shift:#x}: no ")


def test_chunks_are_found_by_address_and_gaps_belong_to_nobody(small_kernel: Build) -> None:
    kernel = small_kernel()
    kernel.use_up_ready_space()
    kernel.alloc(4096)
    percpu = kernel.machine.percpu
    new = percpu.chunks[1]
    assert percpu.chunk_of(new.base_addr) is new
    assert percpu.chunk_of(new.base_addr + percpu.unit_size_bytes - 1) is new
    assert percpu.chunk_of(new.base_addr + percpu.unit_size_bytes) is None
    assert percpu.chunk_of(percpu.base_addr) is None
    assert percpu.chunk_of(percpu.base_addr + 6000) is percpu.chunks[RESERVED]
    assert percpu.chunk_of(percpu.base_addr + percpu.first_offset) is percpu.chunks[0]
    assert percpu.chunk_of(percpu.base_addr + percpu.first_end) is None


def test_too_few_ready_pages_ask_for_the_work(small_kernel: Build) -> None:
    kernel = small_kernel(mode="scripted")
    kernel.use_up_ready_space(leave=4096)
    assert kernel.machine.percpu.nr_empty_pop_pages < 2
    assert kernel.machine.work.queued_cpu == 0
    assert kernel.machine.work.nr_requests >= 1


def test_while_the_kernel_is_young_no_work_is_asked_for(small_kernel: Build) -> None:
    kernel = small_kernel(mode="scripted")
    kernel.knob("async_work", False)
    kernel.use_up_ready_space(leave=0)
    assert kernel.machine.work.queued_cpu == -1


def test_a_failed_populate_frees_the_area_and_keeps_the_chunk(small_kernel: Build) -> None:
    kernel = small_kernel(mode="scripted")
    kernel.use_up_ready_space()
    before = kernel.live_areas()
    free_pages = kernel.nr_unused_pages()
    kernel.knob("fail_pages", 2)
    assert kernel.alloc(4096) == 0
    assert kernel.live_areas() == before
    assert kernel.nr_unused_pages() == free_pages
    assert list(kernel.machine.percpu.chunks) == [RESERVED, 0, 1]
    assert percpu_lines(kernel)[-1] == (
        "percpu: allocation failed, size=4096 align=8 atomic=0, failed to populate"
    )
    assert kernel.taken_events()[-2:] == ["percpu_alloc_percpu_fail", "console"]
    kernel.check()


def test_with_the_faithful_hint_a_chunk_with_room_is_passed_over(small_kernel: Build) -> None:
    for free_hint, number in (("faithful", 2), ("fixed", 1)):
        kernel = small_kernel(free_hint=free_hint, mode="scripted")
        kernel.use_up_ready_space(leave=0)
        kernel.alloc(3172 * 4, align=4)
        hole = kernel.alloc(8, align=4)
        kernel.alloc(32768 - 3174 * 4, align=4)
        kernel.free(hole)
        kernel.alloc(8, align=4)
        assert (number, 0 if number == 2 else 3172 * 4) in kernel.live_areas()
        kernel.check()
