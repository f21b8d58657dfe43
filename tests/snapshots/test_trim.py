"""A stretch is a recording that is true, with the states that the whole has at the same steps."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_sim.config import MachineConfig
from snapshots.bookmarks import Bookmark
from snapshots.errors import RecordingError
from snapshots.recording import Origin, open_recording
from snapshots.segment import SegmentBody
from snapshots.state_codec import state_digest
from snapshots.timeline import Timeline
from snapshots.trim import stretch_of, trim_to_file
from snapshots.verify import examine
from tests.snapshots.conftest import (
    BUSY,
    CONFIGS,
    SCHEDULES,
    Action,
    recorded,
    short_segments,
    small_config,
)


def run_of() -> Timeline:
    with short_segments(6):
        return recorded(small_config(cpus=3), BUSY)


def digest_at(timeline: Timeline, step: int) -> str:
    timeline.seek(step)
    return state_digest(timeline.machine)


@settings(max_examples=40, deadline=None)
@given(CONFIGS, SCHEDULES, st.floats(0, 1), st.floats(0, 1))
def test_any_stretch_is_true_and_shows_the_same_states(
    tmp_path_factory: pytest.TempPathFactory,
    config: MachineConfig,
    actions: list[Action],
    one: float,
    other: float,
) -> None:
    path = tmp_path_factory.mktemp("trim") / "part.kms"
    with short_segments(4):
        whole = recorded(config, actions)
        first, last = sorted(round(each * whole.end_step) for each in (one, other))
        taken = trim_to_file(path, whole, Origin(), first, last)
        assert taken.first_step <= first and taken.end_step == last
        later = [head.first_step for head in whole.heads if taken.first_step < head.first_step]
        assert all(step > first for step in later)
        verdict = examine(path)
        assert verdict.problems == []
        assert bool(verdict.notes) == bool(taken.first_step)
        opened = open_recording(path)
        part = opened.timeline
        assert (part.first_step, part.end_step) == (taken.first_step, last)
        for step in range(part.first_step, part.end_step + 1, 3):
            assert digest_at(part, step) == digest_at(whole, step)
        events = [whole.event_at(n) for n in range(whole.nr_events)]
        assert [part.event_at(n) for n in range(part.nr_events)] == [
            at for at in events if taken.first_step < at.step <= last
        ]
        opened.reader.close()


def test_bookmarks_origin_and_progress(tmp_path: Path) -> None:
    whole = run_of()
    first, last = whole.end_step // 2, whole.end_step * 3 // 4
    marks = {
        name: Bookmark(name, 5, step, "n")
        for name, step in (("early", 0), ("in", first + 1), ("late", last + 1))
    }
    told: list[tuple[int, int]] = []
    taken = trim_to_file(
        tmp_path / "part.kms", whole, Origin(notes=["old"], opens_at=3), first, last,
        bookmarks=marks, progress=lambda here, goal: told.append((here, goal)),
    )  # fmt: skip
    opened = open_recording(tmp_path / "part.kms")
    assert opened.bookmarks == {"in": Bookmark("in", 0, first + 1, "n")}
    said = f"steps {taken.first_step} to {last} of {whole.end_step}"
    assert opened.origin.notes == ["old", said]
    assert opened.origin.opens_at == taken.first_step > 0
    assert told and all(goal == last for _, goal in told)
    opened.reader.close()


def test_the_run_itself_is_not_moved() -> None:
    whole = run_of()
    whole.seek(5)
    for _ in stretch_of(whole, 20, 40):
        pass
    assert whole.step == 5


@pytest.mark.parametrize(("first", "last"), [(-1, 5), (9, 8), (0, 1 << 40)])
def test_steps_that_are_not_there_are_refused(first: int, last: int) -> None:
    with pytest.raises(RecordingError, match="there is no stretch"):
        next(stretch_of(run_of(), first, last))


def test_a_stretch_of_a_stretch(tmp_path: Path) -> None:
    whole = run_of()
    half = whole.end_step // 2
    taken = trim_to_file(tmp_path / "a.kms", whole, Origin(), half, whole.end_step)
    opened = open_recording(tmp_path / "a.kms")
    again = trim_to_file(tmp_path / "b.kms", opened.timeline, Origin(), half, half + 9)
    assert again.first_step == taken.first_step
    assert examine(tmp_path / "b.kms").ok
    opened.reader.close()


def test_a_run_that_is_not_true_is_not_cut() -> None:
    whole = run_of()
    body, head = whole.body(2), whole.heads[2]
    change = SegmentBody(body.inputs, body.events[1:])
    body_of = whole.body
    whole.body = lambda number: change if number == 2 else body_of(number)  # type: ignore[method-assign]
    with pytest.raises(RecordingError, match="the recording is not true"):
        for _ in stretch_of(whole, head.first_step, whole.heads[3].first_step - 1):
            pass
