from __future__ import annotations

import tomllib
from collections.abc import Callable

import pytest

from kernel_sim.config import MachineConfig
from tests.tui.debugger.conftest import EXAMPLES
from tui.debugger.session import Session
from tui.panes.lines import broken

Hand = Callable[..., object]


async def test_a_click_on_a_tab_shows_its_listing(recorded: Session, screen: Hand) -> None:
    async with screen(recorded, at=1000) as (app, pilot):
        left = app.tab_line.render_line(0).text.index("6 slots")
        await pilot.click("#tabs", offset=(left + 3, 0))
        await pilot.pause()
        assert app.desk.drawer.listing_name == "slots"


@pytest.mark.parametrize(
    ("text", "width", "nr_lines", "lines"),
    [
        ("one two", 10, 1, ["one two"]),
        ("one two three", 8, 2, ["one two", "three"]),
        ("one two three", 8, 1, ["one two…"]),
        ("toolongaword", 5, 1, ["tool…"]),
        ("", 5, 2, [""]),
    ],
)
def test_a_text_is_broken_between_words(
    text: str, width: int, nr_lines: int, lines: list[str]
) -> None:
    assert broken(text, width, nr_lines) == lines


async def test_tabs_stand_closer_where_the_last_one_would_be_cut_off(
    recorded: Session, screen: Hand
) -> None:
    async with screen(recorded, (80, 24), at=1000) as (app, pilot):
        app.open_listing("pagetables")
        await pilot.pause()
        text = app.tab_line.render_line(0).text
        assert "9 pagetables" in text and len(text) == 80
        await pilot.click("#tabs", offset=(text.index("5 chunks") + 3, 0))
        await pilot.pause()
        assert app.desk.drawer.listing_name == "chunks"


async def test_the_status_line_tells_a_page_fault_in_one_sentence(
    faulted: Session, screen: Hand
) -> None:
    async with screen(faulted) as (app, _):
        assert app.status.kind == "error"
        assert app.status.text == (
            "page fault on cpu 1: write to 0xffffc90000005000 (not present), "
            "in a vmalloc area of vmalloc, its guard page; P: back before it"
        )


@pytest.mark.parametrize(
    ("width", "name"),
    [
        (150, "legacy-static · 2002 to 2009 (2.6.13 to 2.6.29)"),
        (120, "legacy-static · 2002 to 2009"),
    ],
)
async def test_a_machine_of_the_past_is_named_with_its_years(
    screen: Hand, width: int, name: str
) -> None:
    path = EXAMPLES / "legacy-static.toml"
    config = MachineConfig.from_mapping(tomllib.loads(path.read_text()), where=path.name)
    async with screen(Session.boot(config), (width, 40)) as (app, pilot):
        await pilot.pause()
        text = app.tab_line.render_line(0).text
        assert text.rstrip().endswith(name) and "Linux" not in text
