"""A map of memory as cells on lines: what all maps share. Drawing, a cursor, the mouse.

    gutter    cells, a code each           a line is drawn once for equal codes, and kept
    0x40000   ████▆▁░░░·········
    cpu 0     ═════█▓▒▒▒▒▒▒               whoever has a layout says which line shows what

A subclass says where a cell lies (place_at), where the cursor's cell is (cursor_cell), and what a line holds
(draw). Lines are drawn, never cells: equal codes are one Segment.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, NamedTuple, Protocol

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.cache import LRUCache
from textual.geometry import Region
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.debugger.session import Session
from tui.debugger.views.chunk_map import CHANGED, KIND_BITS, OBJECT, Place, runs
from tui.debugger.views.strip_layout import StripPlace
from tui.messages import PlaceNamed

STRIPS_MAX = 512
LOW_WINDOW = 10  # lines; a lower window shows each chunk or copy in one line
STYLE_NAMES = (
    "outside", "static", "hidden", "unpopulated", "empty", "free", "reserved", "partly", "area",
    "area-odd", "unknown", "unbacked", "module", "module-odd", "table", "metadata",
    "changed", "object", "cursor", "cursor-away", "gutter", "title", "new",
)  # fmt: skip


class Looks(NamedTuple):
    """How codes are drawn: by kind a glyph and the name of a style; solid: the glyph that fills a cell."""

    glyphs: Mapping[int, str]
    styles: Mapping[int, str]
    solid: str


class CellRows(Protocol):
    """What the axis above a map needs to know of its layout."""

    @property
    def bytes_per_cell(self) -> int:
        """Bytes in a cell."""
        ...

    @property
    def cells_per_row(self) -> int:
        """Cells in a full row."""
        ...


class CellMap(ScrollView, can_focus=True, inherit_bindings=False):
    """The map proper; its columns begin with a gutter."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(0,-1)", show=False),
        Binding("down,j", "move(0,1)", show=False),
        Binding("left,h", "move(-1,0)", show=False),
        Binding("right,l", "move(1,0)", show=False),
        Binding("pageup", "move_page(-1)", show=False),
        Binding("pagedown", "move_page(1)", show=False),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {f"map--{name}" for name in STYLE_NAMES}
    LOOKS: ClassVar[Looks]

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self.gutter_columns = 0
        self.bytes_per_cell = 0  # 0: what suits the window
        self.hovered: Place | StripPlace | None = None
        self._strips: LRUCache[tuple[object, ...], Strip] = LRUCache(STRIPS_MAX)
        self._styles: dict[str, Style] = {}

    # -- what a subclass says ----------------------------------------------------------------------

    def show(self, keep_before: bool) -> None:
        """Take over the machine's present state. keep_before: mark what differs from the last stop."""
        raise NotImplementedError

    def lay_out(self) -> None:
        """Work out the lines anew, for this window and this size of cell."""
        raise NotImplementedError

    def zoom(self, way: int) -> None:
        """Halve or double the bytes of a cell; 0: what suits the window. The cursor's byte stays."""
        raise NotImplementedError

    def draw(self, line: int) -> Strip:
        """Return a line of the map."""
        raise NotImplementedError

    def place_at(self, line: int, column: int) -> Place | StripPlace | None:
        """Return the cell at a line and column of cells, None beside the map."""
        raise NotImplementedError

    def put_cursor(self, place: Place | StripPlace) -> None:
        """Let the cursor stand on a cell that place_at() gave."""
        raise NotImplementedError

    def cursor_cell(self) -> tuple[int, int] | None:
        """Return (line, column) of the cursor's cell, None if it is not laid out."""
        raise NotImplementedError

    def nr_lines(self) -> int:
        """Return how many lines are laid out."""
        raise NotImplementedError

    def mark(self) -> None:
        """Find out what belongs to the object under the cursor."""
        raise NotImplementedError

    @property
    def place(self) -> Place | StripPlace | None:
        """The cell under the cursor."""
        raise NotImplementedError

    def describe(self, place: Place | StripPlace) -> str:
        """Return one line that says what a cell stands for."""
        raise NotImplementedError

    def selection(self) -> str:
        """Return where the cursor stands, as a pasted place has it."""
        raise NotImplementedError

    def select(self, text: str) -> None:
        """Put the cursor where a pasted place says, if that is on the map."""
        raise NotImplementedError

    def find(self, text: str) -> None:
        """Put the cursor on what a search finds. Raises CommandError."""
        raise NotImplementedError

    # -- drawing -----------------------------------------------------------------------------------

    def notify_style_update(self) -> None:
        """Forget drawn lines when the look changes."""
        super().notify_style_update()
        self._styles.clear()
        self._strips.clear()

    def style_named(self, name: str) -> Style:
        """Return a style of the map by its name."""
        style = self._styles.get(name)
        if style is None:
            style = self._styles[name] = self.get_component_rich_style(
                f"map--{name}", partial=name in ("object", "changed")
            )
        return style

    def render_line(self, y: int) -> Strip:
        """Return a line of the map."""
        return self.draw(y + self.scroll_offset.y)

    def blank(self) -> Strip:
        """Return a line beyond the map."""
        return Strip.blank(self.size.width, self.style_named("outside"))

    def text_line(self, text: str, style: str) -> Strip:
        """Return a line of text; one that is too long ends in …"""
        width = min(self.size.width, self.scrollable_content_region.width)
        text = text if len(text) <= width else f"{text[: width - 1]}…"
        return self.kept(("text", text, style, width), [Segment(text, self.style_named(style))])

    def cell_line(self, codes: bytes, gutter: str, cursor: int) -> Strip:
        """Return a line of cells; cursor is a column, -1 if it is on another line."""
        key = (codes, gutter, cursor, self.has_focus, self.size.width)
        strip = self._strips.get(key)
        return strip if strip is not None else self.kept(key, self._segments(codes, gutter, cursor))

    def kept(self, key: tuple[object, ...], segments: list[Segment]) -> Strip:
        """Return segments as a line of the map's width, the same one for the same key."""
        strip = self._strips.get(key)
        if strip is None:
            strip = Strip(segments).adjust_cell_length(self.size.width, self.style_named("outside"))
            self._strips.set(key, strip)
        return strip

    def cursor_column(self, line: int) -> int:
        """Return the column of the cursor in a line, -1 if it is on another."""
        cell = self.cursor_cell()
        return cell[1] if cell is not None and cell[0] == line else -1

    def _segments(self, codes: bytes, gutter: str, cursor: int) -> list[Segment]:
        segments = [Segment(gutter, self.style_named("gutter"))]
        for start, end, code in runs(codes):
            kind = code & KIND_BITS
            glyph = self.LOOKS.glyphs[kind]
            style = self.style_named(self.LOOKS.styles[kind])
            if code & OBJECT:
                style += self.style_named("object")
            if code & CHANGED:
                style += self.style_named("changed")
            if start <= cursor < end:
                segments += self._around_cursor(glyph, style, cursor - start, end - cursor - 1)
            else:
                segments.append(Segment(glyph * (end - start), style))
        return segments

    def _around_cursor(
        self, glyph: str, style: Style, nr_left: int, nr_right: int
    ) -> list[Segment]:
        name = "cursor" if self.has_focus else "cursor-away"
        solid = " " if glyph == self.LOOKS.solid else glyph
        segments = [
            Segment(glyph * nr_left, style),
            Segment(solid, self.style_named(name)),
            Segment(glyph * nr_right, style),
        ]
        return [segment for segment in segments if segment.text]

    # -- the cursor --------------------------------------------------------------------------------

    def is_out_of_view(self) -> bool:
        """Say whether the cursor's line is laid out and not in the window."""
        cell = self.cursor_cell()
        top = self.scroll_offset.y
        return cell is not None and not top <= cell[0] < top + self.size.height

    def bring_into_view(self, centre: bool) -> None:
        """Scroll to the cursor."""
        cell = self.cursor_cell()
        if cell is not None and centre:
            self.scroll_to(y=max(cell[0] - self.size.height // 2, 0), animate=False, force=True)
        elif cell is not None:
            # A heading stays in view with its first line.
            self.scroll_to_region(Region(0, max(cell[0] - 1, 0), 1, 2), animate=False, force=True)

    def cursor_moved(self, centre: bool = False, note: str = "") -> None:
        """Show the cursor where it is now, and tell; note: what else is to be said of it."""
        self.bring_into_view(centre)
        self.mark()
        self.refresh()
        self.post_message(PlaceNamed(self.place, by_mouse=False, note=note))

    def step_to(self, line: int, column: int, way: int) -> None:
        """Put the cursor on a cell, on the next line that has one there if this has none."""
        way = 1 if way > 0 else -1
        while 0 <= line < self.nr_lines():
            place = self.place_at(line, column)
            if place is not None:
                self.put_cursor(place)
                self.cursor_moved()
                return
            line += way

    # -- events ------------------------------------------------------------------------------------

    def on_resize(self) -> None:
        """Suit the new window."""
        self.lay_out()

    def _place_under(self, event: events.MouseEvent) -> Place | StripPlace | None:
        return self.place_at(event.y + self.scroll_offset.y, event.x - self.gutter_columns)

    def on_click(self, event: events.Click) -> None:
        """Put the cursor under the mouse."""
        place = self._place_under(event)
        if place is not None:
            self.put_cursor(place)
            self.cursor_moved(centre=self.is_out_of_view())

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
