from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from kernel_sim.errors import KernelFault
from snapshots.errors import RecordingError
from snapshots.recording import open_recording
from snapshots.state_codec import state_digest
from snapshots.timeline import Timeline
from tui.debugger.errors import CommandError
from tui.debugger.session import Session
from tui.verbs.door import open_session

GFP_KERNEL, GFP_ATOMIC = 0xCC0, 0xA20
NO_LIMIT = 1 << 62


def _play(session: Session, nr_calls: int, seed: int = 3) -> None:
    """Let calls run one after the other, large ones too, so that chunks come, go and fail to come."""
    choose, live = random.Random(seed), []
    for number in range(nr_calls):
        cpu = choose.randrange(4)
        if number > 45 and live and choose.random() < 0.45:  # first more than one chunk can hold
            session.timeline.give("free_percpu", cpu, (live.pop(choose.randrange(len(live))),))
            session.timeline.advance(NO_LIMIT)
            continue
        gfp = GFP_ATOMIC if number % 5 == 0 else GFP_KERNEL
        args = (choose.choice([8, 4096]) if number > 45 else 32768, 8, False, gfp, "f+0x1/0x2")
        given = session.timeline.give("pcpu_alloc", cpu, args)
        session.timeline.advance(NO_LIMIT)
        result = session.result(given)
        if isinstance(result, int) and result:
            live.append(result)
    for ptr in live:
        session.timeline.give("free_percpu", 0, (ptr,))
        session.timeline.advance(NO_LIMIT)
    session.timeline.give("kworker", 1)
    session.timeline.advance(NO_LIMIT)


@pytest.fixture
def played(session: Session) -> Session:
    _play(session, 120)
    assert {mark.kind for mark in session.marks} == {"c", "d", "f"}
    return session


def _some_steps(session: Session) -> list[int]:
    choose = random.Random(1)
    events = [session.event(number).step for number in range(session.nr_events)]
    near = [step + off for step in choose.sample(events, 20) for off in (-1, 0, 1)]
    far = [choose.randrange(session.end_step + 1) for _ in range(20)]
    ends = [0, 1, session.end_step - 1, session.end_step]
    return sorted(step for step in {*near, *far, *ends} if 0 <= step <= session.end_step)


# -- where a move would lead -----------------------------------------------------------------------


def test_next_and_previous_events_are_those_a_search_of_all_finds(played: Session) -> None:
    events = [played.event(number).step for number in range(played.nr_events)]
    for step in _some_steps(played):
        played.go_now(step)
        assert played.event_index == sum(at <= step for at in events)
        after, before = [at for at in events if at > step], [at for at in events if at < step]
        assert played.next_event_step() == min(after, default=None)
        assert played.previous_event_step() == max(before, default=None)
    assert played.event_step(-1) is None and played.event_step(played.nr_events) is None


def test_next_and_previous_marks_are_those_a_search_of_all_finds(played: Session) -> None:
    for step in _some_steps(played):
        played.go_now(step)
        for kinds in ("c", "d", "f", "cd", "cdf", ""):
            steps = [mark.step for mark in played.marks if mark.kind in kinds]
            after, before = [at for at in steps if at > step], [at for at in steps if at < step]
            assert played.mark_step(kinds, forward=True) == min(after, default=None)
            assert played.mark_step(kinds, forward=False) == max(before, default=None)


def test_next_and_previous_calls_are_where_one_call_after_the_other_began(played: Session) -> None:
    timeline = played.timeline
    given = [timeline.input_at(number).step for number in range(timeline.nr_inputs)]
    assert all(before < after for before, after in pairwise(given))
    ends = [*given[1:], played.end_step]
    for step in _some_steps(played):
        played.go_now(step)
        assert played.next_call_step() == min((at for at in ends if at > step), default=None)
        assert played.previous_call_step() == max((at for at in given if at < step), default=None)


def test_the_percentage_is_of_the_way_from_the_first_step_to_the_last(played: Session) -> None:
    for text, percent in (("start", 0), ("end", 100), ("25%", 25)):
        played.go_now(played.position(text))
        assert abs(played.percent - percent) <= 1


# -- moving ----------------------------------------------------------------------------------------


async def test_a_long_move_that_is_given_up_stands_at_a_sound_position(
    played: Session, boot_example: Callable[[str], Session]
) -> None:
    fresh = boot_example("numa2-4cpu")  # the same run on another machine
    _play(fresh, 120)
    for session in (played, fresh):
        _play(session, 400, seed=4)
    assert played.end_step == fresh.end_step > 5000
    played.go_now(0)
    told: list[int] = []

    def stop_soon(here: int, goal: int) -> None:
        told.append(here)
        assert goal == played.end_step
        if len(told) == 2:
            move.cancel()

    move = asyncio.create_task(played.go(played.end_step, stop_soon))
    with pytest.raises(asyncio.CancelledError):
        await move
    stood = played.step
    assert 0 < stood == told[-1] < played.end_step
    fresh.go_now(stood)
    assert fresh.digest() == played.digest()
    assert await played.go(played.end_step) == played.end_step
    fresh.go_now(fresh.end_step)
    assert fresh.digest() == played.digest()


async def test_a_move_in_slices_ends_where_a_move_at_once_ends(played: Session) -> None:
    for step in (played.end_step // 2, 3, played.end_step, NO_LIMIT, -5):
        await played.go(step)
        here = played.step, played.digest()
        played.go_now(played.first_step)
        played.go_now(step)
        assert (played.step, played.digest()) == here


# -- acting ----------------------------------------------------------------------------------------


async def test_giving_in_the_past_keeps_the_old_timeline_and_begins_a_branch(busy: Session) -> None:
    old, end = busy.timeline, busy.end_step
    digest = busy.digest()
    busy.go_now(end // 2)
    here = busy.digest()
    await busy.call(2, "pcpu_alloc", 128, 8, False, GFP_KERNEL, "branch+0x1/0x2")
    assert busy.tree.branches[0].timeline is old and busy.timeline is not old
    old.seek(end)
    assert (old.end_step, state_digest(old.machine)) == (end, digest)
    busy.go_now(end // 2)
    assert busy.digest() == here
    nr_given = busy.timeline.nr_inputs
    assert busy.timeline.input_at(nr_given - 1).args[0] == 128
    assert [busy.timeline.input_at(number) for number in range(nr_given - 1)] == [
        old.input_at(number) for number in range(nr_given - 1)
    ]


async def test_giving_at_the_newest_step_begins_no_branch(busy: Session) -> None:
    timeline = busy.timeline
    result = await busy.call(2, "pcpu_alloc", 128, 8, False, GFP_KERNEL, "f+0x1/0x2")
    assert isinstance(result, int) and result > 0
    assert busy.timeline is timeline and list(busy.tree.branches) == [0]


async def test_a_call_that_waits_has_no_result_until_it_has_run(session: Session) -> None:
    number = session.give(1, "pcpu_alloc", 64, 8, False, GFP_KERNEL, "f+0x1/0x2")
    assert session.has_waiting and session.has_more and session.result(number) is None
    await session.run(2)
    assert session.has_more and not session.has_waiting and session.result(number) is None
    await session.run()
    assert not session.has_more and session.result(number) == 0x37000


async def test_a_fault_is_raised_to_whoever_called(session: Session) -> None:
    with pytest.raises(KernelFault, match="0x999"):
        await session.call(0, "free_percpu", 0x999)
    assert session.machine.fault is not None and not session.has_more


def test_too_much_that_waits_is_refused(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snapshots.timeline.KEYFRAME_EVERY_INPUTS", 2)
    for cpu in (0, 1):
        session.give(cpu, "pcpu_alloc", 8, 8, False, GFP_KERNEL, "f+0x1/0x2")
    with pytest.raises(CommandError, match="run first"):
        session.give(2, "pcpu_alloc", 8, 8, False, GFP_KERNEL, "f+0x1/0x2")
    assert session.timeline.nr_inputs == 2


# -- files -----------------------------------------------------------------------------------------


async def test_a_saved_run_keeps_its_branches(busy: Session, tmp_path: Path) -> None:
    for cpu, step in ((1, busy.end_step // 2), (3, 4)):
        busy.go_now(step)
        await busy.call(cpu, "pcpu_alloc", 256, 8, False, GFP_KERNEL, "f+0x1/0x2")
    path = tmp_path / "run.kms"
    busy.save(str(path))
    assert len(busy.tree.branches) == 3

    def ends(timeline: Timeline) -> tuple[int, str]:
        timeline.seek(timeline.end_step)
        return timeline.end_step, state_digest(timeline.machine)

    kept = [ends(open_recording(path, branch).timeline) for branch in range(3)]
    assert kept == [ends(branch.timeline) for branch in busy.tree.branches.values()]
    assert len(dict(kept)) == 3


def test_of_two_sessions_on_one_file_the_later_one_does_not_take_back_the_earlier_ones_names(
    busy: Session, tmp_path: Path
) -> None:
    path = tmp_path / "run.kms"
    busy.save(str(path))
    first, second = open_session(path), open_session(path)
    first.bookmark("theirs")
    first.save()
    first.bookmark("theirs_too")
    first.save()  # its own saving is no stranger's
    second.bookmark("ours")
    with pytest.raises(RecordingError, match="somebody else has saved to this file"):
        second.save()
    assert set(open_session(path).bookmarks) == {"theirs", "theirs_too"}
    second.save(whole=True)
    second.forget_bookmark("ours")
    second.save()
    assert open_session(path).bookmarks == {}


def test_calls_that_wait_at_the_newest_step_can_be_taken_further(session: Session, tell) -> None:
    assert session.go_on() is None and session.go_on_to_event() is None
    tell("alloc 0 8 later", "alloc 1 8 later")
    assert session.go_on() == 1 and session.go_on(2) == 3
    while session.has_more:
        number = session.nr_events
        session.go_on_to_event()
        assert session.nr_events > number or not session.has_more
    assert session.nr_events == 2


def test_the_call_that_faulted_is_known_among_those_given_after_it(session: Session, tell) -> None:
    tell("vmalloc 4096", "load 2 0x10 1")
    assert session.fault_begin_step() == session.timeline.input_at(1).step
    tell("goto start")
    assert session.fault_begin_step() is None
    session.give(1, "read", 0x20, 8)
    session.give(0, "pcpu_alloc", 8, 8, False, 0xCC0, "later_one")
    session.timeline.advance(session.step + 50)
    assert session.machine.fault is not None and session.machine.fault.cpu == 1
    assert session.fault_begin_step() == 0


async def test_nothing_is_given_to_a_machine_that_stopped(busy: Session) -> None:
    with pytest.raises(KernelFault):
        await busy.call(1, "free_percpu", 0x123450)
    inputs = busy.timeline.nr_inputs
    with pytest.raises(CommandError, match="stopped at a fault"):
        busy.give(0, "pcpu_alloc", 64, 8, False, GFP_KERNEL, "f+0x1/0x2")
    assert busy.timeline.nr_inputs == inputs


def test_bookmarks_of_a_file_pin_their_moments(busy: Session, tmp_path: Path) -> None:
    busy.go_now(5)
    busy.bookmark("here")
    busy.save(str(tmp_path / "run.kms"))
    opened = open_recording(tmp_path / "run.kms")
    session = Session(opened.tree)
    session.take_bookmarks(opened.bookmarks)
    assert list(session.timeline.moments.pinned) == [5]
    opened.reader.close()
