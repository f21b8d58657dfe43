"""The machine under asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from kernel_sim.drive import call, events, run
from kernel_sim.errors import KernelFault

Build = Callable[..., Any]
REQUEST = (64, 8, False, 0xCC0, "f+0x1")


async def test_run_ends_when_nothing_is_left_to_do(small_kernel: Build) -> None:
    kernel = small_kernel()
    given = [kernel.give_alloc(8, cpu=cpu) for cpu in range(4)]
    step = await run(kernel.machine)
    assert step == kernel.machine.step > 0
    assert all(each.done for each in given)


async def test_run_takes_so_many_steps_and_no_more(small_kernel: Build) -> None:
    kernel = small_kernel()
    kernel.give_alloc(8)
    assert await run(kernel.machine, 2) == 2
    assert await run(kernel.machine, 0) == 2


async def test_a_call_gives_its_result(small_kernel: Build) -> None:
    kernel = small_kernel()
    ptr = await call(kernel.machine, 1, "pcpu_alloc", *REQUEST)
    assert isinstance(ptr, int) and ptr
    await call(kernel.machine, 2, "free_percpu", ptr)
    assert kernel.live_areas() == {}


async def test_others_run_between_slices(small_kernel: Build) -> None:
    kernel = small_kernel()
    for _ in range(1000):
        kernel.give_alloc(8)
    seen: list[int] = []

    async def watch() -> None:
        while not kernel.machine.is_idle:
            seen.append(kernel.machine.step)
            await asyncio.sleep(0)

    await asyncio.gather(watch(), run(kernel.machine))
    assert len(dict.fromkeys(seen)) > 1


async def test_a_fault_is_raised(small_kernel: Build) -> None:
    with pytest.raises(KernelFault, match="cpu 0: free of 0x40"):
        await call(small_kernel().machine, 0, "free_percpu", 64)


async def test_a_parked_call_is_no_endless_wait(small_kernel: Build) -> None:
    kernel = small_kernel()
    kernel.give_alloc(8)
    kernel.knob("run_to_lock", 2)
    step = kernel.machine.step
    assert await run(kernel.machine) == step
    with pytest.raises(KernelFault, match="pcpu_alloc on cpu 1 cannot go on"):
        await call(kernel.machine, 1, "pcpu_alloc", *REQUEST)


async def test_events_come_in_order_and_all_of_them(small_kernel: Build) -> None:
    kernel, other = small_kernel(), small_kernel()
    for cpu in range(4):
        for each in (kernel, other):
            each.give_alloc(9000, cpu=cpu)
    seen = [row async for row in events(kernel.machine)]
    other.drain()
    assert seen == other.machine.take_events()
    assert [row.step for row in seen] == sorted(row.step for row in seen)
