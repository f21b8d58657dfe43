from __future__ import annotations

from collections.abc import Callable

from tui.debugger.session import Session

Hand = Callable[..., object]


async def test_what_a_step_changed_is_marked_in_map_and_tables(
    recorded: Session, screen: Hand, settle: Hand
) -> None:
    born = recorded.event(0).step
    async with screen(recorded, at=0) as (app, pilot):
        await pilot.press("e")
        await settle(app, pilot)
        assert recorded.step == born
        table = app.desk.drawer.table
        assert table is not None
        marked = [row[0] for at, row in enumerate(table.rows) if app.desk.drawer.is_marked(at)]
        assert marked == [0]
        assert app.desk.map_pane.chunk_map.before


async def test_what_is_cut_off_at_the_edge_is_marked_in_heading_and_rows(
    beneath: Session, screen: Hand
) -> None:
    async with screen(beneath, (80, 24)) as (app, pilot):
        app.open_listing("modules")
        await pilot.pause()
        pane = app.desk.drawer
        heading = pane.render_line(0).text.rstrip()
        assert heading.endswith("›") and len(heading) == pane.scrollable_size.width
        await pilot.press(*["l"] * 12)
        await pilot.pause()
        assert pane.render_line(0).text.rstrip().endswith("uses")


async def test_a_listing_without_rows_has_no_heading(beneath: Session, screen: Hand) -> None:
    async with screen(beneath, (80, 24)) as (app, pilot):
        app.open_listing("fault")
        await pilot.pause()
        lines = [app.desk.drawer.render_line(y).text.strip() for y in (0, 1)]
        assert lines == ["", "the machine has not stopped at a fault"]
