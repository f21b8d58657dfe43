from __future__ import annotations

from collections.abc import Callable

from tui.debugger.session import Session

Hand = Callable[..., object]


async def test_a_click_on_the_scrubber_goes_there(
    recorded: Session, screen: Hand, settle: Hand
) -> None:
    async with screen(recorded, at=0) as (app, pilot):
        await pilot.click("#scrubber", offset=(118, 0))
        await settle(app, pilot)
        assert recorded.step == recorded.end_step
