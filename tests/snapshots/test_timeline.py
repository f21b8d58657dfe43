"""The laws of a timeline, held against a model that only boots and runs."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_sim.boot import boot
from kernel_sim.config import MachineConfig
from kernel_sim.inputs import Input
from kernel_sim.machine_state import check_cache
from snapshots import timeline as timeline_module
from snapshots.errors import InputRefused
from snapshots.recording import Origin, open_recording, save_timeline
from snapshots.segment import marks_of
from snapshots.state_codec import state_digest
from snapshots.timeline import NO_LIMIT, Timeline
from snapshots.verify import verify_recording
from tests.snapshots.conftest import (
    BUSY,
    CONFIGS,
    GFP_KERNEL,
    SCHEDULES,
    Action,
    events_of,
    inputs_of,
    play,
    recorded,
    short_segments,
    small_config,
    straight_run,
)

ROOT = Path(__file__).parents[2]
LAWS = settings(max_examples=60, deadline=None)
SEGMENT_INPUTS = st.sampled_from([1, 2, 3, 5, 11, 2048])
SEEDS = st.randoms(use_true_random=False)

IN_ANOTHER_PROCESS = """
import sys
from snapshots.recording import open_recording
from snapshots.state_codec import state_digest
opened = open_recording(sys.argv[1])
for step in map(int, sys.argv[2:]):
    opened.timeline.seek(step)
    print(step, state_digest(opened.timeline.machine))
"""


def digest_at(timeline: Timeline, step: int) -> str:
    timeline.seek(step)
    assert timeline.step == step
    return state_digest(timeline.machine)


@LAWS
@given(CONFIGS, SCHEDULES, SEGMENT_INPUTS, SEEDS)
def test_a_position_shows_the_same_state_from_wherever_one_comes(
    config: MachineConfig, actions: list[Action], inputs: int, random: object
) -> None:
    with short_segments(inputs):
        timeline = recorded(config, actions)
        digests, _ = straight_run(config, inputs_of(timeline), timeline.end_step)
        steps = list(range(timeline.end_step + 1))
        backwards = steps[::-7] if len(steps) > 60 else steps[::-1]
        forwards = steps[::5]
        anywhere = list(steps)
        random.shuffle(anywhere)  # type: ignore[attr-defined]
        for step in (*backwards, *forwards, *anywhere[:30]):
            assert digest_at(timeline, step) == digests[step], step
            check_cache(timeline.machine)


@LAWS
@given(CONFIGS, SCHEDULES, SEGMENT_INPUTS)
def test_events_and_inputs_are_those_of_a_straight_run(
    config: MachineConfig, actions: list[Action], inputs: int
) -> None:
    with short_segments(inputs):
        timeline = recorded(config, actions)
        _, events = straight_run(config, inputs_of(timeline), timeline.end_step)
        assert events_of(timeline) == events
        timeline.seek(timeline.end_step // 2)
        timeline.seek(NO_LIMIT)
        assert events_of(timeline) == events, "going back and forth adds none"
        assert list(timeline.marks()) == marks_of(events)


@LAWS
@given(CONFIGS, SCHEDULES, SEGMENT_INPUTS)
def test_counts_before_a_step_are_those_of_counting(
    config: MachineConfig, actions: list[Action], inputs: int
) -> None:
    with short_segments(inputs):
        timeline = recorded(config, actions)
        all_events, all_inputs = events_of(timeline), inputs_of(timeline)
        for step in range(-1, timeline.end_step + 2):
            assert timeline.events_before(step) == sum(at.step <= step for at in all_events)
            assert timeline.inputs_before(step) == sum(row.step < step for row in all_inputs)


@LAWS
@given(CONFIGS, SCHEDULES, st.data())
def test_moves_left_half_way_leave_a_sound_position(
    config: MachineConfig, actions: list[Action], data: st.DataObject
) -> None:
    with short_segments(3):
        timeline = recorded(config, actions)
        digests, _ = straight_run(config, inputs_of(timeline), timeline.end_step)
        position = st.integers(0, timeline.end_step)
        for _ in range(6):
            slices = data.draw(st.integers(1, 9))
            moves = timeline.moves(data.draw(position), slices)
            for _, _ in zip(range(data.draw(st.integers(0, 4))), moves, strict=False):
                pass
            moves.close()
            assert state_digest(timeline.machine) == digests[timeline.step]
        step = data.draw(position)
        assert digest_at(timeline, step) == digests[step]


@LAWS
@given(CONFIGS, SCHEDULES, SEGMENT_INPUTS, st.sampled_from([0.0, 0.001]), st.data())
def test_a_machine_comes_by_the_same_places_however_long_its_slices_are(
    config: MachineConfig, actions: list[Action], inputs: int, slice_s: float, data: st.DataObject
) -> None:
    looks = data.draw(st.integers(1, 9))
    with (
        short_segments(inputs),
        patch.multiple(timeline_module, SLICE_S=slice_s, STEPS_BETWEEN_LOOKS=looks),
    ):
        timeline = recorded(config, actions)
        end_step = timeline.end_step
        digests, events = straight_run(config, inputs_of(timeline), end_step)
        timeline.seek(0)
        for here in timeline.moves(end_step):
            assert state_digest(timeline.machine) == digests[here]
        assert state_digest(timeline.machine) == digests[end_step]
        assert timeline.end_step == end_step and events_of(timeline) == events


def test_a_call_that_was_gone_back_over_has_its_result_in_the_end() -> None:
    timeline = Timeline(boot(small_config(cpus=2)))
    number = timeline.give("pcpu_alloc", 0, (64, 8, False, GFP_KERNEL, "here"))
    timeline.advance(2)
    timeline.seek(0)
    timeline.seek(2)
    timeline.advance(NO_LIMIT)
    assert timeline.calls[number].done and timeline.calls[number].result


@LAWS
@given(CONFIGS, SCHEDULES, SCHEDULES, SEGMENT_INPUTS, st.data())
def test_a_fork_keeps_the_old_branch_and_is_a_run_of_its_own(
    config: MachineConfig,
    actions: list[Action],
    others: list[Action],
    inputs: int,
    data: st.DataObject,
) -> None:
    with short_segments(inputs):
        old = recorded(config, actions)
        old_inputs, old_events, end = inputs_of(old), events_of(old), old.end_step
        old_digests, _ = straight_run(config, old_inputs, end)
        at = data.draw(st.integers(0, end))
        old.seek(at)
        branch = old.fork()
        assert (branch.step, branch.end_step, branch.is_at_end) == (at, at, True)
        assert inputs_of(branch) == old_inputs[: branch.nr_inputs]
        assert events_of(branch) == [row for row in old_events if row.step <= at]
        play(branch, others)
        branch.advance(NO_LIMIT)
        digests, events = straight_run(config, inputs_of(branch), branch.end_step)
        assert events_of(branch) == events
        for step in {0, at, at // 2, branch.end_step, (at + branch.end_step) // 2}:
            assert digest_at(branch, step) == digests[step]
        assert (inputs_of(old), events_of(old), old.end_step) == (old_inputs, old_events, end)
        for step in {end, at, at // 2, 0}:
            assert digest_at(old, step) == old_digests[step]
        branch.must_reload = True  # the old branch has used the machine
        assert digest_at(branch, branch.end_step) == digests[branch.end_step]


def test_a_fork_of_a_fork_reaches_through_to_the_first_branch() -> None:
    config = small_config(cpus=4)
    with short_segments(3):
        first = recorded(config, BUSY)
        first.seek(first.end_step * 2 // 3)
        second = first.fork()
        play(second, BUSY[:9])
        second.advance(NO_LIMIT)
        second.seek(second.end_step * 2 // 3)
        third = second.fork()
        play(third, BUSY[4:12])
        third.advance(NO_LIMIT)
        digests, events = straight_run(config, inputs_of(third), third.end_step)
        assert events_of(third) == events
        for step in range(third.end_step, -1, -13):
            assert digest_at(third, step) == digests[step]


@LAWS
@given(CONFIGS, SCHEDULES, SEGMENT_INPUTS)
def test_a_saved_run_is_the_run(
    tmp_path_factory: pytest.TempPathFactory,
    config: MachineConfig,
    actions: list[Action],
    inputs: int,
) -> None:
    path = tmp_path_factory.mktemp("saved") / "run.kms"
    with short_segments(inputs):
        timeline = recorded(config, actions)
        save_timeline(path, timeline, Origin())
        assert verify_recording(path) == []
        opened = open_recording(path)
        again = opened.timeline
        assert opened.warnings == []
        assert again.step == again.first_step
        assert (inputs_of(again), events_of(again)) == (inputs_of(timeline), events_of(timeline))
        assert list(again.marks()) == list(timeline.marks())
        assert [(h.first_step, h.first_input, h.first_event) for h in again.heads] == [
            (h.first_step, h.first_input, h.first_event) for h in timeline.heads
        ]
        for number in range(len(again.heads)):
            assert again.body(number) == timeline.body(number)
        for step in range(timeline.end_step, -1, -5):
            assert digest_at(again, step) == digest_at(timeline, step)
        opened.reader.close()


@LAWS
@given(CONFIGS, SCHEDULES, SCHEDULES)
def test_an_opened_run_can_go_on_at_its_end(
    tmp_path_factory: pytest.TempPathFactory,
    config: MachineConfig,
    actions: list[Action],
    others: list[Action],
) -> None:
    path = tmp_path_factory.mktemp("saved") / "run.kms"
    with short_segments(3):
        save_timeline(path, recorded(config, actions), Origin())
        opened = open_recording(path)
        again = opened.timeline
        again.seek(NO_LIMIT)
        assert again.is_at_end
        play(again, others)
        again.advance(NO_LIMIT)
        digests, events = straight_run(config, inputs_of(again), again.end_step)
        assert events_of(again) == events
        for step in range(again.end_step, -1, -7):
            assert digest_at(again, step) == digests[step]
        opened.reader.close()


@pytest.mark.parametrize("hash_seed", ["0", "1", "31337"])
def test_another_process_with_another_hash_seed_shows_the_same_states(
    tmp_path: Path, hash_seed: str
) -> None:
    config = small_config(cpus=5, nodes=2, policy="random", seed=3)
    path = tmp_path / "run.kms"
    with short_segments(4):
        timeline = recorded(config, BUSY)
        save_timeline(path, timeline, Origin())
    steps = [timeline.end_step, 0, 17, timeline.end_step // 2, 3]
    run = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS, str(path), *map(str, steps)],
        env=os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert run.stdout.split() == [
        word for step in steps for word in (str(step), digest_at(timeline, step))
    ]


def test_seeking_beyond_an_end_stops_at_it() -> None:
    timeline = recorded(small_config(), BUSY)
    timeline.seek(-5)
    assert timeline.step == timeline.first_step == 0
    timeline.seek(NO_LIMIT)
    assert timeline.step == timeline.end_step
    timeline.seek(timeline.end_step + 1)
    assert timeline.step == timeline.end_step


def test_segments_are_closed_and_each_begins_later_than_the_one_before() -> None:
    with short_segments(4):
        timeline = recorded(small_config(cpus=4), BUSY)
    heads = timeline.heads
    assert len(heads) > 5
    for before, after in pairwise(heads):
        assert before.first_step < after.first_step == before.last_step
        assert after.first_input == before.first_input + before.nr_inputs
        assert after.first_event == before.first_event + before.nr_events


def test_inputs_given_at_one_step_stay_whole_where_a_segment_ends() -> None:
    """The input that closes a segment comes while the ones before it still wait to be handed over."""
    config = small_config(cpus=4)
    with short_segments(3):
        timeline = Timeline(boot(config))
        for cpu in (0, 1, 2, 3):
            timeline.give("pcpu_alloc", cpu, (64, 8, False, GFP_KERNEL, "here"))
        timeline.advance(NO_LIMIT)
        digests, events = straight_run(config, inputs_of(timeline), timeline.end_step)
        assert [row.cpu for row in inputs_of(timeline)] == [0, 1, 2, 3]
        assert events_of(timeline) == events
        for step in range(timeline.end_step, -1, -1):
            assert digest_at(timeline, step) == digests[step]


def test_a_refused_input_leaves_no_call_of_its_step_half_begun() -> None:
    """Found by a walk: the call before it stood on its CPU, though no step was taken and none was due."""
    timeline = Timeline(boot(small_config(cpus=2)))
    digest = state_digest(timeline.machine)
    number = timeline.give("pcpu_alloc", 0, (64, 8, False, GFP_KERNEL, "here"))
    timeline.give("purge_vmap", 99)
    timeline.give("pcpu_alloc", 1, (64, 8, False, GFP_KERNEL, "here"))
    with pytest.raises(InputRefused):
        timeline.advance(NO_LIMIT)
    assert (timeline.step, timeline.nr_inputs) == (0, 2)
    assert state_digest(timeline.machine) == digest
    timeline.advance(NO_LIMIT)
    assert timeline.calls[number].done
    end, digest = timeline.end_step, state_digest(timeline.machine)
    timeline.seek(0)
    timeline.seek(end)
    assert state_digest(timeline.machine) == digest


def test_a_call_that_is_held_keeps_its_segment_open() -> None:
    config = small_config(cpus=2, work="scripted")
    with short_segments(2):
        timeline = Timeline(boot(config))
        play(timeline, [("alloc", 0, 64, 8, GFP_KERNEL), ("drain",)])
        timeline.give("pcpu_alloc", 0, (64, 8, False, GFP_KERNEL, "held"))
        timeline.give("run_to_lock", 0, (2,))
        timeline.advance(NO_LIMIT)
        assert any(call.parked for call in timeline.machine.cpus[0].stack)
        for size in (8, 16, 24):
            timeline.give("pcpu_alloc", 0, (size, 8, False, 0xA20, "on top"))
            timeline.advance(NO_LIMIT)
        timeline.give("unpark", 0)
        timeline.advance(NO_LIMIT)
        end, digest = timeline.end_step, state_digest(timeline.machine)
        assert timeline.machine.is_idle
        timeline.seek(0)
        assert digest_at(timeline, end) == digest


def test_a_fault_is_met_again_where_it_was() -> None:
    timeline = Timeline(boot(small_config(cpus=2)))
    play(timeline, BUSY[:8])
    timeline.advance(NO_LIMIT)
    timeline.give("free_percpu", 1, (0x123450,))
    timeline.advance(NO_LIMIT)
    fault, end = timeline.machine.fault, timeline.end_step
    assert fault is not None
    assert fault.step == end
    digest = state_digest(timeline.machine)
    timeline.seek(end - 1)
    assert timeline.machine.fault is None
    assert digest_at(timeline, end) == digest
    assert timeline.machine.fault == fault


def test_few_moments_are_kept_and_near_ones_stay() -> None:
    with short_segments(2048, moment_every=1, kept=2):
        timeline = recorded(small_config(cpus=4), [*BUSY, *BUSY, *BUSY])
        for step in range(timeline.end_step, 0, -9):
            timeline.seek(step)
            assert len(timeline.moments) <= 2 * 2 * (timeline.end_step.bit_length() + 1)
        assert len(timeline.moments) < timeline.nr_inputs // 2


def test_watching_sees_events_that_are_known_already() -> None:
    timeline = recorded(small_config(cpus=4), BUSY)
    seen: list[object] = []
    timeline.watch = seen.extend
    timeline.seek(0)
    timeline.seek(NO_LIMIT)
    assert seen == events_of(timeline)


def test_the_present_is_the_end_only_when_nothing_is_left_to_give() -> None:
    timeline = recorded(small_config(), BUSY)
    assert timeline.is_at_end
    timeline.give("purge_vmap", 0)
    assert not timeline.is_at_end
    timeline.advance(NO_LIMIT)
    assert timeline.is_at_end
    timeline.seek(timeline.end_step - 1)
    assert not timeline.is_at_end


def test_inputs_keep_the_line_and_the_task_they_came_from() -> None:
    with short_segments(1):
        timeline = Timeline(boot(small_config()))
        timeline.give("purge_vmap", 1, (), 77, "kworker/0:1-9")
        timeline.advance(NO_LIMIT)
        timeline.give("purge_vmap", 0)
        assert timeline.input_at(0) == Input(0, "purge_vmap", 1, (), 77, "kworker/0:1-9")


def test_a_chunk_that_gets_used_pages_says_at_once_that_it_changed() -> None:
    """Pages that were written to before make a chunk dirty while its call is still under way."""
    fill: list[Action] = [*(("alloc", 0, 30000, 8, GFP_KERNEL) for _ in range(4)), ("drain",)]
    dirty: list[Action] = [("write", 0, index, 9) for index in range(4)]
    empty: list[Action] = [("drain",), *(("free", 0, 0) for _ in range(4)), ("drain",)]
    config = small_config(cpus=1)
    timeline = recorded(config, [*fill, *dirty, *empty, *fill])
    digests, _ = straight_run(config, inputs_of(timeline), timeline.end_step)
    assert any(chunk.written for chunk in timeline.machine.percpu.chunks.values())
    for step in range(timeline.end_step, -1, -1):
        assert digest_at(timeline, step) == digests[step], step
