"""The map of any per-CPU system: its strips as rows of cells, a code each, from its stretches alone.

    block 0                                     heading of a group: its strips follow
    cpu 0          8K  █▓█▓▓▓░░░░░░░░░░         a strip goes on in the next row if it is longer
    cpu 1          8K  █▓█▓▓▓░░░░░░░░░░
    management    36K  ##############╱·
    area 0x7ff…        ≡≡ █ █ █ █               small strips of one group stand side by side

A code is a kind with flags above it, as in chunk_map.py. Only rows that are asked for are worked out.
"""

from __future__ import annotations

from enum import IntEnum

from kernel_sim.machine import Machine
from kernel_sim.percpu.catalogue import system_entry
from kernel_sim.percpu.stretch import (
    DYNAMIC,
    FREE,
    HOLE,
    METADATA,
    MODULE,
    PADDING,
    RESERVED_ROOM,
    STATIC,
    TABLE,
    Stretch,
)
from tui.debugger.errors import CommandError
from tui.debugger.session import Session
from tui.debugger.strips import Strip, StripIndex
from tui.debugger.table import DEC, HEX, Column, Table
from tui.debugger.table import Cell as TableCell
from tui.debugger.views.chunk_map import CHANGED, KIND_BITS, OBJECT
from tui.debugger.views.strip_layout import CELL_BYTES_MIN, StripLayout, suitable_cell

VIEW_CELLS = 64
HEAD_COLUMNS = 100
FIGURES_GAP = " · "
ADDRESS_MIN = 1 << 20  # a larger figure is an address
COLUMNS = (
    Column("strip", help="a piece of memory; small ones of one group share a row"),
    Column("addr", HEX, "of the row's first cell"),
    Column("size", DEC, "bytes of the strip, or of all that share the row"),
    Column("cpu", DEC, "whose copies it holds"),
    Column("node", DEC, "where it should lie"),
    Column("cells", help="what the bytes are, see the notes"),
)


class Cell(IntEnum):
    """What a cell is mostly about; the low bits of a code."""

    OUTSIDE = 0
    STATIC = 1
    DYNAMIC = 2
    DYNAMIC_ODD = 3  # the other shade, for the neighbour
    MODULE = 4
    MODULE_ODD = 5
    FREE = 6
    RESERVED = 7
    PADDING = 8
    TABLE = 9
    METADATA = 10
    HOLE = 11
    LOW = 12  # dynamic areas and something else: up to a third in use
    MIDDLE = 13
    HIGH = 14
    MODULE_LOW = 15
    MODULE_MIDDLE = 16
    MODULE_HIGH = 17


GLYPHS: dict[int, str] = {
    Cell.OUTSIDE: " ",
    Cell.STATIC: "═",
    Cell.DYNAMIC: "█",
    Cell.DYNAMIC_ODD: "▓",
    Cell.MODULE: "█",
    Cell.MODULE_ODD: "▓",
    Cell.FREE: "░",
    Cell.RESERVED: "▒",
    Cell.PADDING: "╱",
    Cell.TABLE: "≡",
    Cell.METADATA: "┼",
    Cell.HOLE: "·",
    Cell.LOW: "▂",
    Cell.MIDDLE: "▄",
    Cell.HIGH: "▆",
    Cell.MODULE_LOW: "▂",
    Cell.MODULE_MIDDLE: "▄",
    Cell.MODULE_HIGH: "▆",
}
STYLES: dict[int, str] = {
    Cell.OUTSIDE: "outside", Cell.STATIC: "static", Cell.DYNAMIC: "area",
    Cell.DYNAMIC_ODD: "area-odd", Cell.MODULE: "module", Cell.MODULE_ODD: "module-odd",
    Cell.FREE: "empty", Cell.RESERVED: "reserved", Cell.PADDING: "hidden", Cell.TABLE: "table",
    Cell.METADATA: "metadata", Cell.HOLE: "unpopulated", Cell.LOW: "partly",
    Cell.MIDDLE: "partly", Cell.HIGH: "partly", Cell.MODULE_LOW: "module",
    Cell.MODULE_MIDDLE: "module", Cell.MODULE_HIGH: "module",
}  # fmt: skip
LEGEND: tuple[tuple[tuple[int, ...], str], ...] = (
    ((Cell.DYNAMIC, Cell.DYNAMIC_ODD), "dynamic"),
    ((Cell.MODULE, Cell.MODULE_ODD), "module"),
    ((Cell.STATIC,), "static"),
    ((Cell.FREE,), "free"),
    ((Cell.RESERVED,), "kept"),
    ((Cell.PADDING,), "padding"),
    ((Cell.TABLE,), "table"),
    ((Cell.METADATA,), "metadata"),
    ((Cell.HOLE,), "no page"),
    ((Cell.LOW, Cell.MIDDLE, Cell.HIGH), "partly"),
)
LEGEND_MEANS = (
    "an area that somebody allocated; neighbours differ in shade",
    "a module's per-CPU section",
    "the kernel's static per-CPU variables",
    "has memory and may be given out",
    "memory kept in reserve, for nobody yet",
    "lost to rounding",
    "what an access reads to find its copy: offsets, pointers",
    "bookkeeping of the system that lies in memory",
    "address space without memory",
    "partly in use: up to a third, two thirds, nearly all",
)
OF_KIND: dict[str, Cell] = {
    STATIC: Cell.STATIC, DYNAMIC: Cell.DYNAMIC, MODULE: Cell.MODULE, FREE: Cell.FREE,
    PADDING: Cell.PADDING, RESERVED_ROOM: Cell.RESERVED, TABLE: Cell.TABLE,
    METADATA: Cell.METADATA, HOLE: Cell.HOLE,
}  # fmt: skip
SHADED = (DYNAMIC, MODULE)  # kinds whose neighbours differ in shade
SAME = {Cell.DYNAMIC_ODD: Cell.DYNAMIC, Cell.MODULE_ODD: Cell.MODULE}  # but for the shade


def row_codes(strip: Strip, start_bytes: int, nr_cells: int, bytes_per_cell: int) -> bytearray:
    """Return the codes of a row that begins at an offset of the strip; OUTSIDE behind its end."""
    codes = bytearray(nr_cells)
    at, cell = start_bytes, 0
    number = strip.index_at(start_bytes)
    while cell < nr_cells and at < strip.size_bytes:
        while strip.starts[number] + strip.stretches[number].size_bytes <= at:
            number += 1
        end = strip.starts[number] + strip.stretches[number].size_bytes
        nr_whole = -(-(end - at) // bytes_per_cell) if end == strip.size_bytes else 0
        nr_whole = min(nr_whole or (end - at) // bytes_per_cell, nr_cells - cell)
        if nr_whole:
            code = _code_of(strip, number)
            codes[cell : cell + nr_whole] = bytes((code,)) * nr_whole
        else:
            nr_whole = 1
            codes[cell] = _mixed(strip, number, at, min(at + bytes_per_cell, strip.size_bytes))
        cell += nr_whole
        at += nr_whole * bytes_per_cell
    return codes


def mark_object(
    codes: bytearray, strip: Strip, start_bytes: int, bytes_per_cell: int, ptr: int
) -> None:
    """Add OBJECT to the cells of a row that hold a part of what has that ptr."""
    first = strip.index_at(start_bytes)
    for number in range(first, len(strip.stretches)):
        low = strip.starts[number] - start_bytes
        if low >= len(codes) * bytes_per_cell:
            return
        stretch = strip.stretches[number]
        if stretch.ptr == ptr:
            end = -(-(low + stretch.size_bytes) // bytes_per_cell)
            for cell in range(max(low // bytes_per_cell, 0), min(end, len(codes))):
                codes[cell] |= OBJECT


def mark_changes(codes: bytearray, before: bytes | bytearray) -> None:
    """Add CHANGED to the cells of a row that are of another kind than before, shades aside."""
    if codes == before:
        return
    for cell, (now, was) in enumerate(zip(codes, before, strict=False)):
        if SAME.get(Cell(now & KIND_BITS), now & KIND_BITS) != SAME.get(Cell(was), was):
            codes[cell] |= CHANGED


def cells_text(codes: bytes | bytearray) -> str:
    """Return a row as text."""
    return "".join(GLYPHS[code & KIND_BITS] for code in codes).rstrip()


def _code_of(strip: Strip, number: int) -> int:
    kind = strip.stretches[number].kind
    code = OF_KIND[kind]
    # The odd shade stands directly behind the even one.
    return code + (kind in SHADED and not strip.parities[number])


def _mixed(strip: Strip, number: int, at: int, end: int) -> int:
    """Return the code of a cell [at, end) that more than one stretch has a part in."""
    counts: dict[str, int] = {}
    largest = 0
    while number < len(strip.stretches) and strip.starts[number] < end:
        stretch: Stretch = strip.stretches[number]
        low = max(strip.starts[number], at)
        nr_bytes = min(strip.starts[number] + stretch.size_bytes, end) - low
        counts[stretch.kind] = counts.get(stretch.kind, 0) + nr_bytes
        largest = max(largest, nr_bytes)
        number += 1
    if len(counts) == 1:
        return OF_KIND[next(iter(counts))]
    dynamic, module = counts.get(DYNAMIC, 0), counts.get(MODULE, 0)
    nr_used = dynamic + module
    kind = max(counts, key=lambda each: counts[each])
    if not nr_used or (kind == STATIC and counts[STATIC] > nr_used):
        return OF_KIND[kind]
    low_code = Cell.LOW if dynamic >= module else Cell.MODULE_LOW
    if nr_used == end - at:
        return Cell.DYNAMIC if dynamic >= module else Cell.MODULE
    return low_code + nr_used * 3 // (end - at)


def line_codes(layout: StripLayout, line: int) -> bytearray:
    """Return the codes of a line of the map, without marks."""
    codes = bytearray(layout.cells_per_row)
    for piece in layout.lines[line].pieces:
        strip = layout.index.strips[piece.strip]
        codes[piece.column : piece.column + piece.nr_cells] = row_codes(
            strip, piece.start_bytes, piece.nr_cells, layout.bytes_per_cell
        )
    return codes


def head_lines(machine: Machine, width: int) -> tuple[str, ...]:
    """Return what stands above the strips: which system it is, and its own figures."""
    entry = system_entry(machine.config.percpu.system)
    figures = [
        f"{name.replace('_', ' ')} {_figure(value)}" for name, value in machine.system.facts()
    ]
    lines = [f"{machine.system.name}: {entry.title}"]
    figures.insert(0, entry.years)
    for figure in figures:
        joined = f"{lines[-1]}{FIGURES_GAP}{figure}"
        if len(lines) > 1 and len(joined) <= width:
            lines[-1] = joined
        else:
            lines.append(figure)
    return tuple(lines)


def _figure(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:#x}" if isinstance(value, int) and value >= ADDRESS_MIN else str(value)


def map_view(session: Session, bytes_per_cell: int = 0) -> Table:
    """Return a row for every line of the map; bytes_per_cell 0: the longest copy in a row."""
    machine = session.machine
    index = StripIndex.of(machine)
    index.read_all()
    if bytes_per_cell and (bytes_per_cell < CELL_BYTES_MIN or bytes_per_cell & bytes_per_cell - 1):
        raise CommandError(
            f"map: {bytes_per_cell} bytes a cell: expected a power of two from {CELL_BYTES_MIN} on"
        )
    size = bytes_per_cell or suitable_cell(index, VIEW_CELLS, len(index.strips))
    layout = StripLayout(index, size, VIEW_CELLS)
    layout.lay_known()
    rows: list[tuple[TableCell, ...]] = []
    for number, line in enumerate(layout.lines):
        if not line.pieces:
            rows.append((line.text, None, None, None, None, ""))
            continue
        first = index.strips[line.pieces[0].strip]
        rows.append(
            (
                line.text,
                first.addr + line.pieces[0].start_bytes,
                line.size_bytes if line.size_bytes >= 0 else None,
                first.cpu if first.cpu >= 0 and len(line.pieces) == 1 else None,
                first.node if first.node >= 0 and len(line.pieces) == 1 else None,
                cells_text(line_codes(layout, number)),
            )
        )
    head, *figures = head_lines(machine, HEAD_COLUMNS)
    title = f"{head}; {size} bytes a cell, at step {session.step}"
    legend = "  ".join(
        f"{''.join(dict.fromkeys(GLYPHS[kind] for kind in kinds))} {word}" for kinds, word in LEGEND
    )
    return Table(title, COLUMNS, tuple(rows), (*figures, legend))
