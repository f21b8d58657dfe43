from __future__ import annotations

from collections.abc import Callable

from tui.debugger.session import Session

Hand = Callable[..., object]


async def test_what_a_step_changed_is_marked_in_map_and_tables(
    recorded: Session, screen: Hand, settle: Hand
) -> None:
    born = recorded.event(0).step
    async with screen(recorded, at=0) as (app, pilot):
        await pilot.press("e")
        await settle(app, pilot)
        assert recorded.step == born
        table = app.desk.drawer.table
        assert table is not None
        marked = [row[0] for at, row in enumerate(table.rows) if app.desk.drawer.is_marked(at)]
        assert marked == [0]
        assert app.desk.map_pane.chunk_map.before
