from __future__ import annotations

import asyncio
from collections.abc import Callable

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
