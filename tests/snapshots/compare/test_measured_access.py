"""An access is really made: memory and TLBs show it, and what it cost is what they count."""

from __future__ import annotations

import pytest

from kernel_sim.boot import boot
from kernel_sim.errors import BadAccess
from snapshots.compare.machines import USUAL_MACHINE, chosen_systems, machine_of
from snapshots.compare.measured_access import measured_access
from snapshots.timeline import Timeline


def started(system: str = "bitmap", **changed: object) -> tuple[Timeline, int]:
    """A machine with one area of 64 bytes, and its ptr."""
    (chosen,) = chosen_systems(system)
    timeline = Timeline(boot(machine_of(chosen, {**USUAL_MACHINE, **changed}, "test")))
    call = timeline.take("pcpu_alloc", 0, (64, 8, False, 0xCC0, "test"))
    assert call is not None
    assert isinstance(call.result, int)
    return timeline, call.result


def test_the_first_access_misses_and_the_second_hits() -> None:
    timeline, ptr = started()
    timeline.take("flush_tlb_all", 0, ())
    first = measured_access(timeline, ptr, 4, cpu=2, owner=2, write=False)
    again = measured_access(timeline, ptr, 4, cpu=2, owner=2, write=False)
    assert (first.nr_references, first.nr_tlb_misses) == (1, 1)
    assert first.nr_walk_references >= 2
    assert again[:4] == (1, 0, 0, 0)


def test_what_is_written_is_there_and_the_copies_of_others_are_not_touched() -> None:
    timeline, ptr = started()
    measured_access(timeline, ptr, 4, cpu=1, owner=1, write=True)
    measured_access(timeline, ptr, 4, cpu=1, owner=3, write=True)
    machine = timeline.machine
    found = []
    for cpu in range(4):
        addr = machine.system.copy_addr(ptr, cpu)
        assert addr is not None
        phys = machine.space.translate(addr)
        assert phys is not None
        found.append(int.from_bytes(machine.memory.read(phys, 4), "little"))
    assert found == [0, 1, 0, 1]


def test_anothers_copy_takes_a_look_into_the_table_and_the_other_nodes_memory() -> None:
    timeline, ptr = started()
    for write in (False, True):
        cost = measured_access(timeline, ptr, 4, cpu=0, owner=3, write=write)
        assert cost.nr_references == 2
        assert [reached.node for reached in cost.path] == [0, 1]
        assert cost.nr_remote == 1


def test_without_tlbs_the_path_is_counted() -> None:
    timeline, ptr = started(tlb={"profile": "none"})
    cost = measured_access(timeline, ptr, 4, cpu=0, owner=3, write=False)
    assert cost[:4] == (2, 0, 0, 1)


def test_what_would_fault_is_not_done() -> None:
    timeline, _ = started()
    nr_inputs = timeline.nr_inputs
    with pytest.raises(BadAccess):
        measured_access(timeline, 1 << 40, 4, cpu=0, owner=0, write=False)
    assert timeline.nr_inputs == nr_inputs
    assert timeline.machine.fault is None
