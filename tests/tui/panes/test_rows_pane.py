from __future__ import annotations

from collections.abc import Callable

from tui.debugger.session import Session

Hand = Callable[..., object]


async def test_the_cursor_stays_among_the_rows_and_in_the_window(
    recorded: Session, screen: Hand
) -> None:
    async with screen(recorded, at=1000) as (app, pilot):
        await pilot.press("8", *["up"] * 3)
        pane = app.desk.drawer
        assert pane.cursor == 0
        await pilot.press(*["pagedown"] * 20)
        assert pane.cursor == pane.nr_rows() - 1
        assert 0 <= pane.cursor - pane.scroll_offset.y < pane.size.height
        await pilot.press("k", "j", "pageup")
        assert pane.cursor < pane.nr_rows() - 1


async def test_h_and_l_show_what_is_left_and_right(recorded: Session, screen: Hand) -> None:
    async with screen(recorded, at=1000) as (app, pilot):
        await pilot.press("5", "l")
        await pilot.pause()
        assert app.desk.drawer.scroll_offset.x == 8
        await pilot.press("h", "h")
        await pilot.pause()
        assert app.desk.drawer.scroll_offset.x == 0


async def test_only_rows_in_the_window_are_made(recorded: Session, screen: Hand) -> None:
    async with screen(recorded, at=1000) as (app, _):
        made: list[int] = []
        events = app.desk.events
        row = events.row
        events.row = lambda number: made.append(number) or row(number)
        for line in range(events.size.height):
            events.render_line(line)
        assert len(made) < events.size.height < recorded.nr_events
