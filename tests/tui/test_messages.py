from __future__ import annotations

from collections.abc import Callable

from tui.debugger.session import Session
from tui.messages import RowChosen, StepWished, TabChosen

Hand = Callable[..., object]


async def test_a_pane_only_wishes_and_the_app_acts(
    recorded: Session, screen: Hand, settle: Hand
) -> None:
    async with screen(recorded, at=1000) as (app, pilot):
        app.desk.events.post_message(StepWished(117))
        await pilot.pause()
        await settle(app, pilot)
        assert recorded.step == 117
        app.desk.drawer.post_message(RowChosen("log", {"born_step": 4}))
        await pilot.pause()
        await settle(app, pilot)
        assert recorded.step == 4
        app.desk.drawer.post_message(RowChosen("chunks", {"chunk": -1}))
        app.tab_line.post_message(TabChosen("zones"))
        await pilot.pause()
        assert app.desk.map_pane.chunk_map.at == (-1, 0x35000)
        assert app.desk.drawer.listing_name == "zones"
