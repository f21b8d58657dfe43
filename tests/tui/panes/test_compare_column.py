"""A system's column: its map, what became of the operation, figures."""

from __future__ import annotations

import pytest
from textual.pilot import Pilot

from snapshots.compare.side_by_side import SideBySide
from snapshots.compare.workload import Alloc, Free, Workload
from tests.snapshots.compare.conftest import compared
from tui.compare_app import CompareApp
from tui.panes.chunk_map import ChunkMap
from tui.panes.compare_column import CompareColumn, FigureLines
from tui.screens.compare import CompareScreen

WORK = Workload("w", "test", (Alloc(1, 100, 8), Alloc(2, 99_999, 8), Free(1)), 4)


@pytest.fixture
def side() -> SideBySide:
    return SideBySide(compared(WORK, "bitmap,legacy-static"))


def lines_of(figures: FigureLines) -> list[str]:
    return [figures.render_line(y).text.strip() for y in range(figures.size.height)]


async def column(pilot: Pilot[None], number: int = 0) -> CompareColumn:
    await pilot.pause()
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()
    screen = pilot.app.screen
    assert isinstance(screen, CompareScreen)
    return screen.columns[number]


async def test_it_has_the_map_of_its_system_and_the_figures_of_the_position(
    side: SideBySide,
) -> None:
    side.go(1)
    async with CompareApp(side).run_test(size=(120, 40)) as pilot:
        bitmap, legacy = await column(pilot), await column(pilot, 1)
        assert isinstance(bitmap.map, ChunkMap)
        assert not isinstance(legacy.map, ChunkMap)
        assert legacy.map.nr_lines() > 4
        for each in (bitmap, legacy):
            lines = lines_of(each.figures)
            assert lines[0].startswith("done in ")
            assert lines[1].split() == ["asked", "400", "B"]
            assert lines[-1].split() == ["not", "done", "0"]
            assert each.border_title == each.run.label


async def test_what_changed_and_what_went_wrong_stand_out(side: SideBySide) -> None:
    side.go(1)
    async with CompareApp(side).run_test(size=(120, 40)) as pilot:
        figures = (await column(pilot)).figures
        await pilot.press("n")
        figures = (await column(pilot)).figures
        assert lines_of(figures)[0] == "failed"
        assert not figures.is_good
        assert figures.before["not done"] == 0
        assert dict(figures.figures)["not done"] == 1
        segments = [segment for segment in figures.render_line(8) if segment.text.strip()]
        quiet = [segment for segment in figures.render_line(5) if segment.text.strip()]
        assert segments[-1].style != quiet[-1].style


async def test_the_cursor_of_its_map_is_named_on_the_status_line(side: SideBySide) -> None:
    async with CompareApp(side).run_test(size=(120, 40)) as pilot:
        await column(pilot)
        await pilot.press("down", "right")
        await pilot.pause()
        screen = pilot.app.screen
        assert isinstance(screen, CompareScreen)
        assert screen.status.text.startswith("bitmap: ")
