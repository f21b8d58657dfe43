from __future__ import annotations

from hypothesis import given, settings

from kernel_sim.boot import boot
from kernel_sim.config import MachineConfig
from kernel_sim.events import PercpuAllocPercpu, PercpuFreePercpu
from snapshots.history.change_index import run_now
from snapshots.history.life import BORN, FREED, REUSED, THERE, life_of
from snapshots.timeline import NO_LIMIT, Timeline
from tests.snapshots.conftest import CONFIGS, SCHEDULES, Action, recorded, small_config
from tests.snapshots.history.conftest import short_segments


def ptrs_of(timeline: Timeline) -> list[int]:
    events = [timeline.event_at(number).event for number in range(timeline.nr_events)]
    return list(
        dict.fromkeys(event.ptr for event in events if isinstance(event, PercpuAllocPercpu))
    )


@settings(max_examples=25, deadline=None)
@given(config=CONFIGS, actions=SCHEDULES)
def test_every_turn_of_every_place_is_told_in_order(
    config: MachineConfig, actions: list[Action]
) -> None:
    with short_segments(4):
        timeline = recorded(config, actions)
    for ptr in ptrs_of(timeline):
        rows = run_now(life_of(timeline, ptr))
        expected = [
            (at.step, at.cpu, isinstance(at.event, PercpuFreePercpu), number)
            for number in range(timeline.nr_events)
            if isinstance(
                (at := timeline.event_at(number)).event, PercpuAllocPercpu | PercpuFreePercpu
            )
            and at.event.ptr == ptr
        ]
        assert [(row.step, row.cpu, row.what == FREED, row.event) for row in rows] == expected
        assert [row.what for row in rows][:1] == [BORN]
        assert {row.what for row in rows[1:]} <= {FREED, REUSED}


def test_what_was_there_from_the_beginning_has_no_birth() -> None:
    machine = boot(small_config())
    ptr = int(str(machine.run_call(machine.give(0, "pcpu_alloc", (40, 8, False, 0xCC0, "early")))))
    timeline = Timeline(machine)
    timeline.give("free_percpu", 1, (ptr,))
    timeline.advance(NO_LIMIT)
    timeline.give("pcpu_alloc", 0, (16, 8, False, 0xCC0, "late"))
    timeline.advance(NO_LIMIT)
    rows = run_now(life_of(timeline, ptr))
    assert [row.what for row in rows] == [THERE, FREED, REUSED]
    assert (rows[0].size_bytes, rows[0].step, rows[0].event) == (40, timeline.first_step, -1)
    assert (rows[2].size_bytes, rows[2].call_site) == (16, "late")


def test_a_place_where_nothing_ever_was_has_no_life(run: Timeline) -> None:
    assert run_now(life_of(run, 0xDEAD_BEEF)) == ()
    assert len(list(life_of(run, 0xDEAD_BEEF))) == len(run.heads)  # it gives way at each segment
