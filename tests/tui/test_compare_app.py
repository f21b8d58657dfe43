"""The compare screen as a program of its own."""

from __future__ import annotations

from snapshots.compare.side_by_side import SideBySide
from tests.snapshots.compare.conftest import compared
from tui.compare_app import CompareApp
from tui.screens.compare import CompareScreen


async def test_it_shows_the_comparison_and_ends_with_it() -> None:
    side = SideBySide(compared("gen:small,ops=30", "bitmap"))
    app = CompareApp(side)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert isinstance(app.screen, CompareScreen)
        await pilot.press("q")
        await pilot.pause()
    assert app.return_code == 0
    assert not app.is_running
