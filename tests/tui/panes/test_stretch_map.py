from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kernel_sim.percpu.stretch import DYNAMIC
from tests.tui.system_sessions import OTHERS, busy_session_of, many_cpus, ptrs_of, session_of, tell
from tui.debugger.session import Session
from tui.debugger.views.chunk_map import CHANGED, KIND_BITS, OBJECT
from tui.debugger.views.stretch_map import GLYPHS, line_codes
from tui.panes.stretch_map import StretchMap

SIZES = [(80, 24), (120, 40)]
Screen = Callable[..., Any]


def map_of(app: Any) -> StretchMap:
    found = app.desk.map_pane.current
    assert isinstance(found, StretchMap)
    return found


def lines_of(shown: StretchMap) -> list[str]:
    return ["".join(piece.text for piece in shown.draw(line)) for line in range(shown.nr_lines())]


@pytest.mark.parametrize("system", OTHERS)
@pytest.mark.parametrize("size", SIZES)
async def test_it_draws_the_rows_of_the_map_view(
    screen: Screen, system: str, size: tuple[int, int]
) -> None:
    session = busy_session_of(system)
    async with screen(session, size) as (app, pilot):
        shown = map_of(app)
        layout = shown.layout_now
        assert layout is not None and layout.index.complete
        for number, text in enumerate(lines_of(shown)):
            cells = "".join(GLYPHS[code & KIND_BITS] for code in line_codes(layout, number))
            if layout.lines[number].pieces:
                assert text[shown.gutter_columns :].startswith(cells)
            else:
                assert text.startswith(layout.lines[number].text[: shown.size.width - 4])
        for _ in range(100):  # the title comes by message, when the pane has its turn
            if app.desk.map_pane.border_title:
                break
            await pilot.pause(0.02)
        assert system in str(app.desk.map_pane.border_title)


@pytest.mark.parametrize("system", OTHERS)
async def test_the_cursor_comes_to_every_strip_and_names_it(screen: Screen, system: str) -> None:
    async with screen(busy_session_of(system)) as (app, pilot):
        shown = map_of(app)
        assert shown.index is not None
        seen = set()
        for _ in range(shown.nr_lines()):
            shown.action_move(0, -1)
        before = None
        while shown.at != before:
            before = shown.at
            assert shown.place is not None
            seen.add(shown.place.strip)
            shown.action_move(1, 0)
        assert seen == set(shown.index.by_name)
        await pilot.press("pageup", "pageup", "pagedown", "k", "l")
        assert shown.place is not None and app.status.text.startswith(shown.place.strip)


async def test_the_copies_on_all_cpus_stand_out(screen: Screen) -> None:
    session = busy_session_of("block-2005")
    ptr = ptrs_of(session)[2]
    addr = session.machine.system.copy_addr(ptr, 2)
    async with screen(session, (120, 40)) as (app, pilot):
        shown = map_of(app)
        assert shown.go_to_address(addr)
        await pilot.pause()
        assert shown.marked_ptr == ptr and shown.address() == addr
        assert f"ptr {ptr:#x}" in app.status.text and "copies 0:" in app.status.text
        layout = shown.layout_now
        assert layout is not None
        marked = [
            layout.index.strips[piece.strip].cpu
            for line in range(shown.nr_lines())
            for piece in layout.lines[line].pieces
            if any(
                code & OBJECT
                for code in shown._marked(line)[piece.column : piece.column + piece.nr_cells]
            )
        ]
        assert marked == [0, 1, 2, 3]
        assert not shown.go_to_address(0x10)


async def test_zoom_keeps_the_byte_under_the_cursor_in_view(screen: Screen) -> None:
    session = busy_session_of("legacy-static")
    addr = session.machine.system.copy_addr(ptrs_of(session)[1], 3)
    async with screen(session, (120, 40)) as (app, pilot):
        shown = map_of(app)
        shown.go_to_address(addr)
        sizes = []
        for way in (1,) * 12 + (-1,) * 20 + (0,):
            shown.zoom(way)
            await pilot.pause()
            assert shown.address() == addr and shown.layout_now is not None
            sizes.append(shown.layout_now.bytes_per_cell)
            assert shown.cursor_cell() is not None and not shown.is_out_of_view()
        assert min(sizes) == 4 and max(sizes) == 1024
        await pilot.press("plus")
        assert shown.layout_now.bytes_per_cell == sizes[-1] // 2


async def test_the_mouse_puts_the_cursor_and_names(screen: Screen) -> None:
    async with screen(busy_session_of("legacy-static"), (120, 40)) as (app, pilot):
        shown = map_of(app)
        where = shown.layout_now.cell_of("area of cpu 1", 0) if shown.layout_now else None
        assert where is not None
        x, y = shown.gutter_columns + 3, where[0] - int(shown.scroll_offset.y)
        await pilot.hover(shown, offset=(x, y + 1))
        assert app.status.text.startswith("area of cpu 2")
        await pilot.click(shown, offset=(x, y))
        assert shown.at is not None and shown.at[0] == "area of cpu 1"
        await pilot.hover(app.status)
        assert app.status.text.startswith("area of cpu 1")


async def test_what_changed_since_the_last_stop_is_marked(screen: Screen) -> None:
    session = session_of("block-2005")
    tell(session, "alloc 0 64", "alloc 1 2000")
    async with screen(session, (120, 40)) as (app, pilot):
        shown = map_of(app)
        await pilot.press("E")
        await app.workers.wait_for_complete()
        await pilot.press("e")
        await app.workers.wait_for_complete()
        await pilot.pause()
        layout = shown.layout_now
        assert layout is not None and session.step == session.end_step
        changed = {
            layout.index.strips[piece.strip].name
            for line in range(shown.nr_lines())
            for piece in layout.lines[line].pieces
            if any(
                code & CHANGED
                for code in shown._marked(line)[piece.column : piece.column + piece.nr_cells]
            )
        }
        assert changed == {f"block 0, cpu {cpu}" for cpu in range(4)}


async def test_it_finds_addresses_and_call_sites(screen: Screen, type_in: Screen) -> None:
    session = busy_session_of("legacy-static")
    ptrs = ptrs_of(session)
    async with screen(session, (120, 40)) as (app, pilot):
        shown = map_of(app)
        await type_in(pilot, "slash", "kmemscope")
        assert shown.marked_ptr == ptrs[0] and app.status.text == "1 of 3 areas made by kmemscope"
        await type_in(pilot, "slash", "")
        assert shown.marked_ptr == ptrs[1]
        addr = session.machine.system.copy_addr(ptrs[2], 3)
        await type_in(pilot, "slash", f"percpu:{ptrs[2]:#x}@3")
        assert shown.address() == addr
        copied: list[str] = []
        app.copy_to_clipboard = copied.append
        await pilot.press("y")
        assert copied[0].endswith(f"&sel=addr:{addr:#x}")
        shown.select("addr:0xc")
        shown.select("chunk:1:0")
        assert shown.address() == addr
        first = session.machine.system.copy_addr(ptrs[0], 0)
        shown.select(f"addr:{first:#x}")
        assert shown.address() == first


async def test_a_row_of_a_listing_leads_to_the_map(screen: Screen) -> None:
    session = busy_session_of("legacy-static")
    async with screen(session, (120, 40)) as (app, pilot):
        await pilot.press("5", "down", "enter")
        await pilot.pause()
        shown = map_of(app)
        assert shown.has_focus and shown.marked_ptr == ptrs_of(session)[1]
        await pilot.press("8", "end", "enter")
        await pilot.pause()
        stretch = list(session.machine.system.stretches())
        assert shown.address() in [each.addr for each in stretch]


async def test_only_what_is_looked_at_is_read_and_the_rest_comes_by_itself(screen: Screen) -> None:
    """Many CPUs: a show reads a slice, and pieces in the background go on from there."""
    session = Session.boot(many_cpus("legacy-static", 1024))
    async with screen(session, (120, 40)) as (app, _pilot):
        shown = map_of(app)
        shown.show(False)
        assert shown.index is not None and not shown.index.complete
        nr_lines = shown.nr_lines()
        while not shown.index.complete:
            shown._read_on()
        assert shown.nr_lines() > nr_lines and shown.virtual_size.height == shown.nr_lines()
        shown._to_line(shown.nr_lines() - 1, 0, -1)
        at = shown.at
        shown.show(True)
        assert shown.at == at and not shown.index.complete
        assert shown.virtual_size.height == shown._known[1]
        while not shown.index.complete:
            shown._read_on()
        assert shown.place is not None and not shown.is_out_of_view()


async def test_a_strip_that_is_gone_lets_the_cursor_go(screen: Screen) -> None:
    session = busy_session_of("legacy-static")
    ptr = ptrs_of(session)[2]
    async with screen(session, (120, 40)) as (app, pilot):
        shown = map_of(app)
        shown.go_to_address(session.machine.system.copy_addr(ptr, 0))
        tell(session, f"free 0 percpu:{ptr:#x}")
        app.stopped()
        await pilot.pause()
        assert shown.at == ("area of cpu 0", 0)
        kinds = {each.ptr for each in session.machine.system.stretches() if each.kind == DYNAMIC}
        assert ptr not in kinds
