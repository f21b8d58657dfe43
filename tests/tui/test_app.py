"""One test for each thing a person does at the screen; what is asserted is where they then are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from kernel_sim.events import PercpuAllocPercpuFail, PercpuCreateChunk
from tui.app import KmemscopeApp
from tui.debugger.session import Session
from tui.debugger.table import Table
from tui.panes.table_pane import Listing
from tui.screens.prompt_screen import PromptScreen

Hand = Callable[..., object]


@pytest.mark.parametrize(
    ("keys", "step"),
    [
        (("n",), 1001),
        (("n", "n", "n"), 1003),
        (("p",), 999),
        (("n", "p"), 1000),
        (("home",), 0),
        (("home", "p"), 0),
    ],
)
async def test_n_and_p_step(
    recorded: Session, keys: tuple[str, ...], step: int, screen: Hand, settle: Hand
) -> None:
    async with screen(recorded, at=1000) as (app, pilot):
        for key in keys:
            await pilot.press(key)
            await settle(app, pilot)
        assert recorded.step == step


async def test_the_right_arrow_is_the_cursor_on_the_map_and_a_step_elsewhere(
    recorded: Session, screen: Hand, settle: Hand
) -> None:
    async with screen(recorded, at=1000) as (app, pilot):
        at = app.desk.map_pane.chunk_map.at
        await pilot.press("right")
        assert recorded.step == 1000 and app.desk.map_pane.chunk_map.at != at
        await pilot.press("2", "right")
        await settle(app, pilot)
        assert recorded.step == 1001


async def test_end_leads_to_the_end_and_a_step_there_says_so(
    recorded: Session, screen: Hand, settle: Hand
) -> None:
    async with screen(recorded, at=0) as (app, pilot):
        await pilot.press("end")
        await settle(app, pilot)
        assert recorded.step == recorded.end_step
        await pilot.press("n")
        assert "end of the run" in app.status.text and app.status.kind == "error"


async def test_e_goes_to_the_next_event_and_large_e_to_the_one_before(
    recorded: Session, screen: Hand, settle: Hand
) -> None:
    async with screen(recorded, at=0) as (app, pilot):
        await pilot.press("e")
        await settle(app, pilot)
        assert recorded.step == recorded.event(0).step
        await pilot.press("e")
        await settle(app, pilot)
        await pilot.press("E")
        await settle(app, pilot)
        assert recorded.step == recorded.event(0).step


async def test_large_n_ends_a_call_and_large_p_begins_it_again(
    recorded: Session, screen: Hand, settle: Hand
) -> None:
    async with screen(recorded, at=0) as (app, pilot):
        await pilot.press("N")
        await settle(app, pilot)
        assert recorded.step == recorded.timeline.input_at(1).step
        await pilot.press("P")
        await settle(app, pilot)
        assert recorded.step == recorded.timeline.input_at(0).step


async def test_c_runs_to_chunk_events_both_ways(
    recorded: Session, screen: Hand, settle: Hand
) -> None:
    made = [
        at.step
        for at in map(recorded.event, range(recorded.nr_events))
        if isinstance(at.event, PercpuCreateChunk)
    ]
    async with screen(recorded, at=0) as (app, pilot):
        for key, step in (("c", made[0]), ("c", made[1]), ("C", made[0])):
            await pilot.press(key)
            await settle(app, pilot)
            assert recorded.step == step
        await pilot.press("C")
        assert "no chunk made or destroyed before" in app.status.text


async def test_f_runs_to_a_failure(recorded: Session, screen: Hand, settle: Hand) -> None:
    async with screen(recorded, at=0) as (app, pilot):
        await pilot.press("f")
        await settle(app, pilot)
        here = [
            at for at in map(recorded.event, range(recorded.nr_events)) if at.step == recorded.step
        ]
        assert any(isinstance(at.event, PercpuAllocPercpuFail) for at in here)


@pytest.mark.parametrize(
    ("text", "step"), [("117", 117), ("50%", 1012), ("+7", 1007), ("start", 0), ("#0", 4)]
)
async def test_g_goes_where_the_text_says(
    recorded: Session, text: str, step: int, screen: Hand, settle: Hand, type_in: Hand
) -> None:
    async with screen(recorded, at=1000) as (app, pilot):
        if text.endswith("%"):
            step = recorded.position(text)
        await type_in(pilot, "g", text)
        await settle(app, pilot)
        assert recorded.step == step and not isinstance(app.screen, PromptScreen)


async def test_a_row_of_chunks_leads_to_the_map_and_one_of_cpus_chooses_the_cpu(
    recorded: Session, screen: Hand
) -> None:
    async with screen(recorded, at=1000) as (app, pilot):
        await pilot.press("5", "down", "down", "enter")
        await pilot.pause()
        assert app.desk.map_pane.chunk_map.at == (1, 0)
        await pilot.press("3", "down", "enter")
        await pilot.pause()
        assert app.desk.focus_on.chosen_cpu == 1
        assert "cpu 1:" in str(app.desk.cpus.border_subtitle)


async def test_q_leaves(recorded: Session) -> None:
    app = KmemscopeApp(recorded)
    async with app.run_test() as pilot:
        await pilot.press("q")
        await pilot.pause()
    assert app.return_code == 0


async def test_a_strangers_file_that_cannot_be_shown_ends_the_screen_in_words(
    recorded: Session, screen: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorded.timeline, "is_foreign", True)

    def broken(_: Session) -> Table:
        raise TypeError("a text where a number belongs")

    async with screen(recorded, at=1000) as (app, _):
        app.desk.listings["slots"] = Listing("slots", broken)
        monkeypatch.setattr("tui.panes.desk.walked", broken)
        app.desk.open("slots")
        app.desk.show_listings()
        assert "TypeError: a text where a number belongs" in app.desk.drawer.table.title
        assert app.problem is None
        app.call_later(broken, recorded)  # what no pane catches
        for _ in range(1000):
            if app.problem is None:
                await asyncio.sleep(0)
    assert "step 1000: the recording holds what no machine can do or be" in str(app.problem)
    assert app.return_code == 2


async def test_a_row_with_an_address_leads_to_its_walk_by_key_and_mouse(
    beneath: Session, screen: Hand
) -> None:
    async with screen(beneath, (80, 24)) as (app, pilot):
        app.open_listing("vmalloc")
        await pilot.pause()
        await pilot.press("enter")
        await pilot.pause()
        start = beneath.machine.vmalloc.areas[0].start
        assert app.desk.focus_on.typed_address == start and app.desk.lower == "walk"
        app.open_listing("modules")
        await pilot.pause()
        await pilot.click("#drawer", offset=(4, 2))
        await pilot.pause()
        core = beneath.machine.modules.modules[0].core_addr
        assert app.desk.focus_on.typed_address == core and app.desk.lower == "walk"


async def test_the_footer_of_a_narrow_screen_offers_the_machine_beneath(
    beneath: Session, screen: Hand
) -> None:
    async with screen(beneath, (80, 24)) as (app, pilot):
        line = app.query_one("#keys").render_line(0).text
        await pilot.click("#keys", offset=(line.index("b memory") + 3, 0))
        await pilot.pause()
        assert app.desk.drawer.listing_name == "zones"
