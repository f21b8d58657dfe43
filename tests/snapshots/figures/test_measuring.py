"""What is measured is in the machine's memory and calls, not in what the system claims."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_sim.errors import KernelBug, KernelFault
from kernel_sim.percpu.stretch import STATIC
from snapshots.figures.bench import Bench
from snapshots.figures.inputs import AS_MAILED
from snapshots.figures.machines import legacy_machine
from snapshots.figures.measuring import (
    alloc,
    bytes_at,
    do,
    free,
    largest,
    load_module,
    offset_of_cpu,
    section_ptr,
    sum_of_bytes,
    word_at,
)


@given(st.integers(0, 300), st.integers(0, 300))
def test_the_largest_that_fits_is_found(limit: int, highest: int) -> None:
    assert largest(lambda size: size <= limit, highest) == min(limit, highest)


def test_offsets_are_read_from_memory() -> None:
    run = Bench(AS_MAILED).fresh(legacy_machine(AS_MAILED, 2))
    table = run.machine.symbol("__per_cpu_offset")
    phys = run.machine.space.translate(table + 4)
    assert phys is not None
    run.machine.memory.write(phys, (0x1234).to_bytes(4, "little"))
    assert offset_of_cpu(run, 1) == 0x1234 == word_at(run, table + 4)
    with pytest.raises(KernelBug, match="not mapped"):
        word_at(run, 0x1000)


def test_areas_and_modules_are_really_asked_for() -> None:
    run = Bench(AS_MAILED).fresh(legacy_machine(AS_MAILED, 2))
    ptr = alloc(run, 64)
    assert run.machine.system.holds(ptr)
    free(run, ptr)
    assert not run.machine.system.holds(ptr)
    assert section_ptr(run) == 0
    assert load_module(run, 14848)
    assert run.machine.system.holds(section_ptr(run))
    assert not load_module(run, 4, name="another")


def test_bytes_are_of_the_stretches_that_count() -> None:
    run = Bench(AS_MAILED).fresh(legacy_machine(AS_MAILED, 2))
    assert sum_of_bytes(run, lambda each: each.kind == STATIC) == 2 * 17892
    assert sum_of_bytes(run, lambda each: each.cpu == 5) == 0


def test_bytes_are_read_over_the_ends_of_pages() -> None:
    run = Bench(AS_MAILED).fresh(legacy_machine(AS_MAILED, 2))
    start = run.machine.symbol("__per_cpu_start")
    do(run, 0, "write", start + 4092, 0x11223344, 4)
    do(run, 0, "write", start + 4096, 0x55667788, 4)
    assert bytes_at(run, start + 4090, 10).hex() == "00004433221188776655"
    assert bytes_at(run, start, 10000).count(0x11) == 1


def test_a_call_that_stops_the_machine_is_an_error() -> None:
    run = Bench(AS_MAILED).fresh(legacy_machine(AS_MAILED, 2))
    with pytest.raises(KernelFault):
        free(run, 0x1234)
