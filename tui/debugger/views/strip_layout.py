"""Which line of the stretch map shows what; it grows as strips are read, a line is never laid out again.

line 0    title of the system         TEXT
line 2    block 0   0xf8801000        TEXT: heading of a group
line 3    cpu 0   8K █▓░░             pieces: one strip from offset 0
line 4            +8K ░░              its next row
line 5    area …     ≡≡ █ █ █ █       pieces of several small strips, a blank between them
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from tui.debugger.strips import Strip, StripIndex

CELL_BYTES_MIN = 4
CELLS_STEP = 8  # rows are a multiple of it, so that they begin at round offsets
SAMPLE_STRIPS = 64  # from so many is judged what suits the window
SMALL_SHARE = 10  # a strip of up to a row's tenth stands beside its like
GAP = 1  # cell between strips that share a row


class Piece(NamedTuple):
    """A run of cells in a row: strip by number, first column, cells, offset in the strip."""

    strip: int
    column: int
    nr_cells: int
    start_bytes: int


class Line(NamedTuple):
    """A line of the map: text (a heading or the gutter), and cells."""

    text: str
    pieces: tuple[Piece, ...]
    size_bytes: int = -1  # of the strip, in the gutter of its first row


class StripPlace(NamedTuple):
    """A cell of the map: a strip by name and [start, start + size) of it."""

    strip: str
    start_bytes: int
    size_bytes: int


@dataclass(slots=True)
class StripLayout:
    """The lines so far; head: texts above all strips."""

    index: StripIndex
    bytes_per_cell: int
    cells_per_row: int
    head: tuple[str, ...] = ()
    lines: list[Line] = field(default_factory=list)
    first_line: list[int] = field(default_factory=list)  # by strip: line of its first cells
    first_column: list[int] = field(default_factory=list)
    _group: str = ""
    _used: int = 0  # cells of the last line, while small strips of _group stand in it

    def __post_init__(self) -> None:
        self.lines += [Line(text, ()) for text in self.head]

    @property
    def row_bytes(self) -> int:
        """Bytes in a full row."""
        return self.bytes_per_cell * self.cells_per_row

    def lay_known(self) -> None:
        """Lay out the strips that the index has read since the last time."""
        for number in range(len(self.first_line), len(self.index.strips)):
            self._lay(self.index.strips[number])

    def reach_line(self, line: int) -> None:
        """Read and lay out strips up to a line, or all."""
        while line >= len(self.lines) and not self.index.complete:
            self.index.read_some()
            self.lay_known()

    def reach_strip(self, name: str) -> Strip | None:
        """Read and lay out strips up to one of that name; None if there is none."""
        while name not in self.index.by_name and not self.index.complete:
            self.index.read_some()
        self.lay_known()
        return self.index.by_name.get(name)

    def place_at(self, line: int, column: int) -> StripPlace | None:
        """Return the cell at a line and column of cells, None beside the strips."""
        if not 0 <= line < len(self.lines):
            return None
        for piece in self.lines[line].pieces:
            if piece.column <= column < piece.column + piece.nr_cells:
                strip = self.index.strips[piece.strip]
                start = piece.start_bytes + (column - piece.column) * self.bytes_per_cell
                size = min(self.bytes_per_cell, strip.size_bytes - start)
                return StripPlace(strip.name, start, size)
        return None

    def nearest_column(self, line: int, column: int) -> int | None:
        """Return the column nearest to one that has a cell in a line, None for a line of text."""
        pieces = self.lines[line].pieces if 0 <= line < len(self.lines) else ()
        ends = [
            min(max(column, piece.column), piece.column + piece.nr_cells - 1) for piece in pieces
        ]
        return min(ends, key=lambda at: abs(at - column), default=None)

    def cell_of(self, name: str, at_bytes: int) -> tuple[int, int] | None:
        """Return (line, column) of a byte of a strip that is laid out, None for any other."""
        strip = self.index.by_name.get(name)
        if strip is None or strip.number >= len(self.first_line):
            return None
        if not 0 <= at_bytes < strip.size_bytes:
            return None
        row, inside = divmod(at_bytes // self.bytes_per_cell, self.cells_per_row)
        column = self.first_column[strip.number] if not row else 0
        return self.first_line[strip.number] + row, column + inside

    def _lay(self, strip: Strip) -> None:
        nr_cells = max(-(-strip.size_bytes // self.bytes_per_cell), 1)
        is_small = bool(strip.group) and nr_cells * SMALL_SHARE <= self.cells_per_row
        if is_small and strip.group == self._group and self._used:
            if self._used + GAP + nr_cells <= self.cells_per_row:
                self._add_beside(strip, nr_cells)
            else:
                self._add_small("", strip, nr_cells)
            return
        if is_small:
            self._add_small(strip.group, strip, nr_cells)
        else:
            if strip.group != self._group and strip.short_name != strip.name:
                self.lines.append(Line(f"{strip.group}  {strip.addr:#x}", ()))
            self._used = 0
            self._add_rows(strip, nr_cells)
        self._group = strip.group

    def _add_beside(self, strip: Strip, nr_cells: int) -> None:
        last = self.lines[-1]
        column = self._used + GAP
        self.lines[-1] = last._replace(
            pieces=(*last.pieces, Piece(strip.number, column, nr_cells, 0)),
            size_bytes=last.size_bytes + strip.size_bytes,
        )
        self._begins(len(self.lines) - 1, column)
        self._used = column + nr_cells

    def _add_small(self, text: str, strip: Strip, nr_cells: int) -> None:
        self._begins(len(self.lines), 0)
        self.lines.append(Line(text, (Piece(strip.number, 0, nr_cells, 0),), strip.size_bytes))
        self._used = nr_cells

    def _add_rows(self, strip: Strip, nr_cells: int) -> None:
        self._begins(len(self.lines), 0)
        for first in range(0, nr_cells, self.cells_per_row):
            length = min(self.cells_per_row, nr_cells - first)
            piece = Piece(strip.number, 0, length, first * self.bytes_per_cell)
            name = strip.short_name if not first else ""
            self.lines.append(Line(name, (piece,), -1 if first else strip.size_bytes))

    def _begins(self, line: int, column: int) -> None:
        self.first_line.append(line)
        self.first_column.append(column)


def cells_that_fit(width: int) -> int:
    """Return how many cells a row gets."""
    return max(width // CELLS_STEP, 1) * CELLS_STEP


def gutter_name_width(index: StripIndex, most: int) -> int:
    """Return how wide names are, judged from the first strips."""
    index.read_strips(SAMPLE_STRIPS)
    names = [max(strip.short_name, strip.group, key=len) for strip in index.strips[:SAMPLE_STRIPS]]
    return min(max(map(len, names), default=0), most)


def suitable_cell(index: StripIndex, cells_per_row: int, nr_rows: int) -> int:
    """Return the size of a cell with which CPUs' strips fit into a row each; smaller, where rows are left."""
    index.read_strips(SAMPLE_STRIPS)
    sample = index.strips[:SAMPLE_STRIPS]
    sizes = [strip.size_bytes for strip in sample if strip.cpu >= 0 or strip.group] or [1]
    size = CELL_BYTES_MIN
    while size * cells_per_row < max(sizes):
        size *= 2
    while index.complete and size > CELL_BYTES_MIN:
        nr_finer = sum(-(-each.size_bytes // (size // 2 * cells_per_row)) for each in index.strips)
        if nr_finer > nr_rows:
            break
        size //= 2
    return size


def widest_cell(index: StripIndex, cells_per_row: int) -> int:
    """Return the size of a cell with which the longest strip that is known fits into a row."""
    longest = max((strip.size_bytes for strip in index.strips), default=1)
    size = CELL_BYTES_MIN
    while size * cells_per_row < longest:
        size *= 2
    return size
