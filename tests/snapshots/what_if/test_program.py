"""Rows played on a bare machine and on a timeline come to the same."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_sim.boot import boot
from kernel_sim.config import MachineConfig
from kernel_sim.random_state import RandomState
from snapshots.errors import InputRefused
from snapshots.state_codec import state_digest
from snapshots.timeline import NO_LIMIT, Timeline
from snapshots.what_if.program import BareRun, Left, Played, Player, Row, TimelineRun, finished
from snapshots.what_if.retrace import program_of
from tests.snapshots.conftest import (
    BUSY,
    CONFIGS,
    GFP_KERNEL,
    SCHEDULES,
    Action,
    events_of,
    inputs_of,
    recorded,
    small_config,
)

LAWS = settings(max_examples=60, deadline=None)
ASK = (64, 8, False, GFP_KERNEL, "here")


def row(number: int, do: str, *args: int | str | bool, cpu: int = 0, idle: bool = True) -> Row:
    return Row(number, do, cpu, args, 0, number, idle)


def play_both(
    config: MachineConfig, rows: list[Row], tail_steps: int | None = None
) -> tuple[Played, Timeline]:
    """Play rows on both, which must agree; returns what the timeline's play gave."""
    machine = boot(config)
    bare = finished(Player(BareRun(machine), rows).play(tail_steps))
    timeline = Timeline(boot(config))
    recorded_too = finished(Player(TimelineRun(timeline), rows).play(tail_steps))
    assert recorded_too.given == bare.given
    assert recorded_too.along == bare.along
    assert [each.number for each in recorded_too.refused] == [each.number for each in bare.refused]
    assert recorded_too.stopped == bare.stopped
    assert state_digest(timeline.machine) == state_digest(machine)
    assert events_of(timeline) == machine.events
    return recorded_too, timeline


@LAWS
@given(CONFIGS, SCHEDULES, st.sets(st.integers(0, 39)))
def test_a_part_of_a_program_comes_to_the_same_bare_and_recorded(
    config: MachineConfig, actions: list[Action], gone: set[int]
) -> None:
    program, _ = finished(program_of(recorded(config, actions)))
    rows = [row for row in program.rows if row.number not in gone]
    play_both(config, rows, program.tail_steps)


def test_all_of_a_program_from_boot_is_the_run_itself() -> None:
    config = small_config(cpus=4, policy="random")
    timeline = recorded(config, BUSY)
    program, _ = finished(program_of(timeline))
    played, again = play_both(config, program.rows)
    assert inputs_of(again) == inputs_of(timeline)
    assert played.given == program.rows


def test_a_refused_row_is_told_wherever_it_stands_in_its_stretch() -> None:
    bad = (64, 8, False, GFP_KERNEL, 5)
    for place in range(3):
        rows = [
            row(at, "pcpu_alloc", *(bad if at == place else ASK), idle=not at) for at in range(3)
        ]
        rows = [each._replace(stretch=0) for each in rows]
        played, timeline = play_both(small_config(), rows)
        assert [left.number for left in played.refused] == [place]
        assert timeline.nr_inputs == 2
        assert [each.number for each in played.given] == [at for at in range(3) if at != place]


def test_a_row_waits_for_the_call_whose_result_it_names() -> None:
    timeline = recorded(small_config(), [])
    timeline.give("pcpu_alloc", 0, ASK)
    timeline.advance(1 << 62)
    timeline.give("this_cpu_write", 1, (int(str(timeline.calls[0].result)), 1, 8))
    timeline.advance(1 << 62)
    program, _ = finished(program_of(timeline))
    at_once = [program.rows[0], program.rows[1]._replace(when_idle=False, stretch=0, step=0)]
    played, again = play_both(small_config(), at_once)
    assert not played.along
    assert again.input_at(1).step == again.input_at(0).step + 4


def test_rows_behind_a_fault_are_told_and_not_given() -> None:
    rows = [row(0, "free_percpu", 0x999), row(1, "pcpu_alloc", *ASK), row(2, "purge_vmap")]
    played, timeline = play_both(small_config(), rows)
    assert [left.number for left in played.stopped] == [1, 2]
    assert isinstance(played.stopped[0], Left) and "fault" in played.stopped[0].why
    assert timeline.nr_inputs == 1


def test_progress_is_told_while_it_works() -> None:
    program, _ = finished(program_of(recorded(small_config(cpus=4), BUSY)))
    seen: list[tuple[int, int]] = []
    player = Player(BareRun(boot(small_config(cpus=4))), program.rows)
    finished(player.play(None), lambda here, goal: seen.append((here, goal)))
    assert seen == sorted(seen) and seen[0] == (0, len(program.rows))


def wild(seed: int, nr_inputs: int = 60) -> Timeline:
    """A seeded run of all kinds of calls, of parked ones, CPUs that come and go, and failures."""
    random = RandomState.from_seed(seed)
    timeline = Timeline(boot(small_config(cpus=4, policy="random", seed=seed)))
    for _ in range(nr_inputs):
        if timeline.machine.fault is not None:
            break
        cpu = random.below(4)
        do, *args = _any_call(timeline, random)
        timeline.give(str(do), cpu, tuple(args))  # type: ignore[arg-type]
        goal = (timeline.step, timeline.step + random.below(9), NO_LIMIT)[random.below(3)]
        with suppress(InputRefused):
            timeline.advance(goal)
    for cpu in range(4):
        if timeline.machine.fault is None:  # at a deadlock nobody can give anything that counts
            timeline.give("unpark", cpu)
            with suppress(InputRefused):
                timeline.advance(timeline.step + 1)
    for _ in range(9):
        with suppress(InputRefused):
            timeline.advance(NO_LIMIT)
    return timeline


def _any_call(timeline: Timeline, random: RandomState) -> tuple[object, ...]:
    results = [
        int(str(call.result))
        for call in timeline.calls.values()
        if call.done and isinstance(call.result, int) and call.result > 0
    ]
    some = results[random.below(len(results))] if results else 0
    calls: tuple[tuple[object, ...], ...] = (
        ("pcpu_alloc", 4 * (1 + random.below(3000)), 8, False, GFP_KERNEL, "x"),
        ("pcpu_alloc", 4 * (1 + random.below(3000)), 8, False, GFP_KERNEL, "x"),
        ("kmalloc_node", 8 << random.below(8), GFP_KERNEL, -1),
        ("vmalloc", 4096 * (1 + random.below(3))),
        ("alloc_pages", random.below(3), GFP_KERNEL, -1),
        ("cpu_down", 1 + random.below(3)),
        ("cpu_up", 1 + random.below(3)),
        ("run_to_lock", 1 + random.below(3)),
        ("unpark",),
        ("kworker",),
        ("purge_vmap",),
        ("fail_pages", random.below(40)),
        ("fail_pages", -1),
        ("this_cpu_write", some, 1, 8),
        ("free_percpu", some),
        ("vfree", some),
    )
    return calls[random.below(len(calls) - 3 * (random.below(4) > 0))]


@pytest.mark.parametrize("seed", (1102, 1377, *range(40)))
def test_a_wild_run_is_the_same_played_again_bare_or_recorded_whole_or_in_part(seed: int) -> None:
    timeline = wild(seed)
    program, machine = finished(program_of(timeline))
    config = timeline.machine.config
    played, again = play_both(config, program.rows, program.tail_steps)
    if not played.stopped:
        assert state_digest(machine) == state_digest(timeline.machine)
        assert inputs_of(again) == inputs_of(timeline)
        assert state_digest(again.machine) == state_digest(machine)
    for gone in range(0, len(program.rows), 7):
        rows = program.rows[:gone] + program.rows[gone + 1 :]
        play_both(config, rows, program.tail_steps)
