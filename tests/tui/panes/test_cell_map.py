from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.tui.system_sessions import busy_session_of
from tui.panes.cell_map import STYLE_NAMES, CellMap
from tui.panes.chunk_map import ChunkMap
from tui.panes.stretch_map import StretchMap

Screen = Callable[..., Any]


@pytest.mark.parametrize("kind", [ChunkMap, StretchMap])
def test_every_glyph_has_a_style_of_the_sheet(kind: type[CellMap]) -> None:
    assert set(kind.LOOKS.glyphs) == set(kind.LOOKS.styles)
    assert set(kind.LOOKS.styles.values()) <= set(STYLE_NAMES)
    assert kind.LOOKS.solid in kind.LOOKS.glyphs.values()


@pytest.mark.parametrize("system", ["bitmap", "legacy-static"])
async def test_a_line_is_drawn_once_for_the_same_codes(screen: Screen, system: str) -> None:
    async with screen(busy_session_of(system), (120, 40)) as (app, _):
        shown = app.desk.map_pane.current
        first = [shown.render_line(y) for y in range(shown.size.height)]
        again = [shown.render_line(y) for y in range(shown.size.height)]
        cells = [one is other for one, other in zip(first, again, strict=True) if one.text.strip()]
        assert cells and all(cells)
        assert all(line.cell_length == shown.size.width for line in first)
        app.action_theme()
        shown.notify_style_update()
        assert shown.render_line(1) is not first[1]


@pytest.mark.parametrize("system", ["bitmap", "legacy-static"])
async def test_the_cursor_is_drawn_where_the_keys_are(screen: Screen, system: str) -> None:
    async with screen(busy_session_of(system), (120, 40)) as (app, pilot):
        shown = app.desk.map_pane.current
        cell = shown.cursor_cell()
        assert cell is not None

        def style() -> Any:
            line = shown.draw(cell[0])
            return line.crop(shown.gutter_columns + cell[1], shown.gutter_columns + cell[1] + 1)

        with_keys = style()
        await pilot.press("2")
        assert [each.style for each in style()] != [each.style for each in with_keys]


async def test_one_step_beyond_the_map_stays_on_it(screen: Screen) -> None:
    async with screen(busy_session_of("bitmap"), (120, 40)) as (app, _):
        shown = app.desk.map_pane.current
        at = shown.at
        shown.step_to(shown.nr_lines() + 5, 0, 1)
        assert shown.at == at
