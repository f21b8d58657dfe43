"""The chunk map on the screen, and a cursor that names what it is on.

The map is drawn by lines, never by cells: a line's codes come from views/chunk_map.py, equal codes are one
Segment, and a line that was drawn once with the same codes is taken from a cache.
"""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.cache import LRUCache
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from kernel_sim.mm.page import PAGE_SIZE_BYTES
from tui.debugger.births import first_areas
from tui.debugger.session import Session
from tui.debugger.views.chunk_map import (
    CELL_BYTES_MIN,
    CHANGED,
    GLYPHS,
    KIND_BITS,
    OBJECT,
    Band,
    Before,
    Kind,
    MapLayout,
    Place,
    area_parities,
    cell_for_height,
    cells_that_fit,
    chunks_in_order,
    lay_out,
    row_codes,
    runs,
    widest_cell,
)
from tui.debugger.views.map_object import band_title, object_span, unknown_bits
from tui.messages import MapLaidOut, PlaceNamed

GUTTER = 9
STRIPS_MAX = 512
LOW_WINDOW = 10  # lines; a lower window shows each chunk in one line
KIND_STYLES = {
    Kind.OUTSIDE: "outside", Kind.STATIC: "static", Kind.HIDDEN: "hidden",
    Kind.UNPOPULATED: "unpopulated", Kind.EMPTY: "empty", Kind.FREE: "free",
    Kind.RESERVED: "reserved", Kind.LOW: "partly", Kind.MIDDLE: "partly", Kind.HIGH: "partly",
    Kind.AREA: "area", Kind.AREA_ODD: "area-odd", Kind.UNKNOWN: "unknown", Kind.UNBACKED: "unbacked",
}  # fmt: skip
STYLE_NAMES = (
    *dict.fromkeys(KIND_STYLES.values()),
    "changed",
    "object",
    "cursor",
    "cursor-away",
    "gutter",
    "title",
    "new",
)


class ChunkMap(ScrollView, can_focus=True, inherit_bindings=False):
    """The map proper. Its lines are those of a MapLayout; its columns begin with a gutter of offsets."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(0,-1)", show=False),
        Binding("down,j", "move(0,1)", show=False),
        Binding("left,h", "move(-1,0)", show=False),
        Binding("right,l", "move(1,0)", show=False),
        Binding("pageup", "move_page(-1)", show=False),
        Binding("pagedown", "move_page(1)", show=False),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {f"map--{name}" for name in STYLE_NAMES}

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self.layout_now: MapLayout | None = None
        self.bytes_per_cell = 0  # 0: what suits the window
        self.at: tuple[int, int] | None = None  # chunk and unit offset of the cursor
        self.before: dict[int, Before] = {}
        self.last: dict[int, Before] = {}
        self.has_before = False
        self.first = first_areas(session.timeline)
        self.unknown: dict[int, dict[int, int]] = {}
        self.marked: tuple[int, int] | None = None
        self.hovered: Place | None = None
        self._strips: LRUCache[tuple[object, ...], Strip] = LRUCache(STRIPS_MAX)
        self._styles: dict[str, Style] = {}
        self._shape = (0, 0, 0)  # width, height and bytes of a cell for which lines were laid out
        self._parities: dict[int, tuple[int, ...]] = {}  # of the present

    # -- what is shown -----------------------------------------------------------------------------

    def show(self, keep_before: bool) -> None:
        """Take over the machine's present state. keep_before: mark what differs from the last stop."""
        machine = self.session.machine
        self._parities.clear()
        present = {chunk.number: Before.of(chunk) for chunk in chunks_in_order(machine)}
        self.has_before = keep_before and bool(self.last)
        self.before = self.last if self.has_before else {}
        self.last = present
        self.unknown = {
            chunk.number: bits
            for chunk in chunks_in_order(machine)
            if (bits := unknown_bits(self.session, chunk, self.first))
        }
        self.lay_out()

    def lay_out(self) -> None:
        """Work out the lines anew, for this window and this size of cell."""
        width = self.size.width
        if width <= GUTTER:
            return
        machine = self.session.machine
        cells = cells_that_fit(width - GUTTER)
        unit = machine.percpu.unit_size_bytes
        size = self.bytes_per_cell or self._suitable(cells)
        layout = lay_out(machine, min(size, widest_cell(unit, cells)), cells)
        self.layout_now = layout
        self.virtual_size = Size(width, layout.nr_lines)
        was_shape = self._shape
        self._shape = (width, self.size.height, layout.bytes_per_cell)
        is_lost = self.at is None or layout.band_of(self.at[0]) is None
        if is_lost:
            number = layout.bands[-1].number if self.at is None else layout.bands[0].number
            band = layout.band_of(0) or layout.bands[0]
            band = layout.band_of(number) or band
            self.at = (band.number, band.origin_bytes)
        self._mark()
        self.refresh()
        if (is_lost or self._shape != was_shape) and self._is_out_of_view():
            self.call_after_refresh(self._bring_into_view, True)
        self.post_message(MapLaidOut(layout))

    def _suitable(self, cells: int) -> int:
        unit = self.session.machine.percpu.unit_size_bytes
        height = self.size.height
        return cell_for_height(unit, cells, 1 if height < LOW_WINDOW else (height - 3) // 2)

    @property
    def place(self) -> Place | None:
        """The cell under the cursor."""
        layout = self.layout_now
        if layout is None or self.at is None:
            return None
        number, at = self.at
        start = at - at % layout.bytes_per_cell
        return Place(number, start, layout.bytes_per_cell)

    def _mark(self) -> None:
        place = self.place
        self.marked = object_span(self.session.machine, place) if place is not None else None

    # -- drawing -----------------------------------------------------------------------------------

    def notify_style_update(self) -> None:
        """Forget drawn lines when the look changes."""
        super().notify_style_update()
        self._styles.clear()
        self._strips.clear()

    def _style(self, name: str) -> Style:
        style = self._styles.get(name)
        if style is None:
            style = self._styles[name] = self.get_component_rich_style(
                f"map--{name}", partial=name in ("object", "changed")
            )
        return style

    def render_line(self, y: int) -> Strip:
        """Return a line of the map."""
        width = self.size.width
        line = y + self.scroll_offset.y
        layout = self.layout_now
        band = layout.band_at(line) if layout is not None else None
        chunk = self.session.machine.percpu.chunks.get(band.number) if band is not None else None
        if layout is None or band is None or chunk is None:
            return Strip.blank(width, self._style("outside"))
        start = layout.row_start(band, line)
        if start is None:
            text = band_title(self.session.machine, chunk)
            style = "new" if self.has_before and band.number not in self.before else "title"
            return self._kept(("title", text, style, width), [Segment(text, self._style(style))])
        codes = self._codes(layout, band, start)
        cursor = self._cursor_column(layout, line)
        gutter = self._gutter(band, start, layout)
        key = (codes, gutter, cursor, self.has_focus, width)
        strip = self._strips.get(key)
        return (
            strip if strip is not None else self._kept(key, self._segments(codes, gutter, cursor))
        )

    def _kept(self, key: tuple[object, ...], segments: list[Segment]) -> Strip:
        strip = self._strips.get(key)
        if strip is None:
            strip = Strip(segments).adjust_cell_length(self.size.width, self._style("outside"))
            self._strips.set(key, strip)
        return strip

    def _codes(self, layout: MapLayout, band: Band, start: int) -> bytes:
        machine = self.session.machine
        at = self.at
        lowest = band.number == layout.bands[0].number
        return row_codes(
            machine.percpu.chunks[band.number],
            band.origin_bytes,
            start,
            min(
                layout.cells_per_row, -(-(layout.unit_size_bytes - start) // layout.bytes_per_cell)
            ),
            layout.bytes_per_cell,
            static_bytes=machine.alloc_info.static_size_bytes if lowest else 0,
            before=self.before.get(band.number),
            unknown=self.unknown.get(band.number),
            marked=self.marked if at is not None and at[0] == band.number else None,
            parities=self._parities_of(band.number)
            if layout.bytes_per_cell < PAGE_SIZE_BYTES
            else (),
        )

    def _parities_of(self, number: int) -> tuple[int, ...]:
        parities = self._parities.get(number)
        if parities is None:
            chunk = self.session.machine.percpu.chunks[number]
            parities = self._parities[number] = area_parities(chunk)
        return parities

    def _gutter(self, band: Band, start: int, layout: MapLayout) -> str:
        if band.nr_headings:
            return f"{start:#x}".rjust(GUTTER - 1) + " "
        return {0: "first", -1: "reserved"}.get(band.number, f"chunk {band.number}").ljust(GUTTER)

    def _cursor_column(self, layout: MapLayout, line: int) -> int:
        if self.at is None:
            return -1
        cell = layout.cell_of(*self.at)
        return cell[1] if cell is not None and cell[0] == line else -1

    def _segments(self, codes: bytes, gutter: str, cursor: int) -> list[Segment]:
        segments = [Segment(gutter, self._style("gutter"))]
        for start, end, code in runs(codes):
            kind = Kind(code & KIND_BITS)
            style = self._style(KIND_STYLES[kind])
            if code & OBJECT:
                style += self._style("object")
            if code & CHANGED:
                style += self._style("changed")
            if start <= cursor < end:
                segments += self._around_cursor(
                    GLYPHS[kind], style, cursor - start, end - cursor - 1
                )
            else:
                segments.append(Segment(GLYPHS[kind] * (end - start), style))
        return segments

    def _around_cursor(
        self, glyph: str, style: Style, nr_left: int, nr_right: int
    ) -> list[Segment]:
        name = "cursor" if self.has_focus else "cursor-away"
        solid = " " if glyph == GLYPHS[Kind.AREA] else glyph
        segments = [
            Segment(glyph * nr_left, style),
            Segment(solid, self._style(name)),
            Segment(glyph * nr_right, style),
        ]
        return [segment for segment in segments if segment.text]

    # -- the cursor --------------------------------------------------------------------------------

    def go_to(self, number: int, at_bytes: int) -> None:
        """Put the cursor on a byte of unit space in a chunk's band and bring it into view."""
        self.at = (number, at_bytes)
        self._cursor_moved(centre=self._is_out_of_view())

    def _is_out_of_view(self) -> bool:
        layout = self.layout_now
        cell = layout.cell_of(*self.at) if layout is not None and self.at is not None else None
        top = self.scroll_offset.y
        return cell is not None and not top <= cell[0] < top + self.size.height

    def _bring_into_view(self, centre: bool) -> None:
        layout = self.layout_now
        if layout is None or self.at is None:
            return
        cell = layout.cell_of(*self.at)
        if cell is not None and centre:
            self.scroll_to(y=max(cell[0] - self.size.height // 2, 0), animate=False, force=True)
        elif cell is not None:
            # A band's heading stays in view with its first line.
            self.scroll_to_region(Region(0, max(cell[0] - 1, 0), 1, 2), animate=False, force=True)

    def _cursor_moved(self, centre: bool = False) -> None:
        self._bring_into_view(centre)
        self._mark()
        self.refresh()
        self.post_message(PlaceNamed(self.place, by_mouse=False))

    def action_move(self, columns: int, lines: int) -> None:
        """Move the cursor by cells or by lines; it passes over headings and stays on the map."""
        layout = self.layout_now
        cell = layout.cell_of(*self.at) if layout is not None and self.at is not None else None
        if layout is None or cell is None:
            return
        line, column = cell
        if columns:
            column += columns
            if not 0 <= column < layout.cells_per_row:
                line, lines = line + columns, columns
                column = 0 if columns > 0 else layout.cells_per_row - 1
        self._step_to(layout, line + (lines if not columns else 0), column, lines or columns)

    def _step_to(self, layout: MapLayout, line: int, column: int, way: int) -> None:
        way = 1 if way > 0 else -1
        while 0 <= line < layout.nr_lines:
            place = layout.place_at(line, column)
            if place is not None:
                self.at = (place.number, place.start_bytes)
                self._cursor_moved()
                return
            line += way

    def action_move_page(self, way: int) -> None:
        """Move the cursor by a window of lines."""
        layout = self.layout_now
        cell = layout.cell_of(*self.at) if layout is not None and self.at is not None else None
        if layout is None or cell is None:
            return
        line = min(max(cell[0] + way * max(self.size.height - 1, 1), 0), layout.nr_lines - 1)
        self._step_to(
            layout, line, cell[1], -1 if way > 0 and layout.place_at(line, cell[1]) is None else 1
        )

    def zoom(self, way: int) -> None:
        """Halve or double the bytes of a cell; 0: what suits the window. The cursor's byte stays."""
        layout = self.layout_now
        if layout is None:
            return
        unit = layout.unit_size_bytes
        widest = widest_cell(unit, layout.cells_per_row)
        now = layout.bytes_per_cell
        if way == 0:
            self.bytes_per_cell = 0
        elif way > 0:
            self.bytes_per_cell = max(now // 2, CELL_BYTES_MIN)
        else:
            self.bytes_per_cell = min(now * 2, widest)
        self.lay_out()
        self._cursor_moved(centre=True)

    # -- events ------------------------------------------------------------------------------------

    def on_resize(self) -> None:
        """Suit the new window."""
        self.lay_out()

    def _place_under(self, event: events.MouseEvent) -> Place | None:
        layout = self.layout_now
        if layout is None:
            return None
        return layout.place_at(event.y + self.scroll_offset.y, event.x - GUTTER)

    def on_click(self, event: events.Click) -> None:
        """Put the cursor under the mouse."""
        place = self._place_under(event)
        if place is not None:
            self.go_to(place.number, place.start_bytes)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Name what is under the mouse."""
        place = self._place_under(event)
        if place != self.hovered:
            self.hovered = place
            self.post_message(PlaceNamed(place, by_mouse=True))

    def on_leave(self) -> None:
        """Name what is under the cursor again."""
        if self.hovered is not None:
            self.hovered = None
            self.post_message(PlaceNamed(None, by_mouse=True))

    def on_focus(self) -> None:
        """Show the cursor as one that moves."""
        self.refresh()

    def on_blur(self) -> None:
        """Show the cursor as one that waits."""
        self.refresh()
