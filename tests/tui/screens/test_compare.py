"""Systems side by side on the screen: one key moves all, what differs is seen, nothing holds it up."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable

import pytest
from textual.pilot import Pilot

from snapshots.compare.generated import generated_workload
from snapshots.compare.side_by_side import SideBySide
from tests.snapshots.compare.conftest import compared
from tui.compare_app import CompareApp
from tui.debugger.errors import CommandError
from tui.screens.compare import CompareScreen
from tui.screens.help_screen import HelpScreen
from tui.theme import LIGHT_NAME

SYSTEMS = "legacy-static,block-2005,bitmap"
NARROW, WIDE = (80, 24), (120, 40)
BLOCKED_SECONDS_MAX = 0.05
WORK = "gen:mixed,seed=7,ops=300"


@pytest.fixture(scope="module")
def side() -> SideBySide:
    return SideBySide(compared(WORK, SYSTEMS))


async def settled(pilot: Pilot[None]) -> CompareScreen:
    screen = pilot.app.screen_stack[1]
    assert isinstance(screen, CompareScreen)
    await pilot.pause()
    while screen.is_moving or screen.pending is not None:
        await asyncio.sleep(0)
    await pilot.pause()
    return screen


def positions(screen: CompareScreen) -> list[int]:
    return [run.ends.index(run.machine.step) for run in screen.side.comparison.runs]


async def test_a_key_moves_every_system_also_those_out_of_the_picture(side: SideBySide) -> None:
    side.go(100)
    async with CompareApp(side).run_test(size=NARROW) as pilot:
        screen = await settled(pilot)
        assert len(screen.shown) == 2
        for key, wanted in (("n", 101), ("N", 126), ("p", 125), ("P", 100)):
            await pilot.press(key)
            await settled(pilot)
            assert side.position == wanted
            for run in side.comparison.runs:
                assert run.machine.step == run.ends[wanted]
        assert "100/300 (33%)" in screen.header.text
        assert "systems 1-2 of 3" in screen.header.text


async def test_home_end_and_goto(side: SideBySide) -> None:
    async with CompareApp(side).run_test(size=WIDE) as pilot:
        screen = await settled(pilot)
        await pilot.press("home")
        await settled(pilot)
        assert side.position == 0
        assert screen.header.text.endswith("nothing is done yet")
        await pilot.press("p")
        await pilot.pause()
        assert "this is the beginning" in screen.status.text
        await pilot.press("g", *"50%", "enter")
        await settled(pilot)
        assert side.position == 150
        await pilot.press("end")
        await settled(pilot)
        assert side.position == 300
        await pilot.press("n")
        await pilot.pause()
        assert "this is the end of the work" in screen.status.text


async def test_to_what_a_system_did_not_do_and_why(side: SideBySide) -> None:
    side.go(0)
    async with CompareApp(side).run_test(size=WIDE) as pilot:
        screen = await settled(pilot)
        await pilot.press("f")
        await settled(pilot)
        assert 0 < side.position < 300
        assert screen.status.kind == "error"
        assert screen.status.text.startswith("block-2005: alloc_percpu: size ")
        await pilot.press("F")
        await pilot.pause()
        assert screen.status.text == "everything before this was done"


async def test_other_systems_come_into_the_picture(side: SideBySide) -> None:
    async with CompareApp(side).run_test(size=NARROW) as pilot:
        screen = await settled(pilot)
        assert [each.run.label for each in screen.shown] == ["legacy-static", "block-2005"]
        await pilot.press("right_square_bracket")
        await settled(pilot)
        assert [each.run.label for each in screen.shown] == ["block-2005", "bitmap"]
        assert all(each.map.nr_lines() for each in screen.shown)
        await pilot.press("right_square_bracket")
        await pilot.pause()
        assert screen.status.text == "there is no other system that way"
        await pilot.press("left_square_bracket")
        await settled(pilot)
        assert screen.first == 0


async def test_the_newest_wish_counts(side: SideBySide) -> None:
    side.go(0)
    async with CompareApp(side).run_test(size=WIDE) as pilot:
        await settled(pilot)
        await pilot.press(*["n"] * 9)
        await settled(pilot)
        assert side.position == 9


async def test_help_and_look(side: SideBySide) -> None:
    app = CompareApp(side)
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        await pilot.press("T")
        assert app.theme == LIGHT_NAME
        await pilot.press("question_mark")
        await pilot.pause()
        assert isinstance(app.screen, HelpScreen)
        text = str(app.screen.query_one("#help-text").render())
        assert "one operation on, with every system" in text


def test_positions_are_read_as_they_are_typed(side: SideBySide) -> None:
    side.go(100)
    screen = CompareScreen(side)
    told = {"0": 0, "17": 17, "50%": 150, "+10": 110, "-10": 90, "start": 0, "end": 300}
    assert {text: screen.position_of(text) for text in told} == told
    for text in ("", "x", "301", "-101", "1e3", "5%%", "+-3", "#3", "9" * 400, "٣"):
        with pytest.raises(CommandError, match="expected"):
            screen.position_of(text)


async def test_no_move_holds_the_screen_up() -> None:
    """Between two turns of the event loop no more than 50 ms of this thread's own time go by."""
    side = SideBySide(compared(generated_workload("gen:mixed,seed=2,ops=900"), SYSTEMS))
    async with CompareApp(side).run_test(size=WIDE) as pilot:
        await settled(pilot)
        gc.disable()  # the program lets it look seldom, see garbage.py
        longest = 0.0
        is_done = False

        async def watch() -> None:
            nonlocal longest
            last = time.thread_time()
            while not is_done:
                await asyncio.sleep(0.001)
                now = time.thread_time()
                longest, last = max(longest, now - last), now

        watching = asyncio.create_task(watch())
        for key in ("home", "end", "p", "P", "n", "f", "end"):
            await pilot.press(key)
            await settled(pilot)
        is_done = True
        await watching
        gc.enable()
    assert longest < BLOCKED_SECONDS_MAX


# -- pictures, each looked at before it was kept ---------------------------------------------------------

Keys = Callable[[Pilot[None]], Awaitable[None]]


def after(*keys: str) -> Keys:
    async def press(pilot: Pilot[None]) -> None:
        await settled(pilot)
        for key in keys:
            await pilot.press(key)
            await settled(pilot)
        await pilot.pause()

    return press


@pytest.mark.parametrize("light", [False, True], ids=["dark", "light"])
@pytest.mark.parametrize("size", [NARROW, WIDE], ids=["narrow", "wide"])
def test_an_area_has_just_been_allocated_on_every_system(
    snap_compare: Callable[..., bool], side: SideBySide, size: tuple[int, int], light: bool
) -> None:
    """Operation 137 of 300: as many columns as fit, figures that changed stand out, block-2005 refused it."""
    side.go(136)
    app = CompareApp(side, light=light)
    assert snap_compare(app, terminal_size=size, run_before=after("n"))
