from __future__ import annotations

from collections.abc import Callable

from tui.debugger.session import Session

Hand = Callable[..., object]


async def test_t_changes_the_look_and_back(recorded: Session, screen: Hand) -> None:
    async with screen(recorded, at=0) as (app, pilot):
        dark = app.theme
        await pilot.press("T")
        assert app.theme != dark and not app.current_theme.dark
        await pilot.press("T")
        assert app.theme == dark
