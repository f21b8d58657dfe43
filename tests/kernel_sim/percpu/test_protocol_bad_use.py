"""Bad use of every per-CPU system: a result, or a machine that stands still and can be looked at.

Sizes and alignments that no kernel takes, pointers to nothing, CPUs that do not exist, flags that nobody
knows. Whatever comes of it is said as the kernel says it; never does our own code lose its footing, take
memory for what was asked, or go round for ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from kernel_sim.check import check_machine
from kernel_sim.errors import ConfigError
from kernel_sim.inputs import Input, apply_input
from kernel_sim.machine import Machine
from kernel_sim.machine_state import dump_parts
from kernel_sim.mm.gfp import GFP_ATOMIC, GFP_KERNEL
from kernel_sim.percpu.account import account_of
from tests.kernel_sim.percpu.catalogue_machines import (
    SYSTEMS,
    booted,
    keeps_mistakes,
    variants_of,
)

STEPS_MAX = 20_000
SIZES = (
    -(1 << 63),
    -4096,
    -1,
    0,
    3,
    8193,
    32769,
    1 << 20,
    1 << 31,
    1 << 32,
    (1 << 32) + 8,
    1 << 62,
)
ALIGNS = (-(1 << 63), -1, 0, 3, 4097, 8192, 1 << 31, 1 << 40, (1 << 63) - 1)
FLAGS = (0, -1, 0x100, 1 << 40, GFP_ATOMIC)
OFFSETS = (-(1 << 31), -4, 1, 4, 1 << 20, 1 << 40)
POINTERS = (
    0, 1, -1, 4096, 0xFFFFFFFF, (1 << 63) - 1, -(1 << 63), 0xFFFF888000000000,
    ~0xFFFF888000001000 & (1 << 64) - 1, ~0xC0001000 & 0xFFFFFFFF,
)  # fmt: skip
CPUS = (-1, 4, 8, 1 << 20, 1 << 62, -(1 << 62))
WIDTHS = (-1, 0, 3, 9, 4096, 1 << 60)


def bad_calls(live: int) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Yield calls; live is the ptr of an area of 100 bytes."""
    for size in SIZES:
        yield "pcpu_alloc", (size, 8, False, GFP_KERNEL, "bad")
    for align in ALIGNS:
        yield "pcpu_alloc", (64, align, False, GFP_KERNEL, "bad")
    for gfp in FLAGS:
        yield "pcpu_alloc", (64, 8, True, gfp, "bad")
        yield "pcpu_alloc", (4096, 4096, False, gfp, "bad")
    for owner in CPUS:
        yield "per_cpu_ptr", (live, owner)
        yield "per_cpu", (live, owner, 4)
    for width in WIDTHS:
        yield "this_cpu_read", (live, width)
        yield "this_cpu_add", (live, -(1 << 63), width)
    for ptr in (*(live + offset for offset in OFFSETS), *POINTERS):
        yield "free_percpu", (ptr,)
        yield "this_cpu_read", (ptr, 4)
        yield "per_cpu", (ptr, 2, 1)
    for ptr in POINTERS:
        yield "this_cpu_write", (ptr, 5, 4)


def with_an_area(name: str, arch: str, **tables: Any) -> tuple[Machine, int]:
    """Return a machine with an area of 100 bytes."""
    machine = booted(name, arch, **tables)
    ptr = machine.run_call(machine.give(0, "pcpu_alloc", (100, 8, False, GFP_KERNEL, "good")))
    machine.run(STEPS_MAX)
    assert isinstance(ptr, int) and ptr
    return machine, ptr


def use_badly(name: str, arch: str, **tables: Any) -> int:
    """Make every bad call; returns how many of them stopped a machine. A new one is booted then."""
    machine, live = with_an_area(name, arch, **tables)
    nr_stopped = 0
    for number in range(sum(1 for _ in bad_calls(live))):
        do, args = list(bad_calls(live))[number]
        before = machine.step
        apply_input(machine, Input(machine.step, do, number % 4, args))
        machine.run(before + STEPS_MAX)
        assert machine.is_idle or machine.fault is not None, f"{do}{args} does not end"
        account_of(machine), dump_parts(machine)
        if machine.fault is None:
            check_machine(machine)
        else:
            assert 0 < len(machine.fault.reason) < 1000
            nr_stopped += 1
        if machine.fault is not None or do == "this_cpu_write":
            machine, live = with_an_area(name, arch, **tables)
    return nr_stopped


@pytest.mark.parametrize(("name", "arch"), SYSTEMS)
def test_bad_use_is_answered(name: str, arch: str) -> None:
    assert use_badly(name, arch) > 20


@pytest.mark.slow
@pytest.mark.parametrize(("name", "arch"), SYSTEMS)
def test_so_it_is_with_every_switch(name: str, arch: str) -> None:
    for options in variants_of(name):
        try:
            with_an_area(name, arch, percpu={"options": options})
        except ConfigError:  # such a machine cannot be
            continue
        if not keeps_mistakes(
            options
        ):  # as posted, an alignment that cannot be asks for all memory
            use_badly(name, arch, percpu={"options": options})
