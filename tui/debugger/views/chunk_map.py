"""The chunk map: where every byte of every chunk's unit space stands, as codes of one character cell each.

    x: unit space ──────────────────────────────►        a cell is bytes_per_cell bytes, from 4 to a
    reserved  ═════════════▒▒                            share of the unit; when a unit is wider than
    first                    █▆▃▁                        a line it goes on in the next one
    chunk 1   ██▆▃░░····················
    chunk 2   ▃░··                          ═ static  ▒ kept for modules  █▆▃ in use  ▁ free in a used page
                                            ░ backed and wholly free  · no page yet

Every chunk is one *band* of lines. A code is a kind with flags above it, so that a line of the map is a
`bytes` and two equal lines need drawing once. Nothing here knows a screen: codes are worked out from the
block integers, for the lines that are asked for and no others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from kernel_sim.alignment import align_down, align_up
from kernel_sim.machine import Machine
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.percpu.chunk import RESERVED, Chunk
from kernel_sim.percpu.md_block import BLOCK_BITS, MIN_ALLOC_BYTES

CELL_BYTES_MIN = MIN_ALLOC_BYTES


class Kind(IntEnum):
    """What a cell is mostly about; the low bits of a code."""

    OUTSIDE = 0  # unit space that belongs to nobody here
    STATIC = 1
    HIDDEN = 2  # ends of a boot chunk's pages that count as taken
    UNPOPULATED = 3
    EMPTY = 4  # backed pages that hold no area
    FREE = 5  # free space in a page that holds areas
    RESERVED = 6  # free space of the reserved chunk
    LOW = 7  # partly in use: up to a third
    MIDDLE = 8
    HIGH = 9
    AREA = 10
    AREA_ODD = 11  # the other shade, for the neighbour
    UNKNOWN = 12  # in use, by something older than the record
    UNBACKED = 13  # taken, but its page is not there yet


KIND_BITS = 0x1F
CHANGED = 0x20  # is not as it was at the last stop
OBJECT = 0x40  # belongs to the object under the cursor

GLYPHS: dict[int, str] = {
    Kind.OUTSIDE: " ",
    Kind.STATIC: "═",
    Kind.HIDDEN: "╳",
    Kind.UNPOPULATED: "·",
    Kind.EMPTY: "░",
    Kind.FREE: "▁",
    Kind.RESERVED: "▒",
    Kind.LOW: "▂",
    Kind.MIDDLE: "▄",
    Kind.HIGH: "▆",
    Kind.AREA: "█",
    Kind.AREA_ODD: "▓",
    Kind.UNKNOWN: "?",
    Kind.UNBACKED: "!",
}
LEGEND: tuple[tuple[tuple[int, ...], str], ...] = (
    ((Kind.AREA, Kind.AREA_ODD), "allocated"),
    ((Kind.LOW, Kind.MIDDLE, Kind.HIGH), "partly"),
    ((Kind.FREE,), "free"),
    ((Kind.EMPTY,), "empty"),
    ((Kind.UNPOPULATED,), "no page"),
    ((Kind.RESERVED,), "reserved"),
    ((Kind.STATIC,), "static"),
    ((Kind.HIDDEN,), "hidden"),
    ((Kind.UNKNOWN,), "unknown"),
    ((Kind.UNBACKED,), "unbacked"),
)

LEGEND_MEANS = (
    "in use; neighbours differ in shade when zoomed in",
    "partly in use: up to a third, two thirds, nearly all",
    "free, in a page that holds areas",
    "free: whole pages that are backed and empty",
    "free: pages that are not populated",
    "free space of the reserved chunk, kept for modules",
    "the kernel's static per-CPU variables",
    "a part of the page, but not of the chunk",
    "in use since before the record began: nobody knows by whom",
    "taken, but its page is not there yet",
)


@dataclass(frozen=True, slots=True)
class Before:
    """What a chunk was like at the last stop, as far as the map shows it."""

    alloc_map: tuple[int, ...]
    populated: int

    @classmethod
    def of(cls, chunk: Chunk) -> Before:
        """Remember a chunk; the block integers are shared, not copied."""
        return cls(tuple(chunk.alloc_map), chunk.populated)


@dataclass(frozen=True, slots=True)
class Band:
    """The lines of one chunk; bytes are offsets in unit space. top_line is its heading, if it has one."""

    number: int
    origin_bytes: int  # where the chunk's own byte 0 lies in the unit
    start_bytes: int  # first byte of its first row, a multiple of a row
    nr_rows: int
    top_line: int
    nr_headings: int

    @property
    def nr_lines(self) -> int:
        """Lines of the band."""
        return self.nr_headings + self.nr_rows


@dataclass(frozen=True, slots=True)
class Place:
    """A cell of the map: a chunk and the unit space [start, start + size)."""

    number: int
    start_bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class MapLayout:
    """Which line shows what, for one size of cell."""

    bytes_per_cell: int
    cells_per_row: int
    unit_size_bytes: int
    bands: tuple[Band, ...]
    nr_lines: int
    _band_of_line: tuple[int, ...] = field(repr=False)

    @property
    def row_bytes(self) -> int:
        """Unit space in one line."""
        return self.bytes_per_cell * self.cells_per_row

    def band_at(self, line: int) -> Band | None:
        """Return the band of a line, None outside the map."""
        if not 0 <= line < self.nr_lines:
            return None
        return self.bands[self._band_of_line[line]]

    def band_of(self, number: int) -> Band | None:
        """Return the band of a chunk, None if there is no such chunk."""
        return next((band for band in self.bands if band.number == number), None)

    def row_start(self, band: Band, line: int) -> int | None:
        """Return the unit offset with which a line begins, None for a heading."""
        row = line - band.top_line - band.nr_headings
        return band.start_bytes + row * self.row_bytes if row >= 0 else None

    def place_at(self, line: int, column: int) -> Place | None:
        """Return the cell at a line and column (of cells), None for a heading or beside the map."""
        band = self.band_at(line)
        if band is None or not 0 <= column < self.cells_per_row:
            return None
        start = self.row_start(band, line)
        if start is None:
            return None
        start += column * self.bytes_per_cell
        if start >= self.unit_size_bytes:
            return None
        return Place(band.number, start, self.bytes_per_cell)

    def cell_of(self, number: int, at_bytes: int) -> tuple[int, int] | None:
        """Return (line, column) of a byte of unit space in a chunk's band, None if it is not shown."""
        band = self.band_of(number)
        if band is None:
            return None
        row, inside = divmod(at_bytes - band.start_bytes, self.row_bytes)
        if not 0 <= row < band.nr_rows:
            return None
        return band.top_line + band.nr_headings + row, inside // self.bytes_per_cell


def unit_origin(machine: Machine, chunk: Chunk) -> int:
    """Return where a chunk's own byte 0 lies in unit space; only the boot chunks do not begin at 0."""
    return chunk.base_addr - machine.percpu.base_addr if chunk.number <= 0 else 0


def chunks_in_order(machine: Machine) -> list[Chunk]:
    """Return all chunks: reserved, first, then by number."""
    chunks = machine.percpu.chunks
    return [chunks[number] for number in sorted(chunks)]


def cells_that_fit(width: int) -> int:
    """Return how many cells a line gets: a power of two, so that lines begin at round offsets."""
    return 1 << max(width.bit_length() - 1, 3)


def widest_cell(unit_size_bytes: int, cells_per_row: int) -> int:
    """Return the size of a cell with which a whole unit fits into a line."""
    size = CELL_BYTES_MIN
    while size * cells_per_row < unit_size_bytes:
        size *= 2
    return size


def cell_for_height(unit_size_bytes: int, cells_per_row: int, nr_rows: int) -> int:
    """Return the smallest cell with which a unit takes at most nr_rows lines."""
    size = widest_cell(unit_size_bytes, cells_per_row)
    while size > CELL_BYTES_MIN and unit_size_bytes * 2 <= nr_rows * cells_per_row * size:
        size //= 2
    return size


def lay_out(machine: Machine, bytes_per_cell: int, cells_per_row: int) -> MapLayout:
    """Return which line shows what. Bands have a heading unless a whole unit fits into one line."""
    unit_size_bytes = machine.percpu.unit_size_bytes
    row_bytes = bytes_per_cell * cells_per_row
    nr_headings = 0 if row_bytes >= unit_size_bytes else 1
    bands: list[Band] = []
    band_of_line: list[int] = []
    for index, chunk in enumerate(chunks_in_order(machine)):
        origin = unit_origin(machine, chunk)
        # The lowest boot chunk's band shows the static part before it too.
        start = 0 if index == 0 else align_down(origin, row_bytes)
        end = align_up(origin + (chunk.nr_pages << PAGE_SHIFT), row_bytes)
        nr_rows = (end - start) // row_bytes
        bands.append(Band(chunk.number, origin, start, nr_rows, len(band_of_line), nr_headings))
        band_of_line += [index] * (nr_headings + nr_rows)
    return MapLayout(
        bytes_per_cell, cells_per_row, unit_size_bytes, tuple(bands),
        len(band_of_line), tuple(band_of_line),
    )  # fmt: skip


def row_codes(
    chunk: Chunk,
    origin_bytes: int,
    start_bytes: int,
    nr_cells: int,
    bytes_per_cell: int,
    *,
    static_bytes: int = 0,
    before: Before | None = None,
    unknown: Mapping[int, int] | None = None,
    marked: tuple[int, int] | None = None,
    parities: Sequence[int] | None = None,
) -> bytes:
    """Return the codes of a line of cells that begins at a unit offset.

    static_bytes: cells below it and before the chunk show as static. unknown: by page of the chunk, the
    bits whose owner nobody knows. marked: unit space [start, end) whose cells get OBJECT. parities:
    area_parities() of the chunk, for who draws many lines.
    """
    if parities is None:
        parities = area_parities(chunk) if bytes_per_cell < PAGE_SIZE_BYTES else ()
    row = _Row(chunk, bytes_per_cell, before, unknown or {}, parities)
    end_bytes = origin_bytes + (chunk.nr_pages << PAGE_SHIFT)
    codes = bytearray(nr_cells)
    at = start_bytes
    for i in range(nr_cells):
        low, high = max(at, origin_bytes), min(at + bytes_per_cell, end_bytes)
        if low < high:
            code = row.code(low - origin_bytes, high - origin_bytes)
        else:
            code = int(Kind.STATIC) if at < min(static_bytes, origin_bytes) else 0
        if marked is not None and at < marked[1] and marked[0] < at + bytes_per_cell:
            code |= OBJECT
        codes[i] = code
        at += bytes_per_cell
    return bytes(codes)


def area_parities(chunk: Chunk) -> tuple[int, ...]:
    """Return for each page how many areas, modulo 2, lie before it without a gap.

    It makes neighbours differ in shade, across pages too; a change flips no shade beyond the next gap
    that a page begins with.
    """
    found = [0]
    for page in range(1, chunk.nr_pages):
        before = chunk.alloc_map[page - 1]
        if before >> (BLOCK_BITS - 1) and chunk.alloc_map[page] & 1:
            nr_starts = (chunk.bound_map[page - 1] & before).bit_count()
            found.append(found[-1] + nr_starts & 1)
        else:
            found.append(0)
    return tuple(found)


class _Row:
    """Judges stretches of one chunk."""

    __slots__ = (
        "alloc_map",
        "before",
        "bytes_per_cell",
        "chunk",
        "high_bit",
        "low_bit",
        "parities",
        "unknown",
    )

    def __init__(
        self,
        chunk: Chunk,
        bytes_per_cell: int,
        before: Before | None,
        unknown: Mapping[int, int],
        parities: Sequence[int],
    ) -> None:
        self.chunk = chunk
        self.alloc_map = chunk.alloc_map
        self.bytes_per_cell = bytes_per_cell
        self.before = before
        self.unknown = unknown
        self.low_bit = chunk.start_offset // MIN_ALLOC_BYTES
        self.high_bit = chunk.nr_bits - chunk.end_offset // MIN_ALLOC_BYTES
        self.parities = parities

    def code(self, low_bytes: int, high_bytes: int) -> int:
        """Return the code of [low, high) of the chunk's own bytes."""
        if self.bytes_per_cell >= PAGE_SIZE_BYTES:
            return self._of_pages(low_bytes >> PAGE_SHIFT, high_bytes >> PAGE_SHIFT)
        page, inside = divmod(low_bytes, PAGE_SIZE_BYTES)
        at = inside // MIN_ALLOC_BYTES
        return self._of_bits(page, at, (high_bytes - low_bytes) // MIN_ALLOC_BYTES)

    def _of_pages(self, page: int, page_end: int) -> int:
        alloc_map = self.alloc_map
        nr_used = sum(bits.bit_count() for bits in alloc_map[page:page_end])
        window = (1 << (page_end - page)) - 1
        populated = self.chunk.populated >> page & window
        low, high = page * BLOCK_BITS, page_end * BLOCK_BITS
        nr_bits = min(high, self.high_bit) - max(low, self.low_bit)
        nr_used -= high - low - nr_bits  # hidden bits are set
        code = self._kind(nr_bits, nr_used, populated, nr_used)
        if nr_used and self.unknown and self._unknown_in(page, page_end) >= nr_used:
            code = Kind.UNKNOWN
        before = self.before
        if before is not None and (
            before.populated >> page & window != populated
            or before.alloc_map[page:page_end] != tuple(alloc_map[page:page_end])
        ):
            return code | CHANGED
        return int(code)

    def _of_bits(self, page: int, at: int, nr_bits: int) -> int:
        mask = (1 << nr_bits) - 1
        block = self.alloc_map[page]
        taken = block >> at & mask
        populated = self.chunk.populated >> page & 1
        first = page * BLOCK_BITS + at
        nr_served = min(first + nr_bits, self.high_bit) - max(first, self.low_bit)
        nr_used = taken.bit_count() - (nr_bits - max(nr_served, 0))
        code = self._kind(nr_served, nr_used, populated, block)
        if nr_used > 0 and self.unknown.get(page, 0) >> at & mask == taken:
            code = Kind.UNKNOWN
        elif code is Kind.AREA and self._area_parity(page, at):
            code = Kind.AREA_ODD
        before = self.before
        if before is not None and (
            before.alloc_map[page] >> at & mask != taken
            or before.populated >> page & 1 != populated
        ):
            return code | CHANGED
        return int(code)

    def _kind(self, nr_bits: int, nr_used: int, populated: int, page_use: int) -> Kind:
        if nr_bits <= 0:
            return Kind.HIDDEN
        if nr_used <= 0:
            if not populated:
                return Kind.UNPOPULATED
            if self.chunk.number == RESERVED:
                return Kind.RESERVED
            return Kind.FREE if page_use else Kind.EMPTY
        if not populated:
            return Kind.UNBACKED
        if nr_used >= nr_bits:
            return Kind.AREA
        third = nr_used * 3 // nr_bits
        return (Kind.LOW, Kind.MIDDLE, Kind.HIGH)[third]

    def _unknown_in(self, page: int, page_end: int) -> int:
        return sum(self.unknown.get(at, 0).bit_count() for at in range(page, page_end))

    def _area_parity(self, page: int, at: int) -> int:
        """Return whether the area at a bit is the odd one among its neighbours."""
        starts = self.chunk.bound_map[page] & self.alloc_map[page]
        nr_starts = (starts & ((2 << at) - 1)).bit_count()
        return self.parities[page] + nr_starts + 1 & 1


def runs(codes: Sequence[int]) -> list[tuple[int, int, int]]:
    """Return (start, end, code) of each stretch of equal codes."""
    found: list[tuple[int, int, int]] = []
    start = 0
    for i in range(1, len(codes) + 1):
        if i == len(codes) or codes[i] != codes[start]:
            found.append((start, i, codes[start]))
            start = i
    return found
