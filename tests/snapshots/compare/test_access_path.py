"""The way to a copy, told by the system's code: as many references as the CPU then really makes."""

from __future__ import annotations

import copy

import pytest

from kernel_sim.errors import BadAccess
from snapshots.compare.access_path import access_path
from snapshots.compare.measured_access import _tlb_counts
from snapshots.compare.runner import Comparison
from snapshots.compare.system_run import SystemRun


def performed(run: SystemRun, cpu: int, ptr: int, owner: int) -> int:
    """How many addresses the CPU's TLB is asked for when it really does it."""
    before = _tlb_counts(run.machine, cpu)[0]
    args = (ptr, 1) if cpu == owner else (ptr, owner, 1)
    run.timeline.take("this_cpu_read" if cpu == owner else "per_cpu", cpu, args)
    return _tlb_counts(run.machine, cpu)[0] - before


def test_it_is_as_long_as_the_access_and_ends_at_the_copy(mixed: Comparison) -> None:
    for run in mixed.runs:
        system = run.machine.system
        for area in list(run.live.values())[:6]:
            for cpu, owner in ((0, 0), (3, 3), (0, 1), (2, 0)):
                path = access_path(run.machine, cpu, area.ptr, owner)
                assert path[-1].addr == system.copy_addr(area.ptr, owner)
                assert len(path) == performed(run, cpu, area.ptr, owner)


def test_it_says_where_each_reference_lies(mixed: Comparison) -> None:
    for run in mixed.runs:
        area = next(iter(run.live.values()))
        for reached in access_path(run.machine, 0, area.ptr, 3):
            phys = run.machine.space.translate(reached.addr)
            assert phys is not None
            assert reached.node == run.machine.pages.node_of_pfn(phys >> 12)
            assert reached.page_addr <= reached.addr < reached.page_addr + (1 << reached.page_shift)
            assert reached.page_addr % (1 << reached.page_shift) == 0


def test_asking_touches_nothing(mixed: Comparison) -> None:
    for run in mixed.runs:
        area = next(iter(run.live.values()))
        before = copy.deepcopy([tlb.dump() for tlb in run.machine.tlbs.values()])
        access_path(run.machine, 0, area.ptr, 1)
        assert [tlb.dump() for tlb in run.machine.tlbs.values()] == before


def test_where_nothing_is_mapped_it_says_so(mixed: Comparison) -> None:
    run = next(run for run in mixed.runs if run.label == "bitmap")
    with pytest.raises(BadAccess, match="unable to handle page fault"):
        access_path(run.machine, 0, 1 << 40, 0)
