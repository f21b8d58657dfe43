"""What the screen looks like. Every picture was looked at before it was kept; its docstring tells it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from textual.pilot import Pilot

from tui.app import KmemscopeApp
from tui.debugger.session import Session
from tui.panes.listings import BENEATH

NARROW, WIDE, HUGE = (80, 24), (120, 40), (200, 50)
IN_THE_MIDST = 1436  # the second chunk was made, its pages are being given
Keys = Callable[[Pilot[None]], Awaitable[None]]


def after(*keys: str) -> Keys:
    """Press keys, one after the other has been done."""

    async def press(pilot: Pilot[None]) -> None:
        for key in keys:
            await pilot.press(key)
            await pilot.app.workers.wait_for_complete()
            await pilot.pause()
        await pilot.pause()

    return press


def on_the_second_page(keys: Keys) -> Keys:
    """Put the cursor of the map on a small area of the first chunk, then press keys."""

    async def press(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, KmemscopeApp)
        await pilot.pause()
        app.desk.map_pane.chunk_map.go_to(0, 0x37000 + 0x40)
        await keys(pilot)

    return press


@pytest.mark.parametrize("light", [False, True], ids=["dark", "light"])
@pytest.mark.parametrize("size", [NARROW, WIDE, HUGE], ids=["narrow", "wide", "huge"])
def test_a_chunk_has_just_been_made(
    snap_compare: Callable[..., bool], recorded: Session, size: tuple[int, int], light: bool
) -> None:
    """Chunk 1 is full; chunk 2 has just been made and has an area whose pages are not there yet."""
    recorded.go_now(1425)
    app = KmemscopeApp(recorded, light=light)
    keys = after("c", *["n"] * 4)
    assert snap_compare(app, terminal_size=size, run_before=keys)


@pytest.mark.parametrize("light", [False, True], ids=["dark", "light"])
def test_zoomed_in_areas_have_borders(
    snap_compare: Callable[..., bool], recorded: Session, light: bool
) -> None:
    """Neighbours differ in shade, the area under the cursor stands out and is named below."""
    recorded.go_now(110)
    app = KmemscopeApp(recorded, light=light)
    keys = on_the_second_page(after(*["plus"] * 8))
    assert snap_compare(app, terminal_size=WIDE, run_before=keys)


@pytest.mark.parametrize("key", ["3", "4", "5", "6", "7", "8", "9"])
def test_a_narrow_screen_shows_a_listing_beneath_the_map(
    snap_compare: Callable[..., bool], recorded: Session, key: str
) -> None:
    """The map above, beneath it the listing of that number with the keys."""
    recorded.go_now(IN_THE_MIDST)
    app = KmemscopeApp(recorded)
    assert snap_compare(app, terminal_size=NARROW, run_before=after(key, "n"))


def test_the_help(snap_compare: Callable[..., bool], recorded: Session) -> None:
    """The keys that work on the map, by group."""
    recorded.go_now(IN_THE_MIDST)
    app = KmemscopeApp(recorded)
    assert snap_compare(app, terminal_size=WIDE, run_before=after("question_mark"))


@pytest.mark.parametrize("light", [False, True], ids=["dark", "light"])
def test_a_position_that_is_none(
    snap_compare: Callable[..., bool], recorded: Session, light: bool
) -> None:
    """The prompt at the foot of a narrow screen says in red what is wrong."""
    recorded.go_now(IN_THE_MIDST)
    app = KmemscopeApp(recorded, light=light)
    keys = after("g", "f", "o", "o", "enter")
    assert snap_compare(app, terminal_size=NARROW, run_before=keys)


def test_the_answer_of_a_command(snap_compare: Callable[..., bool], recorded: Session) -> None:
    """The lower pane shows who owns the address under the cursor."""
    recorded.go_now(110)
    app = KmemscopeApp(recorded)
    keys = on_the_second_page(after("w", "enter"))
    assert snap_compare(app, terminal_size=WIDE, run_before=keys)


def test_a_pane_on_the_whole_screen(snap_compare: Callable[..., bool], recorded: Session) -> None:
    """All events, with tasks and log lines, the present marked."""
    recorded.go_now(IN_THE_MIDST)
    app = KmemscopeApp(recorded)
    assert snap_compare(app, terminal_size=NARROW, run_before=after("2", "z"))


@pytest.mark.parametrize("name", ["zones", "tlb", "modules", "hotplug"])
def test_the_machine_beneath_under_the_map(
    snap_compare: Callable[..., bool], beneath: Session, name: str
) -> None:
    """The key b, as often as it takes: the first columns are those that matter most."""
    app = KmemscopeApp(beneath)
    keys = after(*["b"] * (BENEATH.index(name) + 1))
    assert snap_compare(app, terminal_size=NARROW, run_before=keys)


def test_areas_and_a_cpu_that_is_down(snap_compare: Callable[..., bool], beneath: Session) -> None:
    """Areas with their own pages, one freed lazily; CPU 3 is offline, its steps down are events."""
    app = KmemscopeApp(beneath, light=True)
    keys = after(*["b"] * (BENEATH.index("vmalloc") + 1))
    assert snap_compare(app, terminal_size=HUGE, run_before=keys)


def test_a_page_fault(snap_compare: Callable[..., bool], faulted: Session) -> None:
    """What CR2 and the error code hold, whose address it was; in red what the status line says."""
    app = KmemscopeApp(faulted)
    assert snap_compare(app, terminal_size=WIDE, run_before=after("b", "B"))


def test_branches_beneath_the_map(snap_compare: Callable[..., bool], recorded: Session) -> None:
    """The tree of branches, the one on which one stands marked; its name before the position."""
    recorded.go_now(700)
    recorded.give(1, "pcpu_alloc", 64, 8, False, 0xCC0, "f+0x1/0x2")
    recorded.timeline.advance(710)
    recorded.tree.rename(recorded.tree.current, "atomic")
    recorded.bookmark("odd", "the free before")
    app = KmemscopeApp(recorded)
    keys = after("colon", *"branches", "enter")
    assert snap_compare(app, terminal_size=NARROW, run_before=keys)


def test_what_changed_since(snap_compare: Callable[..., bool], recorded: Session) -> None:
    """The differences of two moments, areas first; the sum of them on the status line."""
    recorded.go_now(1425)
    keys = after("d", "minus", "5", "0", "enter")
    assert snap_compare(KmemscopeApp(recorded), terminal_size=WIDE, run_before=keys)
