from __future__ import annotations

from collections.abc import Callable

from tui.debugger.session import Session
from tui.panes.listings import BENEATH

Hand = Callable[..., object]
NARROW, WIDE = (80, 24), (120, 40)


async def test_a_narrow_screen_shows_the_map_and_one_more(recorded: Session, screen: Hand) -> None:
    async with screen(recorded, NARROW, at=1000) as (app, pilot):
        for key, shown in (("2", "events"), ("3", "cpus"), ("4", "walk"), ("5", "drawer")):
            await pilot.press(key)
            await pilot.pause()
            seen = {name for name, pane in app.desk.panes.items() if pane.display}
            assert seen == {"map", shown}
            assert app.focused is app.desk.panes[shown]


async def test_a_wide_screen_shows_all_and_a_smaller_window_fewer(
    recorded: Session, screen: Hand
) -> None:
    async with screen(recorded, WIDE, at=1000) as (app, pilot):
        assert all(pane.display for pane in app.desk.panes.values())
        await pilot.resize_terminal(*NARROW)
        await pilot.pause()
        assert [name for name, pane in app.desk.panes.items() if pane.display] == ["map", "events"]


async def test_the_last_number_turns_through_all_further_listings(
    recorded: Session, screen: Hand
) -> None:
    async with screen(recorded, at=1000) as (app, pilot):
        seen = []
        for _ in app.desk.more:
            await pilot.press("9")
            await pilot.pause()
            seen.append(app.desk.drawer.listing_name)
        assert seen == app.desk.more
        await pilot.press("right_square_bracket")
        await pilot.pause()
        assert app.desk.drawer.listing_name == "chunks"


async def test_z_gives_a_pane_the_whole_desk_and_escape_takes_it_back(
    recorded: Session, screen: Hand
) -> None:
    async with screen(recorded, at=1000) as (app, pilot):
        await pilot.press("2", "z")
        await pilot.pause()
        assert [name for name, pane in app.desk.panes.items() if pane.display] == ["events"]
        assert app.desk.events.size.width > 100
        await pilot.press("escape")
        await pilot.pause()
        assert all(pane.display for pane in app.desk.panes.values())


async def test_b_turns_through_the_machine_beneath_and_stays_there(
    recorded: Session, screen: Hand
) -> None:
    async with screen(recorded, NARROW, at=1000) as (app, pilot):
        seen = []
        for _ in BENEATH:
            await pilot.press("b")
            await pilot.pause()
            seen.append(app.desk.drawer.listing_name)
        assert seen == list(BENEATH)
        await pilot.press("B")
        await pilot.pause()
        assert app.desk.drawer.listing_name == BENEATH[-2]
        await pilot.press("5", "b")
        await pilot.pause()
        assert app.desk.drawer.listing_name == BENEATH[-2]
