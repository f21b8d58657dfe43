"""What leads to no step waits: a position shows one state, however one comes to it."""

from __future__ import annotations

from kernel_sim.boot import boot
from kernel_sim.mm.gfp import GFP_ATOMIC, GFP_KERNEL
from snapshots.handed_over import HandedOver
from snapshots.state_codec import state_digest
from snapshots.timeline import NO_LIMIT, Timeline
from tests.snapshots.conftest import small_config

ASK = (8, 8, False, GFP_KERNEL, "f+0x1")


def parked() -> Timeline:
    """CPU 1 is parked where it holds the mutex; CPU 0 waits for it."""
    timeline = Timeline(boot(small_config(cpus=2)))
    timeline.give("pcpu_alloc", 1, ASK)
    timeline.give("run_to_lock", 1, (2,))
    timeline.advance(NO_LIMIT)
    timeline.give("pcpu_alloc", 0, ASK)
    timeline.advance(NO_LIMIT)
    return timeline


def test_a_call_that_could_only_stand_in_line_waits_outside() -> None:
    timeline = parked()
    before = state_digest(timeline.machine)
    nr_given = timeline.next_input
    timeline.give("pcpu_alloc", 0, ASK)
    timeline.give("kworker", 0)
    assert timeline.advance(NO_LIMIT) is False
    assert state_digest(timeline.machine) == before
    assert timeline.next_input == nr_given
    timeline.give("unpark", 1)
    timeline.advance(NO_LIMIT)
    assert timeline.machine.is_idle and timeline.next_input == timeline.nr_inputs
    assert timeline.calls[nr_given].done


def test_every_position_of_such_a_run_shows_one_state() -> None:
    timeline = parked()
    for _ in range(3):
        timeline.give("pcpu_alloc", 0, (64, 8, False, GFP_ATOMIC, "g+0x1"))
        timeline.advance(NO_LIMIT)
    live = state_digest(timeline.machine)
    end = timeline.end_step
    timeline.seek(1)
    timeline.seek(end)
    assert state_digest(timeline.machine) == live


def test_nothing_is_taken_back_after_a_step() -> None:
    machine = boot(small_config(cpus=1))
    handed = HandedOver()
    call = machine.give(0, "pcpu_alloc", ASK)
    handed.note(call, machine.work)
    handed.clear()
    assert handed.take_back(machine) == 0 and machine.cpus[0].stack == [call]
    handed.note(call, machine.work)
    assert handed.take_back(machine) == 1 and machine.is_idle and not machine.cpus[0].stack
