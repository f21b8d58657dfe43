"""The frame of the chunk map: an axis above, the map itself, a legend beneath.

╵0      ╵32K    ╵64K        axis: offsets along a line
0x40000  ████▆▁░░░·········          the map (chunk_map.py)
█▓ allocated  ▂▄▆ partly …           legend
"""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.strip import Strip
from textual.widget import Widget

from tui.debugger.session import Session
from tui.debugger.views.chunk_map import GLYPHS, LEGEND, LEGEND_MEANS, Kind, MapLayout
from tui.messages import MapLaidOut
from tui.panes.chunk_map import GUTTER, KIND_STYLES, STYLE_NAMES, ChunkMap
from tui.panes.sizes import short_size, size_text


class MapAxis(Widget):
    """One line above the map: offsets along a line of it."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"axis--text"}

    def __init__(self) -> None:
        super().__init__()
        self.layout_now: MapLayout | None = None

    def render_line(self, y: int) -> Strip:
        """Return the axis."""
        style = self.get_component_rich_style("axis--text")
        width = self.size.width
        return Strip([Segment(axis_text(self.layout_now), style)]).adjust_cell_length(width, style)


def axis_text(layout: MapLayout | None) -> str:
    """Return the offsets from the beginning of a line, one mark every eighth of it at most."""
    if layout is None:
        return ""
    every = max(layout.cells_per_row // 8, 8)
    text = " " * GUTTER
    for cell in range(0, layout.cells_per_row, every):
        text += ("╵" + short_size(cell * layout.bytes_per_cell)).ljust(every)
    return text


class MapLegend(Widget):
    """Beneath the map: what the glyphs mean."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"map--{name}" for name in STYLE_NAMES} | {
        "legend--text"
    }

    def render_line(self, y: int) -> Strip:
        """Return a line of the legend; what does not fit on the last one is left out whole."""
        text_style = self.get_component_rich_style("legend--text")
        segments: list[Segment] = []
        for kinds, word in legend_lines(self.size.width, self.size.height)[y]:
            segments.append(Segment(" ", text_style))
            segments += [
                Segment(GLYPHS[kind], self.get_component_rich_style(f"map--{KIND_STYLES[kind]}"))
                for kind in kinds
            ]
            segments.append(Segment(f" {word} ", text_style))
        return Strip(segments).adjust_cell_length(self.size.width, text_style)


def legend_lines(width: int, nr_lines: int) -> list[list[tuple[tuple[Kind, ...], str]]]:
    """Return what stands on each line of the legend."""
    lines: list[list[tuple[tuple[Kind, ...], str]]] = [[] for _ in range(max(nr_lines, 1))]
    at = used = 0
    for kinds, word in LEGEND:
        piece = len(kinds) + len(word) + 3
        if used + piece > width:
            at, used = at + 1, 0
        if at >= len(lines):
            break
        lines[at].append((kinds, word))
        used += piece
    return lines


class ChunkMapPane(Vertical):
    """Axis, map and legend in one frame."""

    HELP = (
        "A band of lines for every chunk; from left to right, the unit space that all CPUs share.\n"
        "Amber: changed since the last stop. Bright: the area under the cursor.\n\n"
    ) + "\n".join(
        f"  {''.join(GLYPHS[kind] for kind in kinds):<4}{meaning}"
        for (kinds, _), meaning in zip(LEGEND, LEGEND_MEANS, strict=True)
    )

    def __init__(self, session: Session) -> None:
        super().__init__(id="map", classes="pane")
        self.chunk_map = ChunkMap(session)
        self.axis = MapAxis()

    def compose(self) -> ComposeResult:
        """Lay them one above the other."""
        yield self.axis
        yield self.chunk_map
        yield MapLegend()

    def on_map_laid_out(self, message: MapLaidOut) -> None:
        """Say how much a cell is, and give the axis the layout."""
        message.stop()
        layout = message.layout
        self.border_title = "1 chunk map"
        self.border_subtitle = f"{size_text(layout.bytes_per_cell)} a cell"
        self.axis.layout_now = layout
        self.axis.refresh()
