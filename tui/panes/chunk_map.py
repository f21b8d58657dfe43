"""The chunk map on the screen: the unit space of the bitmap allocator's chunks, and a cursor in it.

Lines are those of a MapLayout, codes come from views/chunk_map.py; drawing and cursor are cell_map.py's.
"""

from __future__ import annotations

from typing import ClassVar

from textual.geometry import Size
from textual.strip import Strip

from kernel_sim.mm.page import PAGE_SIZE_BYTES
from tui.debugger.addresses import parse_number
from tui.debugger.births import first_areas
from tui.debugger.session import Session
from tui.debugger.views.chunk_map import (
    CELL_BYTES_MIN,
    GLYPHS,
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
    widest_cell,
)
from tui.debugger.views.map_object import band_title, describe, object_span, unknown_bits
from tui.debugger.views.strip_layout import StripPlace
from tui.messages import MapLaidOut
from tui.panes.cell_map import LOW_WINDOW, CellMap, Looks
from tui.search import find_in_map

GUTTER = 9
KIND_STYLES: dict[int, str] = {
    Kind.OUTSIDE: "outside", Kind.STATIC: "static", Kind.HIDDEN: "hidden",
    Kind.UNPOPULATED: "unpopulated", Kind.EMPTY: "empty", Kind.FREE: "free",
    Kind.RESERVED: "reserved", Kind.LOW: "partly", Kind.MIDDLE: "partly", Kind.HIGH: "partly",
    Kind.AREA: "area", Kind.AREA_ODD: "area-odd", Kind.UNKNOWN: "unknown", Kind.UNBACKED: "unbacked",
}  # fmt: skip


class ChunkMap(CellMap):
    """A band of lines for every chunk; the gutter has offsets."""

    LOOKS: ClassVar[Looks] = Looks(GLYPHS, KIND_STYLES, GLYPHS[Kind.AREA])

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.gutter_columns = GUTTER
        self.layout_now: MapLayout | None = None
        self.at: tuple[int, int] | None = None  # chunk and unit offset of the cursor
        self.before: dict[int, Before] = {}
        self.last: dict[int, Before] = {}
        self.has_before = False
        self.first = first_areas(session.timeline)
        self.unknown: dict[int, dict[int, int]] = {}
        self.marked: tuple[int, int] | None = None
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
        if width <= GUTTER or self.session.machine.bitmap is None:
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
        self.mark()
        self.refresh()
        if (is_lost or self._shape != was_shape) and self.is_out_of_view():
            self.call_after_refresh(self.bring_into_view, True)
        self.post_message(MapLaidOut(layout, GUTTER))

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

    def mark(self) -> None:
        """Find the area under the cursor."""
        place = self.place
        self.marked = object_span(self.session.machine, place) if place is not None else None

    def describe(self, place: Place | StripPlace) -> str:
        """Return one line that says what a cell stands for."""
        return describe(self.session, place) if isinstance(place, Place) else ""

    # -- drawing -----------------------------------------------------------------------------------

    def draw(self, line: int) -> Strip:
        """Return a line of the map."""
        layout = self.layout_now
        band = layout.band_at(line) if layout is not None else None
        percpu = self.session.machine.bitmap
        chunk = percpu.chunks.get(band.number) if band is not None and percpu is not None else None
        if layout is None or band is None or chunk is None:
            return self.blank()
        start = layout.row_start(band, line)
        if start is None:
            is_new = self.has_before and band.number not in self.before
            return self.text_line(
                band_title(self.session.machine, chunk), "new" if is_new else "title"
            )
        codes = self._codes(layout, band, start)
        return self.cell_line(codes, self._gutter(band, start), self.cursor_column(line))

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

    def _gutter(self, band: Band, start: int) -> str:
        if band.nr_headings:
            return f"{start:#x}".rjust(GUTTER - 1) + " "
        return {0: "first", -1: "reserved"}.get(band.number, f"chunk {band.number}").ljust(GUTTER)

    # -- the cursor --------------------------------------------------------------------------------

    def place_at(self, line: int, column: int) -> Place | None:
        """Return the cell at a line and column, None for a heading or beside the map."""
        return self.layout_now.place_at(line, column) if self.layout_now is not None else None

    def put_cursor(self, place: Place | StripPlace) -> None:
        """Let the cursor stand on a cell."""
        if isinstance(place, Place):
            self.at = (place.number, place.start_bytes)

    def cursor_cell(self) -> tuple[int, int] | None:
        """Return (line, column) of the cursor."""
        layout = self.layout_now
        return layout.cell_of(*self.at) if layout is not None and self.at is not None else None

    def nr_lines(self) -> int:
        """Return how many lines there are."""
        return self.layout_now.nr_lines if self.layout_now is not None else 0

    def go_to(self, number: int, at_bytes: int, note: str = "") -> None:
        """Put the cursor on a byte of unit space in a chunk's band and bring it into view."""
        self.at = (number, at_bytes)
        self.cursor_moved(centre=self.is_out_of_view(), note=note)

    def go_to_chunk(self, number: int, offset_bytes: int) -> None:
        """Put the cursor on an offset of a chunk, if there is such a chunk."""
        band = self.layout_now.band_of(number) if self.layout_now is not None else None
        if band is not None:
            self.go_to(number, band.origin_bytes + offset_bytes)

    def selection(self) -> str:
        """Return the cell under the cursor, as a pasted place has it."""
        place = self.place
        return f"chunk:{place.number}:{place.start_bytes:#x}" if place is not None else ""

    def select(self, text: str) -> None:
        """Put the cursor where a pasted place says, if there is such a chunk."""
        kind, _, rest = text.partition(":")
        number, _, offset = rest.partition(":")
        chunk, at_bytes = parse_number(number), parse_number(offset)
        if kind != "chunk" or chunk is None or at_bytes is None or self.layout_now is None:
            return
        if self.layout_now.cell_of(chunk, at_bytes) is not None:
            self.go_to(chunk, at_bytes)

    def find(self, text: str) -> None:
        """Put the cursor on what a search finds. Raises CommandError."""
        number, at_bytes, what = find_in_map(self.session, text, self.at)
        self.go_to(number, at_bytes, what)

    def action_move(self, columns: int, lines: int) -> None:
        """Move the cursor by cells or by lines; it passes over headings and stays on the map."""
        layout, cell = self.layout_now, self.cursor_cell()
        if layout is None or cell is None:
            return
        line, column = cell
        if columns:
            column += columns
            if not 0 <= column < layout.cells_per_row:
                line, lines = line + columns, columns
                column = 0 if columns > 0 else layout.cells_per_row - 1
        self.step_to(line + (lines if not columns else 0), column, lines or columns)

    def action_move_page(self, way: int) -> None:
        """Move the cursor by a window of lines."""
        layout, cell = self.layout_now, self.cursor_cell()
        if layout is None or cell is None:
            return
        line = min(max(cell[0] + way * max(self.size.height - 1, 1), 0), layout.nr_lines - 1)
        self.step_to(line, cell[1], -1 if way > 0 and layout.place_at(line, cell[1]) is None else 1)

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
        self.cursor_moved(centre=True)
