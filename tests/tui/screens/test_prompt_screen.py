from __future__ import annotations

from collections.abc import Callable

from textual.events import Key
from textual.widgets import Input

from tui.debugger.session import Session
from tui.screens.prompt_screen import PromptScreen

Hand = Callable[..., object]


async def test_g_says_what_is_wrong_where_it_was_typed(
    recorded: Session, screen: Hand, type_in: Hand
) -> None:
    async with screen(recorded, at=1000) as (app, pilot):
        await type_in(pilot, "g", "9999999")
        assert isinstance(app.screen, PromptScreen)
        hint = app.screen.query_one("#prompt-hint")
        assert hint.has_class("-error") and "not in this recording" in str(hint.render())
        await pilot.press("escape")
        assert recorded.step == 1000 and not isinstance(app.screen, PromptScreen)


async def test_what_is_typed_before_the_field_is_there_is_not_lost(
    recorded: Session, screen: Hand
) -> None:
    """A paste brings the colon and all that follows at once."""
    async with screen(recorded) as (app, pilot):
        for character in (":", *"chunks 7"):
            key = {" ": "space", ":": "colon"}.get(character, character)
            app.post_message(Key(key, character))
        for _ in range(20):
            await pilot.pause()
        assert isinstance(app.screen, PromptScreen)
        assert app.screen.query_one(Input).value == "chunks 7"
