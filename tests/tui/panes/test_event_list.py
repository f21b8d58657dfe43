from __future__ import annotations

from collections.abc import Callable

from tui.debugger.session import Session

Hand = Callable[..., object]


async def test_a_click_on_an_event_goes_there(
    recorded: Session, screen: Hand, settle: Hand
) -> None:
    async with screen(recorded, at=1000) as (app, pilot):
        top = app.desk.events.scroll_offset.y
        await pilot.click("#events", offset=(10, 4))  # frame, heading, then the third row
        await settle(app, pilot)
        assert recorded.step == recorded.event(top + 2).step
