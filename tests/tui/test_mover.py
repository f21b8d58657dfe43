from __future__ import annotations

import asyncio
from collections.abc import Callable

from snapshots.branches import BranchTree
from snapshots.errors import RecordingError
from tui.debugger.autosave import attach, offers
from tui.debugger.session import Session

Hand = Callable[..., object]


async def test_escape_stops_a_long_move_at_a_sound_position(
    recorded: Session, screen: Hand
) -> None:
    moves = recorded.timeline.moves
    recorded.timeline.moves = lambda step: moves(step, slice_steps=1)  # type: ignore[method-assign]
    async with screen(recorded, at=0) as (app, pilot):
        app.mover.go_to(recorded.end_step)
        while recorded.step < 5:
            await asyncio.sleep(0)
        assert app.mover.is_moving and app.scrubber.goal == recorded.end_step
        app.action_stop()
        await pilot.pause()
        stopped = recorded.step
        assert 0 < stopped < recorded.end_step and not app.mover.is_moving
        assert app.scrubber.goal is None and app.scrubber.here == stopped
        digest = recorded.digest()
        recorded.go_now(0)
        recorded.go_now(stopped)
        assert recorded.digest() == digest


async def test_keys_that_come_faster_than_moves_do_not_queue_up(
    recorded: Session, screen: Hand, settle: Hand
) -> None:
    async with screen(recorded, at=1000) as (app, pilot):
        for _ in range(50):
            app.action_step(1)
        await settle(app, pilot)
        await pilot.pause()
        assert recorded.step == 1002  # the one under way, and the newest wish


async def test_space_plays_and_pauses(recorded: Session, screen: Hand) -> None:
    async with screen(recorded, at=0) as (app, pilot):
        await pilot.press("greater_than_sign", "space")
        while recorded.event_index < 4:
            await asyncio.sleep(0.01)
        assert app.mover.is_playing and "×2" in app.scrubber.note
        await pilot.press("space")
        stood = recorded.step
        await asyncio.sleep(0.15)
        assert not app.mover.is_playing and recorded.step == stood


async def test_keys_let_waiting_calls_go_on_beyond_the_newest_step(
    beneath: Session, screen: Hand, settle: Hand, type_in: Hand
) -> None:
    async with screen(beneath) as (app, pilot):
        end = beneath.end_step
        await pilot.press("n")
        await settle(app, pilot)
        assert beneath.step == end and "end of the run" in app.status.text
        await type_in(pilot, "colon", "cpu up 3 later")
        await settle(app, pilot)
        assert app.status.text.startswith("cpu_up waits on cpu 0")
        await pilot.press("n")
        await settle(app, pilot)
        assert beneath.step == end + 1
        number = beneath.nr_events
        await pilot.press("e")
        await settle(app, pilot)
        assert beneath.nr_events > number and beneath.has_more
        await pilot.press("N")
        await settle(app, pilot)
        assert not beneath.has_more and beneath.machine.cpus[3].online


async def test_a_command_that_ends_in_a_fault_shows_the_fault(
    beneath: Session, screen: Hand, settle: Hand, type_in: Hand
) -> None:
    async with screen(beneath) as (app, pilot):
        await type_in(pilot, "colon", "load 0 0")
        await settle(app, pilot)
        await pilot.pause()
        assert app.desk.drawer.listing_name == "fault" and app.status.kind == "error"
        assert app.status.text.endswith("; P: back before it")
        await pilot.press("P")
        await settle(app, pilot)
        assert beneath.machine.fault is None and beneath.step < beneath.end_step - 1


async def test_what_cannot_be_played_is_told(recorded: Session, screen: Hand) -> None:
    async def refuse(step: int, progress: object = None) -> int:
        raise RecordingError("no such step")

    async with screen(recorded, at=0) as (app, pilot):
        app.session = app.mover.session = Refusing(recorded.tree, refuse)
        app.mover.play()
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert not app.mover.is_playing and app.status.text == "no such step"


class Refusing(Session):
    """A session whose file does not hold what it promises."""

    __slots__ = ("go",)

    def __init__(self, tree: BranchTree, go: Hand) -> None:
        super().__init__(tree)
        self.go = go  # type: ignore[method-assign,assignment]


async def test_what_a_command_did_before_it_was_given_up_is_noted(
    recorded: Session, screen: Hand
) -> None:
    async with screen(recorded) as (app, pilot):
        autosave = attach(recorded)
        recorded.timeline.moves = lambda step: iter(range(1 << 40))  # type: ignore[method-assign]
        app.mover.carry_out("goto 0")
        recorded.give(0, "pcpu_alloc", 64, 8, False, 0xCC0, "here")
        await asyncio.sleep(0)
        app.action_stop()
        await pilot.pause()
        assert not app.mover.is_moving
        autosave.leave()
        assert offers()[0].place.nr_unsaved == 1


async def test_a_command_that_takes_the_place_of_another_tells_so(
    recorded: Session, screen: Hand, settle: Hand
) -> None:
    moves = recorded.timeline.moves
    recorded.timeline.moves = lambda step: moves(step, slice_steps=1)  # type: ignore[method-assign]
    async with screen(recorded, at=0) as (app, pilot):
        app.mover.carry_out("goto end")
        while recorded.step < 5:
            await asyncio.sleep(0)
        app.mover.carry_out("branches")
        await settle(app, pilot)
        assert app.status.text == "1 branch; given up: goto end"
        app.mover.carry_out("goto end")
        while recorded.step < 20:
            await asyncio.sleep(0)
        app.action_stop()
        assert app.status.text == f"stopped at step {recorded.here}; given up: goto end"
        app.mover.carry_out("branches")
        await settle(app, pilot)
        assert app.status.text == "1 branch"
