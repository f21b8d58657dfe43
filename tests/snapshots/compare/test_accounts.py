"""What memory is for: counted against a slow count, byte by byte."""

from __future__ import annotations

from collections import Counter

import pytest

from kernel_sim.boot import boot
from kernel_sim.percpu.account import UNMAPPED
from kernel_sim.percpu.stretch import HOLE, KINDS
from snapshots.compare.accounts import CLASS_OF, accounts_of, class_totals
from snapshots.compare.machines import USUAL_MACHINE, chosen_systems, machine_of
from snapshots.compare.runner import Comparison
from snapshots.timeline import Timeline
from snapshots.what_if.program import finished


def test_classes_sum_to_all_memory_that_the_system_has(mixed: Comparison) -> None:
    for run in mixed.runs:
        accounts, system = run.accounts(), run.machine.system
        in_memory = sum(each.size_bytes for each in system.stretches() if each.kind != HOLE)
        assert accounts.total_bytes == in_memory + system.metadata_bytes()
        assert sum(accounts.own.per_node.values()) == in_memory
        assert sum(sum(by_class.values()) for by_class in accounts.by_cpu.values()) == in_memory
        assert all(number >= 0 for number in accounts.total.values())
        assert UNMAPPED not in accounts.own.per_node


def test_what_is_asked_is_counted_once_for_every_copy(mixed: Comparison) -> None:
    for run in mixed.runs:
        cpus = run.machine.topology.possible
        wanted = sum(
            area.size_bytes
            for area in run.live.values()
            for cpu in cpus
            if run.machine.system.copy_addr(area.ptr, cpu) is not None
        )
        assert run.accounts().total["asked"] == wanted
        assert run.accounts().nr_areas == len(run.live)


def test_pages_lie_where_they_should(mixed: Comparison) -> None:
    """Node by node as a walk of every byte's page says; what should lie elsewhere is told."""
    for run in mixed.runs:
        machine, slow = run.machine, Counter[int]()
        misplaced = 0
        for stretch in machine.system.stretches():
            if stretch.kind == HOLE:
                continue
            for addr in range(stretch.addr, stretch.end):
                if addr == stretch.addr or addr % 4096 == 0:
                    phys = machine.space.translate(addr)
                    assert phys is not None
                    node = machine.pages.node_of_pfn(phys >> 12)
                slow[node] += 1
                misplaced += stretch.cpu >= 0 and stretch.node not in (-1, node)
        assert run.accounts().own.per_node == slow
        assert run.accounts().own.misplaced_bytes == misplaced


def test_rounding_is_wasted() -> None:
    timeline = Timeline(boot(machine_of(chosen_systems("bitmap")[0], USUAL_MACHINE, "test")))
    call = timeline.take("pcpu_alloc", 0, (5, 4, False, 0xCC0, "test"))
    assert call is not None
    assert isinstance(call.result, int)
    accounts = accounts_of(timeline.machine, [(call.result, 5)])
    assert accounts.total["asked"] == 4 * 5
    assert accounts.total["wasted"] == 4 * 3
    assert accounts.by_cpu[2]["asked"] == 5
    room = accounts.total_bytes - accounts.total["static"]
    assert accounts.efficiency_percent == pytest.approx(100 * 20 / room)


def test_every_kind_of_stretch_has_a_class() -> None:
    assert set(CLASS_OF) == set(KINDS) - {HOLE}


def test_totals_in_slices_are_the_same(mixed: Comparison) -> None:
    for run in mixed.runs:
        areas = [(area.ptr, area.size_bytes) for area in run.live.values()]
        total = run.accounts().total
        assert finished(class_totals(run.machine, areas)) == total
        assert run.measured.samples[-1].asked_bytes == total["asked"]
