"""The screen on a machine of every per-CPU system: every pane, listing and key, and never a traceback."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.tui.system_sessions import OTHERS, busy_session_of
from tui.panes.desk import FIXED
from tui.panes.listings import OUTPUT
from tui.screens.help_screen import HelpScreen

Screen = Callable[..., Any]
KEYS = (
    "n", "p", "e", "E", "N", "P", "f", "F", "c", "C", "home", "end", "u", "u", "T", "T", "plus",
    "minus", "0", "z", "z", "space", "space", "escape",
)  # fmt: skip


@pytest.mark.parametrize("system", OTHERS)
async def test_every_listing_shows_or_says_what_it_is_for(screen: Screen, system: str) -> None:
    session = busy_session_of(system)
    async with screen(session, (120, 40)) as (app, pilot):
        for name in app.desk.listings:
            if name in FIXED:
                continue
            app.open_listing(name)
            while app.desk.drawer.listing_name != name:  # a slow one comes after the rest
                await pilot.pause()
            table = app.desk.drawer.table
            assert table is not None
            assert name == OUTPUT or table.title, name
            if not table.columns and name != OUTPUT:
                assert f"is '{system}'" in table.title, name
        names = [name for _, name in app.desk.tabs()]
        assert names[:8] == [
            "map", "events", "cpus", "walk", "areas", "account", "log", "stretches"
        ]  # fmt: skip
        app.open_listing("account")
        app.desk.map_pane.current.focus()


@pytest.mark.parametrize("system", OTHERS)
async def test_every_key_does_something_sensible(
    screen: Screen, settle: Screen, system: str
) -> None:
    session = busy_session_of(system)
    async with screen(session, (120, 40)) as (app, pilot):
        for key in KEYS:
            await pilot.press(key)
            await settle(app, pilot)
        await pilot.press("question_mark")
        await pilot.pause()
        assert isinstance(app.screen, HelpScreen)
        await pilot.press("escape")
        for key in ("w", "a", "v"):
            await pilot.press(key, "enter")
            await settle(app, pilot)
        await pilot.press("end")
        await settle(app, pilot)
        assert session.step == session.end_step and app.return_code is None


async def titled(pilot: Any, pane: Any, words: str = "map") -> None:
    """Wait for the pane's title, which comes by message when the pane has its turn."""
    for _ in range(100):
        if words in str(pane.border_title):
            return
        await pilot.pause(0.02)


async def test_a_branch_with_another_system_gets_its_map(screen: Screen, settle: Screen) -> None:
    session = busy_session_of("bitmap")
    async with screen(session, (120, 40)) as (app, pilot):
        pane = app.desk.map_pane
        await titled(pilot, pane)
        assert pane.current is pane.chunk_map and pane.border_title == "1 chunk map"
        app.mover.carry_out("what-if percpu.system=chunk-2009")
        await settle(app, pilot)
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert session.machine.system.name == "chunk-2009"
        await titled(pilot, pane, "chunk-2009")
        assert pane.current is pane.stretch_map and "chunk-2009" in str(pane.border_title)
        pane.current.focus()
        await pilot.pause()
        session.switch_now(session.tree.named("main"))
        app.stopped()
        await pilot.pause()
        await pilot.pause()
        assert pane.current is pane.chunk_map and pane.current.has_focus
