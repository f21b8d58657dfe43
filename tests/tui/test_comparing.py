"""From the desk to systems side by side and back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from textual.pilot import Pilot

from tui.app import KmemscopeApp
from tui.debugger.session import Session
from tui.screens.compare import CompareScreen
from tui.screens.prompt_screen import PromptScreen

Hand = Callable[..., object]
TURNS_MAX = 20_000


async def compared(app: KmemscopeApp, pilot: Pilot[None]) -> CompareScreen:
    for _ in range(TURNS_MAX):
        if isinstance(app.screen, CompareScreen) and not app.screen.is_moving:
            break
        await asyncio.sleep(0.001)
    await pilot.pause()
    assert isinstance(app.screen, CompareScreen)
    return app.screen


async def test_this_run_side_by_side_and_back_to_the_desk(
    recorded: Session, screen: Hand, type_in: Hand
) -> None:
    step = recorded.step
    async with screen(recorded) as (app, pilot):
        await type_in(pilot, "x", ". bitmap")
        shown = await compared(app, pilot)
        assert [run.label for run in shown.side.comparison.runs] == ["bitmap"]
        assert shown.side.comparison.workload.origin == "this run"
        assert shown.side.last > 100
        await pilot.press("p")
        await compared(app, pilot)
        assert shown.side.position == shown.side.last - 1
        assert app.session.step == step
        await pilot.press("escape")
        await pilot.pause()
        assert not isinstance(app.screen, CompareScreen)
        await pilot.press("p")
        await app.workers.wait_for_complete()
        assert app.session.step == step - 1


async def test_other_work_is_asked_for_by_name(
    recorded: Session, screen: Hand, type_in: Hand
) -> None:
    async with screen(recorded) as (app, pilot):
        await type_in(pilot, "x", "gen:small,ops=40 legacy-static,bitmap")
        shown = await compared(app, pilot)
        assert shown.side.last == 40
        assert len(shown.columns) == 2
        assert app.status.text == "compared 2 systems"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (". slab", "no system 'slab'"),
        (". bitmap more", "'more' is too much"),
    ],
)
async def test_what_is_wrong_is_said_where_it_was_typed(
    recorded: Session, screen: Hand, type_in: Hand, text: str, said: str
) -> None:
    async with screen(recorded) as (app, pilot):
        await type_in(pilot, "x", text)
        assert isinstance(app.screen, PromptScreen)
        assert said in str(app.screen.query_one("#prompt-hint").render())
        await pilot.press("escape")


async def test_work_that_cannot_be_read_is_said_on_the_desk(
    recorded: Session, screen: Hand, type_in: Hand
) -> None:
    async with screen(recorded) as (app, pilot):
        await type_in(pilot, "x", "gen:nothing bitmap")
        await app.workers.wait_for_complete()
        assert "no kind of work 'nothing'" in app.status.text
        assert app.status.kind == "error"


async def test_escape_gives_up(recorded: Session, screen: Hand) -> None:
    async with screen(recorded) as (app, pilot):
        app.comparing.start("gen:mixed,ops=9000 bitmap")
        await asyncio.sleep(0)
        await pilot.press("escape")
        for _ in range(TURNS_MAX):
            if app.status.text == "the comparison was given up":
                break
            await asyncio.sleep(0.001)
        assert app.status.text == "the comparison was given up"
        assert not app.comparing.is_running
        assert not isinstance(app.screen, CompareScreen)
