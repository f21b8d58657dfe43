from __future__ import annotations

from collections.abc import Callable

from tui.debugger.session import Session

Hand = Callable[..., object]


async def test_the_cursor_names_the_object_under_it(recorded: Session, screen: Hand) -> None:
    first = recorded.event(0)
    async with screen(recorded, at=first.step) as (app, pilot):
        await pilot.press(*["plus"] * 12)
        await pilot.pause()
        for word in (
            "first chunk +0x0",
            "16 B",
            "alloc_vfsmnt+0x50",
            "systemd-1",
            "born at step 4",
        ):
            assert word in app.status.text
        assert "1 lines" not in app.status.text


async def test_the_cursor_names_free_space_pages_and_static_symbols(
    recorded: Session, screen: Hand
) -> None:
    async with screen(recorded, at=recorded.end_step) as (app, pilot):
        chunk_map = app.desk.map_pane.chunk_map
        for number, at_bytes, words in (
            (2, 0xFF000, "page 255 is not populated"),
            (2, 15 << 12, "page 15 is backed and empty"),
            (-1, 0, "static +0x0"),
            (-1, 0x35000, "reserved chunk"),
        ):
            chunk_map.go_to(number, at_bytes)
            await pilot.pause()
            assert words in app.status.text


async def test_zoom_keeps_the_byte_under_the_cursor(recorded: Session, screen: Hand) -> None:
    async with screen(recorded, at=1000) as (app, pilot):
        chunk_map = app.desk.map_pane.chunk_map
        chunk_map.go_to(1, 0x12340)
        sizes = []
        for _ in range(14):
            await pilot.press("plus")
            assert chunk_map.layout_now is not None and chunk_map.at == (1, 0x12340)
            sizes.append(chunk_map.layout_now.bytes_per_cell)
        assert sizes[-1] == 4 and sizes == sorted(sizes, reverse=True)
        cell = chunk_map.layout_now.cell_of(1, 0x12340)
        assert cell is not None
        assert 0 <= cell[0] - chunk_map.scroll_offset.y < chunk_map.size.height
        await pilot.press(*["minus"] * 14)
        assert chunk_map.layout_now.row_bytes >= chunk_map.layout_now.unit_size_bytes


async def test_the_cursor_passes_over_headings_and_stays_on_the_map(
    recorded: Session, screen: Hand
) -> None:
    async with screen(recorded, at=1000) as (app, pilot):
        chunk_map = app.desk.map_pane.chunk_map
        seen = set()
        await pilot.press(*["up"] * 12)
        for _ in range(12):
            assert chunk_map.at is not None and chunk_map.place is not None
            seen.add(chunk_map.at[0])
            await pilot.press("down")
        assert seen == {-1, 0, 1}
        await pilot.press("right", "l", "left", "h", "j", "k", "pagedown", "pageup")
        assert chunk_map.place is not None


async def test_a_click_puts_the_cursor_there_and_the_mouse_names_what_is_under_it(
    recorded: Session, screen: Hand
) -> None:
    async with screen(recorded, at=1000) as (app, pilot):
        chunk_map = app.desk.map_pane.chunk_map
        band = chunk_map.layout_now.band_of(1) if chunk_map.layout_now else None
        assert band is not None and chunk_map.layout_now is not None
        await pilot.click(chunk_map, offset=(9 + 3, band.top_line + 1))
        assert chunk_map.at == (1, 3 * chunk_map.layout_now.bytes_per_cell)
        await pilot.hover(chunk_map, offset=(9, band.top_line + 2))
        assert f"+{chunk_map.layout_now.row_bytes:#x}" in app.status.text
        assert chunk_map.at[0] == 1


async def test_the_cursor_survives_a_chunk_that_is_not_there_yet(
    recorded: Session, screen: Hand, settle: Hand
) -> None:
    async with screen(recorded, at=1000) as (app, pilot):
        app.desk.map_pane.chunk_map.go_to(1, 0)
        await pilot.press("home")
        await settle(app, pilot)
        assert app.desk.map_pane.chunk_map.at is not None
        assert app.desk.map_pane.chunk_map.at[0] in recorded.machine.percpu.chunks
