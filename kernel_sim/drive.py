"""The machine under asyncio: run in slices, give way between them, hand events out as they happen.

The scheduler inside resumes coroutines by itself, much faster than an event loop could; this is the
outside, which keeps a front end alive. The only file of kernel_sim that knows asyncio.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from kernel_sim.call import Arg
from kernel_sim.errors import KernelFault
from kernel_sim.events import EventAt
from kernel_sim.machine import Machine

SLICE_STEPS = 2000


async def run(machine: Machine, steps: int | None = None) -> int:
    """Let all CPUs run until nothing is left to do, or for so many steps; returns the step.

    Raises KernelFault when simulated code stops the machine.
    """
    goal = machine.step + steps if steps is not None else None
    while goal is None or machine.step < goal:
        before = machine.step
        end = before + SLICE_STEPS if goal is None else min(before + SLICE_STEPS, goal)
        more = machine.run(end)
        await asyncio.sleep(0)
        if machine.fault is not None:
            raise KernelFault(machine.fault.reason)
        if not more or machine.step == before:
            break
    return machine.step


async def call(machine: Machine, cpu: int, name: str, *args: Arg) -> object:
    """Give a CPU a call, let everything run until that call is done, and return its result.

    Raises KernelFault when simulated code stops the machine.
    """
    given = machine.give(cpu, name, args)
    while not given.done:
        before = machine.step
        await run(machine, 1)
        if machine.step == before:
            raise KernelFault(f"{name} on cpu {cpu} cannot go on: it is parked")
    return given.result


async def events(machine: Machine) -> AsyncIterator[EventAt]:
    """Let the machine run and yield every event at the slice in which it happened."""
    more = True
    while more and machine.fault is None:
        before = machine.step
        more = machine.run(before + SLICE_STEPS) and machine.step > before
        for at in machine.take_events():
            yield at
        await asyncio.sleep(0)
