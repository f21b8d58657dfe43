from __future__ import annotations

from collections.abc import Callable

from tui.debugger.session import Session
from tui.debugger.views.chunk_map import LEGEND
from tui.panes.chunk_map_pane import axis_text, legend_lines

Hand = Callable[..., object]


async def test_axis_and_frame_follow_the_zoom(recorded: Session, screen: Hand) -> None:
    async with screen(recorded, at=1000) as (app, pilot):
        pane = app.desk.map_pane
        assert pane.border_subtitle == "4 KiB a cell"
        assert axis_text(pane.axis.layout_now).split() == [
            "╵0", "╵32K", "╵64K", "╵96K", "╵128K", "╵160K", "╵192K", "╵224K",
        ]  # fmt: skip
        await pilot.press("plus")
        await pilot.pause()
        assert pane.border_subtitle == "2 KiB a cell"
        assert "╵16K" in axis_text(pane.axis.layout_now)


def test_the_legend_breaks_between_words_and_leaves_out_whole_ones() -> None:
    assert [entry for line in legend_lines(60, 4) for entry in line] == list(LEGEND)
    assert legend_lines(30, 1) == [list(LEGEND[:2])]
