"""The frame of the map: an axis above, the map itself, a legend beneath.

╵0      ╵32K    ╵64K        axis: offsets along a line
0x40000  ████▆▁░░░·········          the map: of chunks (chunk_map.py), or of strips (stretch_map.py)
█▓ allocated  ▂▄▆ partly …           legend

Which map it is depends on what the machine's per-CPU memory is made of; a branch may have another machine.
"""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.strip import Strip
from textual.widget import Widget

from tui.debugger.session import Session
from tui.debugger.views import chunk_map as chunk_codes
from tui.debugger.views import stretch_map as stretch_codes
from tui.messages import MapLaidOut
from tui.panes.cell_map import STYLE_NAMES, CellMap, CellRows
from tui.panes.chunk_map import GUTTER, ChunkMap
from tui.panes.sizes import short_size, size_text
from tui.panes.stretch_map import StretchMap

MARKS_MAX = 8  # on the axis
MARK_CELLS_MIN = 8
Entries = tuple[tuple[tuple[int, ...], str], ...]
AWAY = "-away"
CHUNKS_HELP = (
    "A band of lines for every chunk; from left to right, the unit space that all CPUs share.\n"
    "Amber: changed since the last stop. Bright: the area under the cursor.\n\n"
)
STRIPS_HELP = (
    "A row or more for every strip of the system's memory; small ones of a kind share a row.\n"
    "Amber: changed since the last stop. Bright: the copies, on every CPU, of what is under the cursor.\n\n"
)


class MapAxis(Widget):
    """One line above the map: offsets along a line of it."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"axis--text"}

    def __init__(self) -> None:
        super().__init__()
        self.layout_now: CellRows | None = None
        self.gutter_columns = GUTTER

    def render_line(self, y: int) -> Strip:
        """Return the axis."""
        style = self.get_component_rich_style("axis--text")
        width = self.size.width
        text = axis_text(self.layout_now, self.gutter_columns)
        return Strip([Segment(text, style)]).adjust_cell_length(width, style)


def axis_text(layout: CellRows | None, gutter: int = GUTTER) -> str:
    """Return the offsets from the beginning of a line, one mark every eighth of it at most."""
    if layout is None:
        return ""
    every = MARK_CELLS_MIN
    while every * MARKS_MAX < layout.cells_per_row:
        every *= 2
    text = " " * gutter
    for cell in range(0, layout.cells_per_row, every):
        text += ("╵" + short_size(cell * layout.bytes_per_cell)).ljust(every)
    return text


class MapLegend(Widget):
    """Beneath the map: what the glyphs mean."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"map--{name}" for name in STYLE_NAMES} | {
        "legend--text"
    }

    def __init__(self, pane: ChunkMapPane) -> None:
        super().__init__()
        self.pane = pane

    def render_line(self, y: int) -> Strip:
        """Return a line of the legend; what does not fit on the last one is left out whole."""
        text_style = self.get_component_rich_style("legend--text")
        looks, entries = self.pane.current.LOOKS, self.pane.legend
        segments: list[Segment] = []
        for kinds, word in legend_lines(self.size.width, self.size.height, entries)[y]:
            segments.append(Segment(" ", text_style))
            segments += [
                Segment(
                    looks.glyphs[kind], self.get_component_rich_style(f"map--{looks.styles[kind]}")
                )
                for kind in kinds
            ]
            segments.append(Segment(f" {word} ", text_style))
        return Strip(segments).adjust_cell_length(self.size.width, text_style)


def legend_lines(
    width: int, nr_lines: int, entries: Entries = chunk_codes.LEGEND
) -> list[list[tuple[tuple[int, ...], str]]]:
    """Return what stands on each line of the legend."""
    lines: list[list[tuple[tuple[int, ...], str]]] = [[] for _ in range(max(nr_lines, 1))]
    at = used = 0
    for kinds, word in entries:
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

    def __init__(self, session: Session) -> None:
        super().__init__(id="map", classes="pane")
        self.session = session
        self.chunk_map = ChunkMap(session)
        self.stretch_map = StretchMap(session)
        self.axis = MapAxis()

    @property
    def current(self) -> CellMap:
        """The map that shows this machine."""
        return self.stretch_map if self.session.machine.bitmap is None else self.chunk_map

    @property
    def legend(self) -> Entries:
        """What the glyphs of the current map mean, in a word each."""
        is_of_strips = self.current is self.stretch_map
        return stretch_codes.LEGEND if is_of_strips else chunk_codes.LEGEND

    @property
    def about(self) -> str:
        """What the help says of the map."""
        if self.current is self.stretch_map:
            return STRIPS_HELP + _glyph_lines(
                stretch_codes.GLYPHS, stretch_codes.LEGEND, stretch_codes.LEGEND_MEANS
            )
        return CHUNKS_HELP + _glyph_lines(
            chunk_codes.GLYPHS, chunk_codes.LEGEND, chunk_codes.LEGEND_MEANS
        )

    def compose(self) -> ComposeResult:
        """Lay them one above the other; one of the maps is away."""
        yield self.axis
        yield self.chunk_map
        yield self.stretch_map
        yield MapLegend(self)
        self._choose()

    def _choose(self) -> None:
        for each in (self.chunk_map, self.stretch_map):
            each.set_class(each is not self.current, AWAY)

    def show_stop(self, keep_before: bool) -> None:
        """Show the present moment in the map that suits the machine."""
        had_focus = self.chunk_map.has_focus or self.stretch_map.has_focus
        was_away = self.current.has_class(AWAY)
        self._choose()
        self.current.show(keep_before and not was_away)
        if was_away and had_focus:
            self.call_after_refresh(self.current.focus)  # it cannot have the keys while it is away

    def go_to_address(self, addr: int) -> bool:
        """Put the cursor on an address; False if the map is of chunks, or it is none of the system's."""
        return self.current is self.stretch_map and self.stretch_map.go_to_address(addr)

    def on_map_laid_out(self, message: MapLaidOut) -> None:
        """Say how much a cell is, and give the axis the layout."""
        message.stop()
        layout = message.layout
        name = self.session.machine.system.name
        self.border_title = "1 chunk map" if self.current is self.chunk_map else f"1 map  {name}"
        self.border_subtitle = f"{size_text(layout.bytes_per_cell)} a cell"
        self.axis.layout_now, self.axis.gutter_columns = layout, message.gutter
        self.axis.refresh()


def _glyph_lines(glyphs: dict[int, str], legend: Entries, means: tuple[str, ...]) -> str:
    """Return a line for each entry of a legend: its glyphs, and what they mean."""
    return "\n".join(
        f"  {''.join(dict.fromkeys(glyphs[kind] for kind in kinds)):<4}{meaning}"
        for (kinds, _), meaning in zip(legend, means, strict=True)
    )
