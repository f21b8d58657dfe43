"""A run made again tells the same story: same events, same states, calls that nest."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_sim.boot import boot
from kernel_sim.call import IN_IRQ, Call
from kernel_sim.config import MachineConfig
from kernel_sim.events import TlbFlush
from kernel_sim.machine import Machine
from snapshots.errors import RecordingError
from snapshots.rerun import Rerun, Retold, go_on_to, retell
from snapshots.state_codec import state_digest
from snapshots.timeline import NO_LIMIT, Timeline
from tests.snapshots.conftest import (
    BUSY,
    CONFIGS,
    SCHEDULES,
    Action,
    events_of,
    inputs_of,
    recorded,
    short_segments,
    small_config,
    straight_run,
)


def on_cpus(machine: Machine) -> dict[int, Call]:
    return {id(call): call for cpu in machine.cpus.values() for call in cpu.stack}


@settings(max_examples=25, deadline=None)
@given(CONFIGS, SCHEDULES)
def test_every_step_shows_the_states_and_events_of_a_straight_run(
    config: MachineConfig, actions: list[Action]
) -> None:
    with short_segments(5):
        timeline = recorded(config, actions)
        digests, events = straight_run(config, inputs_of(timeline), timeline.end_step)
        rerun = Rerun(timeline)
        seen = []
        under_way: dict[int, Call] = {}
        for beat in rerun.beats():
            assert state_digest(rerun.machine) == digests[beat.step]
            seen += beat.events
            under_way |= {id(call): call for _, call in beat.began}
            for call in beat.ended:
                del under_way[id(call)]
            assert under_way.keys() == on_cpus(rerun.machine).keys()
        assert seen == events == events_of(timeline)
        assert timeline.step == timeline.end_step


@settings(max_examples=25, deadline=None)
@given(CONFIGS, SCHEDULES, st.lists(st.integers(1, 30), max_size=5))
def test_running_in_pieces_shows_the_same(
    config: MachineConfig, actions: list[Action], pieces: list[int]
) -> None:
    timeline = recorded(config, actions)
    digests, events = straight_run(config, inputs_of(timeline), timeline.end_step)
    rerun = Rerun(timeline, from_boot=True)
    seen = []
    for piece in [*pieces, timeline.end_step]:
        goal = min(rerun.machine.step + piece, timeline.end_step)
        seen += rerun.run_to(goal)
        assert state_digest(rerun.machine) == digests[goal]
    assert seen == events


def test_the_input_behind_a_call_is_known_while_it_runs() -> None:
    timeline = recorded(small_config(cpus=3), BUSY)
    rerun = Rerun(timeline)
    named = 0
    for beat in rerun.beats():
        for _, call in beat.began:
            found = rerun.input_of(call)
            assert (found is None) == (call.context != "task" or call.name.startswith("pcpu_bal"))
            if found is not None:
                assert (found.do, found.cpu, found.args) == (call.name, call.cpu, call.args)
                named += 1
    assert named > 20


def test_a_run_that_promises_more_steps_is_refused() -> None:
    timeline = recorded(small_config(), BUSY)
    timeline.end_step += 3
    with pytest.raises(RecordingError, match="the recording promises step"):
        list(Rerun(timeline).beats())


@settings(max_examples=25, deadline=None)
@given(CONFIGS, SCHEDULES, st.integers(1, 9))
def test_a_retold_run_has_every_input_where_it_was(
    config: MachineConfig, actions: list[Action], every: int
) -> None:
    timeline = recorded(config, actions)
    with short_segments(every):
        retold = Retold(Rerun(timeline, from_boot=True).machine)
        for each in inputs_of(timeline):
            retell(retold, each)
        go_on_to(retold, timeline.end_step)
    assert inputs_of(retold) == inputs_of(timeline)
    assert events_of(retold) == events_of(timeline)
    assert retold.end_step == timeline.end_step
    for step in {0, timeline.end_step // 2, timeline.end_step}:
        timeline.seek(step)
        retold.seek(step)
        assert state_digest(timeline.machine) == state_digest(retold.machine)


def test_a_retold_run_cannot_go_back() -> None:
    timeline = recorded(small_config(), BUSY)
    retold = Retold(Timeline(timeline.machine).machine)
    with pytest.raises(RecordingError, match="its next input or end is of step 0"):
        go_on_to(retold, 0)


def test_a_full_time_line_would_move_an_input_and_a_retold_one_does_not() -> None:
    timeline = recorded(small_config(cpus=3), BUSY)
    moved = 0
    for every in range(1, 9):
        for kind in (Timeline, Retold):
            with short_segments(every):
                told = kind(Rerun(timeline, from_boot=True).machine)
                try:
                    for each in inputs_of(timeline):
                        retell(told, each)
                except RecordingError as problem:
                    assert kind is Timeline and "can only be given at step" in str(problem)
                    moved += 1
    assert moved


def test_every_interrupt_is_told() -> None:
    """Every remote flush is one."""
    mapping = small_config(cpus=4, policy="random", seed=3).to_mapping()
    mapping["tlb"] = {"profile": "skylake"}
    timeline = Timeline(boot(MachineConfig.from_mapping(mapping, where="test")))
    for number in range(12):
        timeline.give("flush_tlb_all", number % 4)
        for cpu in range(4):
            timeline.give("pcpu_alloc", cpu, (4096, 8, False, 0xCC0, "here"))
    timeline.advance(NO_LIMIT)
    rerun = Rerun(timeline)
    told = 0
    for beat in rerun.beats():
        told += sum(call.context == IN_IRQ for _, call in beat.began)
    flushes = [at.event for at in events_of(timeline) if isinstance(at.event, TlbFlush)]
    assert told == sum(event.reason == 1 for event in flushes) > 9
