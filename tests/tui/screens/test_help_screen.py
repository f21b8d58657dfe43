from __future__ import annotations

from collections.abc import Callable

from tui.debugger.session import Session
from tui.screens.help_screen import HelpScreen

Hand = Callable[..., object]


async def test_help_lists_the_keys_that_work_in_the_pane(recorded: Session, screen: Hand) -> None:
    async with screen(recorded, at=0) as (app, pilot):
        await pilot.press("question_mark")
        await pilot.pause()
        assert isinstance(app.screen, HelpScreen)
        text = str(app.screen.query_one("#help-text").render())
        assert "hjkl" in text and "one step on; back" in text
        await pilot.press("escape", "2", "question_mark")
        await pilot.pause()
        assert "hjkl" not in str(app.screen.query_one("#help-text").render())


async def test_long_lines_of_the_help_hang_below_their_beginning(
    recorded: Session, screen: Hand
) -> None:
    async with screen(recorded, at=0, size=(80, 24)) as (_, pilot):
        await pilot.press("question_mark")
        await pilot.pause()
        text = pilot.app.screen.query_one("#help-text")
        lines = str(text.render()).splitlines()
        assert max(map(len, lines[lines.index("Move in time") :])) <= text.size.width
        assert " " * 15 + "began" in lines
