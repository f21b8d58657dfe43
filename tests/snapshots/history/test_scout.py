from __future__ import annotations

import pytest

from kernel_sim.boot import boot
from kernel_sim.machine_state import check_cache
from snapshots.errors import RecordingError
from snapshots.history.scout import Doer, Scout
from snapshots.recording import Origin, open_recording, save_timeline
from snapshots.state_codec import state_digest
from snapshots.timeline import Timeline
from tests.snapshots.conftest import small_config
from tests.snapshots.history.conftest import short_segments


def digests(run: Timeline) -> list[str]:
    found = []
    for step in range(run.first_step, run.end_step + 1):
        run.seek(step)
        found.append(state_digest(run.machine))
    return found


def test_the_scout_sees_the_states_that_the_timeline_shows(run: Timeline) -> None:
    expected, scout = digests(run), Scout(run)
    order = [*range(len(run.heads)), *range(len(run.heads) - 1, -1, -2)]
    for number in order:
        head = run.heads[number]
        end = run.end_step if number == len(run.heads) - 1 else head.last_step
        scout.stand_in(number, head.first_step)
        assert state_digest(scout.machine) == expected[head.first_step]
        while scout.step < end:
            scout.take_step()
            assert state_digest(scout.machine) == expected[scout.step]


def test_to_ask_what_was_written_does_not_spoil_the_next_loading(run: Timeline) -> None:
    expected, scout = digests(run), Scout(run)
    nr_written = 0
    for number in range(len(run.heads) - 1):
        head = run.heads[number]
        parts = run.keyframe_parts(number)  # the very objects, as while nothing else is read
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(run, "keyframe_parts", lambda number, parts=parts: parts)
            scout.stand_in(number, head.first_step)
            while scout.step < head.last_step:
                scout.take_step()
                nr_written += scout.take_written()
            scout.stand_in(number, head.first_step)
        check_cache(scout.machine)  # a digest would believe what claims to be unchanged
        assert state_digest(scout.machine) == expected[head.first_step]
    assert nr_written > 20


def test_the_timeline_and_its_machine_stay_as_they_are(run: Timeline) -> None:
    run.seek(run.end_step // 3)
    before = (run.step, state_digest(run.machine), run.next_input)
    scout = Scout(run)
    scout.stand_in(1, run.heads[1].first_step)
    for _ in range(8):
        scout.take_step()
    assert scout.machine is not run.machine
    assert (run.step, state_digest(run.machine), run.next_input) == before


def test_who_took_a_step_is_known_from_the_schedule() -> None:
    with short_segments(1000):
        run = Timeline(boot(small_config(cpus=2, policy="round_robin")))
        run.give("pcpu_alloc", 0, (64, 8, False, 0xCC0, "a"))
        run.give("free_percpu", 1, (0,))
        run.give("purge_vmap", 1)
        run.advance(1 << 62)
    scout = Scout(run)
    scout.stand_in(0, 0)
    seen: list[Doer] = []
    while scout.step < run.end_step:
        scout.take_step()
        seen.append(scout.doer())
    assert seen[0] == Doer(1, "purge_vmap")  # a knob is turned at once
    assert {doer.do for doer in seen[1:]} <= {"pcpu_alloc", "free_percpu", "pcpu_balance_workfn"}
    assert Doer(1, "free_percpu") in seen
    assert seen.count(Doer(0, "pcpu_alloc")) > 2


def test_a_keyframe_that_lies_is_refused_and_the_scout_recovers(run: Timeline, tmp_path) -> None:
    path = tmp_path / "run.kms"
    save_timeline(path, run, Origin())
    opened = open_recording(path)
    timeline = opened.timeline
    true_parts = timeline.keyframe_parts
    with opened.reader, pytest.MonkeyPatch.context() as patch:
        patch.setattr(timeline, "keyframe_parts", lambda number: true_parts(number) | {"pages": 7})
        scout = Scout(timeline)
        with pytest.raises(RecordingError):
            scout.stand_in(1, timeline.heads[1].first_step)
        patch.undo()
        scout.stand_in(1, timeline.heads[1].first_step)
        timeline.seek(timeline.heads[1].first_step)
        assert state_digest(scout.machine) == state_digest(timeline.machine)


def test_a_recording_that_promises_more_steps_than_it_has_is_refused(run: Timeline) -> None:
    scout = Scout(run)
    number = len(run.heads) - 1
    scout.stand_in(number, run.heads[number].first_step)
    while scout.step < run.end_step:
        scout.take_step()
    with pytest.raises(RecordingError, match="ends at step"):
        scout.take_step()
