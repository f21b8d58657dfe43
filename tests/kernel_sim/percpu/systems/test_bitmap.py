from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kernel_sim.errors import NotThisSystem
from kernel_sim.machine_state import dump_parts

Build = Callable[..., Any]


def counted(machine: Any, cpu: int) -> tuple[list[int], Callable[[int, int], int]]:
    seen: list[int] = []

    def load(addr: int, size: int) -> int:
        seen.append(addr)
        return int(machine.access.read_int(cpu, addr, size))

    return seen, load


def test_the_own_copy_costs_no_reference_and_anothers_one(small_kernel: Build) -> None:
    kernel = small_kernel()
    ptr = kernel.alloc(8)
    system = kernel.machine.system
    seen, load = counted(kernel.machine, 1)
    own = system.this_cpu(load, 1, ptr) & kernel.machine.arch.address_mask
    assert own == system.copy_addr(ptr, 1) and seen == []
    assert system.per_cpu(load, 1, ptr, 3) == system.copy_addr(ptr, 3)
    assert seen == [kernel.machine.symbol("__per_cpu_offset") + 24]


def test_it_knows_its_areas(small_kernel: Build) -> None:
    kernel = small_kernel()
    ptr = kernel.alloc(60)
    system = kernel.machine.system
    assert system.holds(ptr) and not system.holds(ptr + 4)
    assert (ptr, 60) in list(system.live_areas())
    kernel.free(ptr)
    assert not system.holds(ptr)
    assert system.nr_pages() == kernel.machine.percpu.nr_populated * 4
    assert dict(system.facts())["chunks"] == len(kernel.machine.percpu.chunks)


def test_a_chunk_that_changed_in_silence_is_found(small_kernel: Build) -> None:
    kernel = small_kernel()
    parts = dump_parts(kernel.machine)
    assert kernel.machine.system.unnoticed_change(parts) == ""
    kernel.machine.percpu.chunks[0].free_bytes -= 4
    assert kernel.machine.system.unnoticed_change(parts) == "chunk 0"


def test_without_it_its_listings_say_so(small_kernel: Build) -> None:
    machine = small_kernel().machine
    machine.bitmap = None
    with pytest.raises(NotThisSystem, match="'bitmap': see map, stretches or account"):
        _ = machine.percpu
    machine.units = None
    with pytest.raises(NotThisSystem, match="no chunks of units"):
        _ = machine.places
