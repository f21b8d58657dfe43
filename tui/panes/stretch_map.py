"""The map of a per-CPU system that has no chunks of units: its own strips on the screen, and a cursor.

Lines are those of a StripLayout, read and laid out only as far as somebody looks; codes come from
views/stretch_map.py. What has the same ptr as the stretch under the cursor is bright on every CPU's strip.
"""

from __future__ import annotations

from typing import ClassVar

from textual.geometry import Size
from textual.strip import Strip as ScreenStrip

from kernel_sim.percpu.stretch import SHARED
from tui.debugger.addresses import parse_number
from tui.debugger.session import Session
from tui.debugger.strips import SLICE_STRETCHES, Strip, StripIndex, find_stretch
from tui.debugger.views.chunk_map import Place
from tui.debugger.views.stretch_map import (
    GLYPHS,
    STYLES,
    Cell,
    head_lines,
    line_codes,
    mark_changes,
    mark_object,
    row_codes,
)
from tui.debugger.views.stretch_object import describe_stretch, main_offset
from tui.debugger.views.strip_layout import (
    CELL_BYTES_MIN,
    Line,
    StripLayout,
    StripPlace,
    cells_that_fit,
    gutter_name_width,
    suitable_cell,
    widest_cell,
)
from tui.messages import MapLaidOut
from tui.panes.cell_map import LOW_WINDOW, CellMap, Looks
from tui.panes.sizes import short_size
from tui.search import find_in_strips

NAME_COLUMNS_MAX, NAME_COLUMNS_WIDE = 19, 26
WIDE_COLUMNS = 110
SIZE_COLUMNS = 7
HEAD_SHARE = 6  # of the window's lines, so that the figures leave room for the map
READ_EVERY_SECONDS = 0.05


class StretchMap(CellMap):
    """A row or more for every strip; the gutter has its name and size."""

    LOOKS: ClassVar[Looks] = Looks(GLYPHS, STYLES, GLYPHS[Cell.DYNAMIC])

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.layout_now: StripLayout | None = None
        self.index: StripIndex | None = None  # of the step it was made at
        self.index_step = -1
        self.at: tuple[str, int] | None = None  # strip and offset of the cursor
        self.marked_ptr = 0
        self.before: StripIndex | None = None
        self._codes: dict[int, bytes] = {}  # by line, without marks of the object
        self._shape = (0, 0, 0)
        self._known = (0, 0)  # bytes of a cell and lines, of the last layout that was complete

    def on_mount(self) -> None:
        """Read on in the background what is below the window, so that the scrollbar tells the truth."""
        self.set_interval(READ_EVERY_SECONDS, self._read_on)

    # -- what is shown -----------------------------------------------------------------------------

    def show(self, keep_before: bool) -> None:
        """Take over the machine's present state. keep_before: mark what differs from the last stop."""
        self.before = self.index if keep_before else None
        self.index = StripIndex.of(self.session.machine)
        self.index_step = self.session.machine.step
        self.lay_out()

    def lay_out(self) -> None:
        """Work out the lines anew, for this window and this size of cell."""
        width, index = self.size.width, self.index
        if index is None or width <= 2 * SIZE_COLUMNS or self.session.machine.bitmap is not None:
            return
        most = NAME_COLUMNS_WIDE if width >= WIDE_COLUMNS else NAME_COLUMNS_MAX
        index.read_some(SLICE_STRETCHES)
        self.gutter_columns = gutter_name_width(index, most) + SIZE_COLUMNS
        cells = cells_that_fit(width - self.gutter_columns)
        height = max(self.size.height - 3, 1)
        size = self.bytes_per_cell or suitable_cell(
            index, cells, 1 if self.size.height < LOW_WINDOW else height
        )
        head = head_lines(self.session.machine, width)
        head = head[: self.size.height // HEAD_SHARE] if self.size.height >= LOW_WINDOW else ()
        layout = StripLayout(index, min(size, widest_cell(index, cells)), cells, head)
        layout.lay_known()
        self.layout_now = layout
        self._codes.clear()
        was_shape = self._shape
        self._shape = (width, self.size.height, layout.bytes_per_cell)
        is_lost = self._find_cursor()
        self._measure()
        self.mark()
        self.refresh()
        if (is_lost or self._shape != was_shape) and self.is_out_of_view():
            self.call_after_refresh(self.bring_into_view, True)
        self.post_message(MapLaidOut(layout, self.gutter_columns))
        if not index.complete:
            self.call_after_refresh(self._read_on)

    def _find_cursor(self) -> bool:
        """Put the cursor on the first copy if its strip is gone; True if so. One not read yet may come."""
        index = self.index
        if index is None:
            return False
        strip = index.by_name.get(self.at[0]) if self.at is not None else None
        if self.at is not None and (strip is None and not index.complete):
            return False
        if strip is not None and self.at is not None and self.at[1] < strip.size_bytes:
            return False
        first = strip or next((each for each in index.strips if each.cpu != SHARED), None)
        first = first or (index.strips[0] if index.strips else None)
        self.at = (first.name, 0) if first is not None else None
        return True

    def _measure(self) -> None:
        """Tell the scrollbar how many lines there are, those not read yet guessed from the last stop."""
        layout = self.layout_now
        if layout is None:
            return
        nr_lines = len(layout.lines)
        if not layout.index.complete and layout.bytes_per_cell == self._known[0]:
            nr_lines = max(self._known[1], len(layout.lines))
        elif layout.index.complete:
            self._known = (layout.bytes_per_cell, len(layout.lines))
        self.virtual_size = Size(self.size.width, nr_lines)

    def _read_on(self) -> None:
        """Read a slice more of the moment that is shown, unless the machine has left it."""
        index, layout = self.index, self.layout_now
        if index is None or layout is None or index.complete or not self.is_present():
            return
        nr_before = len(layout.lines)
        index.read_some(SLICE_STRETCHES)
        layout.lay_known()
        is_lost = self._find_cursor()
        self._measure()
        top = self.scroll_offset.y
        if is_lost or nr_before <= top + self.size.height:
            self.mark()
            self.refresh()
        if top + self.size.height >= len(layout.lines):
            self.call_after_refresh(self._read_on)  # what the window shows does not wait

    def is_present(self) -> bool:
        """Say whether the machine still stands where its strips were begun to be read."""
        return self.session.machine.step == self.index_step and not self._is_moving()

    def _is_moving(self) -> bool:
        mover = getattr(self.app, "mover", None)
        return mover is not None and bool(mover.is_moving)

    def _reach_line(self, line: int) -> None:
        layout = self.layout_now
        if layout is not None and line >= len(layout.lines) and self.is_present():
            layout.reach_line(line)
            self._measure()

    @property
    def place(self) -> StripPlace | None:
        """The cell under the cursor."""
        layout = self.layout_now
        strip = layout.index.by_name.get(self.at[0]) if layout is not None and self.at else None
        if layout is None or strip is None or self.at is None:
            return None
        start = self.at[1] - self.at[1] % layout.bytes_per_cell
        size = min(layout.bytes_per_cell, strip.size_bytes - start)
        return StripPlace(strip.name, start, size)

    def strip_of(self, place: StripPlace) -> Strip | None:
        """Return the strip of a place, None if it is gone."""
        return self.index.by_name.get(place.strip) if self.index is not None else None

    def mark(self) -> None:
        """Find the ptr of what is under the cursor."""
        place = self.place
        strip = self.strip_of(place) if place is not None else None
        self.marked_ptr = 0
        if place is not None and strip is not None and self.at is not None:
            self.marked_ptr = strip.stretch_at(self.at[1]).ptr

    def describe(self, place: Place | StripPlace) -> str:
        """Return one line that says what a cell stands for."""
        strip = self.strip_of(place) if isinstance(place, StripPlace) else None
        if strip is None or not isinstance(place, StripPlace):
            return ""
        at = self.at[1] if self.at is not None and place == self.place else None
        return describe_stretch(self.session, strip, place, at)

    def address(self) -> int | None:
        """Return the address of the byte under the cursor."""
        strip = self.index.by_name.get(self.at[0]) if self.index is not None and self.at else None
        return strip.addr + self.at[1] if strip is not None and self.at is not None else None

    # -- drawing -----------------------------------------------------------------------------------

    def draw(self, line: int) -> ScreenStrip:
        """Return a line of the map; one that is not read yet comes a moment later."""
        layout = self.layout_now
        if layout is None or not 0 <= line < len(layout.lines):
            return self.blank()
        shown = layout.lines[line]
        if not shown.pieces:
            if 0 < line < len(layout.head):
                return self.text_line(shown.text, "gutter")
            is_new = line >= len(layout.head) and self._is_new(line + 1)
            return self.text_line(shown.text, "new" if is_new else "title")
        return self.cell_line(self._marked(line), self._gutter(shown), self.cursor_column(line))

    def _marked(self, line: int) -> bytes:
        layout = self.layout_now
        if layout is None:
            return b""
        codes = self._codes.get(line)
        if codes is None:
            codes = self._codes[line] = bytes(self._compared(layout, line))
        if not self.marked_ptr:
            return codes
        marked = bytearray(codes)
        for piece in layout.lines[line].pieces:
            strip = layout.index.strips[piece.strip]
            part = marked[piece.column : piece.column + piece.nr_cells]
            mark_object(part, strip, piece.start_bytes, layout.bytes_per_cell, self.marked_ptr)
            marked[piece.column : piece.column + piece.nr_cells] = part
        return bytes(marked)

    def _compared(self, layout: StripLayout, line: int) -> bytearray:
        """Return the codes of a line, marked where they are not as at the last stop."""
        codes = line_codes(layout, line)
        if self.before is None:
            return codes
        for piece in layout.lines[line].pieces:
            strip = layout.index.strips[piece.strip]
            was = self.before.by_name.get(strip.name)
            part = codes[piece.column : piece.column + piece.nr_cells]
            if was is not None:
                old = row_codes(was, piece.start_bytes, piece.nr_cells, layout.bytes_per_cell)
                mark_changes(part, old)
            elif self.before.complete:
                mark_changes(part, bytes(len(part)))
            codes[piece.column : piece.column + piece.nr_cells] = part
        return codes

    def _is_new(self, line: int) -> bool:
        """Say whether the strip that begins in a line was not there at the last stop."""
        layout, before = self.layout_now, self.before
        if layout is None or before is None or not before.complete or line >= len(layout.lines):
            return False
        pieces = layout.lines[line].pieces
        return bool(pieces) and layout.index.strips[pieces[0].strip].name not in before.by_name

    def _gutter(self, line: Line) -> str:
        """Return name and size, or of a further row its offset."""
        width = self.gutter_columns - SIZE_COLUMNS
        piece = line.pieces[0]
        if line.size_bytes < 0:
            return f"+{piece.start_bytes:#x} ".rjust(self.gutter_columns)
        name = line.text
        if len(name) > width:  # addresses differ at their ends
            name = f"{name[: width // 2]}…{name[width // 2 + 1 - width :]}"
        return f"{name:<{width}} {short_size(line.size_bytes):>{SIZE_COLUMNS - 2}} "

    # -- the cursor --------------------------------------------------------------------------------

    def place_at(self, line: int, column: int) -> StripPlace | None:
        """Return the cell at a line and column, None for a heading or beside the strips."""
        self._reach_line(line)
        return self.layout_now.place_at(line, column) if self.layout_now is not None else None

    def put_cursor(self, place: Place | StripPlace) -> None:
        """Let the cursor stand on a cell."""
        strip = self.strip_of(place) if isinstance(place, StripPlace) else None
        if strip is not None and isinstance(place, StripPlace):
            self.at = (place.strip, main_offset(strip, place))

    def cursor_cell(self) -> tuple[int, int] | None:
        """Return (line, column) of the cursor."""
        layout = self.layout_now
        return layout.cell_of(*self.at) if layout is not None and self.at is not None else None

    def nr_lines(self) -> int:
        """Return how many lines are laid out."""
        return len(self.layout_now.lines) if self.layout_now is not None else 0

    def go_to_address(self, addr: int, note: str = "") -> bool:
        """Put the cursor on an address; False if it is none of the system's."""
        layout = self.layout_now
        stretch = find_stretch(self.session.machine, addr)
        if layout is None or stretch is None or not self.is_present():
            return False
        strip = layout.reach_strip(stretch.strip)
        if strip is None:
            return False
        self.at = (strip.name, addr - strip.addr)
        self._measure()
        self.cursor_moved(centre=self.is_out_of_view(), note=note)
        return True

    def selection(self) -> str:
        """Return the address under the cursor, as a pasted place has it."""
        addr = self.address()
        return f"addr:{addr:#x}" if addr is not None else ""

    def select(self, text: str) -> None:
        """Put the cursor on the address that a pasted place names."""
        kind, _, rest = text.partition(":")
        addr = parse_number(rest)
        if kind == "addr" and addr is not None:
            self.go_to_address(addr)

    def find(self, text: str) -> None:
        """Put the cursor on what a search finds. Raises CommandError."""
        addr, what = find_in_strips(self.session, text, self.marked_ptr)
        self.go_to_address(addr, what)

    def action_move(self, columns: int, lines: int) -> None:
        """Move the cursor by cells or by lines, over headings and gaps."""
        layout, cell = self.layout_now, self.cursor_cell()
        if layout is None or cell is None:
            return
        line, column = cell
        at = column + columns
        while columns and 0 <= at < layout.cells_per_row:
            place = self.place_at(line, at)
            if place is not None:
                self.put_cursor(place)
                self.cursor_moved()
                return
            at += columns
        edge = 0 if columns > 0 else layout.cells_per_row
        self._to_line(line + (lines or columns), edge if columns else column, lines or columns)

    def action_move_page(self, way: int) -> None:
        """Move the cursor by a window of lines."""
        cell = self.cursor_cell()
        if cell is None:
            return
        line = max(cell[0] + way * max(self.size.height - 1, 1), 0)
        self._reach_line(line)
        line = min(line, self.nr_lines() - 1)
        if not self._to_line(line, cell[1], way):
            self._to_line(line, cell[1], -way)

    def _to_line(self, line: int, column: int, way: int) -> bool:
        """Put the cursor into a line, or the next with cells; False if there is none."""
        layout = self.layout_now
        while layout is not None and line >= 0:
            self._reach_line(line)
            if line >= len(layout.lines):
                return False
            near = layout.nearest_column(line, column)
            place = layout.place_at(line, near) if near is not None else None
            if place is not None:
                self.put_cursor(place)
                self.cursor_moved()
                return True
            line += 1 if way > 0 else -1
        return False

    def zoom(self, way: int) -> None:
        """Halve or double the bytes of a cell; 0: what suits the window. The cursor's byte stays."""
        layout = self.layout_now
        if layout is None:
            return
        now = layout.bytes_per_cell
        if way == 0:
            self.bytes_per_cell = 0
        elif way > 0:
            self.bytes_per_cell = max(now // 2, CELL_BYTES_MIN)
        else:
            self.bytes_per_cell = min(now * 2, widest_cell(layout.index, layout.cells_per_row))
        self.lay_out()
        self.cursor_moved(centre=True)
