"""What a cell of the chunk map stands for, in words, and where it lies in a CPU's own unit.

    cell ──► a byte of unit space in a chunk's band ──► area, free run, page not there, static symbol …
                          └─ + base + unit offset of a CPU ──► virtual address

A cell that holds more than one object is described by what is in it; else the object itself is named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel_sim.machine import Machine
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.percpu.chunk import RESERVED, Chunk
from kernel_sim.percpu.md_block import BLOCK_BITS, MIN_ALLOC_BYTES
from tui.debugger.areas import area_around, birth_facts
from tui.debugger.births import FirstAreas
from tui.debugger.chunk_names import slot_name
from tui.debugger.symbols import module_variable_at, percpu_symbol_at
from tui.debugger.table import count
from tui.debugger.views.chunk_map import Place, unit_origin

if TYPE_CHECKING:
    from tui.debugger.session import Session

BOOT_NAMES = {RESERVED: "reserved chunk", 0: "first chunk"}


def name_of(number: int) -> str:
    """Return what people call a chunk."""
    return BOOT_NAMES.get(number, f"chunk {number}")


def bytes_text(nr_bytes: int) -> str:
    """Return a size with a unit that keeps it readable; not exact above a KiB."""
    if nr_bytes < 10 << 10:
        return f"{nr_bytes} B"
    if nr_bytes < 10 << 20:
        return f"{nr_bytes >> 10} KiB"
    return f"{nr_bytes >> 20} MiB"


def band_title(machine: Machine, chunk: Chunk) -> str:
    """Return the heading of a chunk's band."""
    slot = slot_name(machine.percpu.slots, chunk.slot)
    where = "" if chunk.number == RESERVED else f"  list {slot}"
    return (
        f"{name_of(chunk.number)}  {bytes_text(chunk.free_bytes)} free  "
        f"{chunk.nr_populated}/{chunk.nr_pages} pages  {count(chunk.nr_alloc, 'area')}{where}"
        f"{'  isolated' if chunk.isolated else ''}"
    )


def address_of(machine: Machine, number: int, at_bytes: int, cpu: int) -> int | None:
    """Return where a byte of unit space lies in a CPU's unit, None if there is no such chunk."""
    chunk = machine.percpu.chunks.get(number)
    if chunk is None:
        return None
    start = chunk.base_addr - unit_origin(machine, chunk)
    return start + at_bytes + machine.places.unit_offsets[cpu] & machine.arch.address_mask


def object_span(machine: Machine, place: Place) -> tuple[int, int] | None:
    """Return the unit space [start, end) of the one area that a cell is part of, None for anything else."""
    chunk = machine.percpu.chunks.get(place.number)
    if chunk is None:
        return None
    origin = unit_origin(machine, chunk)
    off = place.start_bytes - origin
    if not _is_served(chunk, off):
        return None
    area = area_around(chunk, off)
    if not area.is_live or area.size < place.size_bytes:
        return None
    return origin + area.offset, origin + area.offset + area.size


def describe(session: Session, place: Place) -> str:
    """Return one line that says what a cell stands for."""
    machine = session.machine
    chunk = machine.percpu.chunks.get(place.number)
    if chunk is None:
        return f"there is no {name_of(place.number)} at step {session.step}"
    off = place.start_bytes - unit_origin(machine, chunk)
    here = f"{name_of(place.number)} {off:+#x}"
    beside = _beside(machine, chunk, place, off)
    if beside:
        return beside
    if place.size_bytes > PAGE_SIZE_BYTES:
        return f"{here}  {_pages_text(chunk, off, place.size_bytes)}"
    page = max(off, 0) >> PAGE_SHIFT
    first = _first_taken(chunk, max(off, 0), place.size_bytes)
    if first is None:
        return f"{here}  {_free_text(chunk, max(off, 0), page)}"
    area = area_around(chunk, first)
    if not area.is_live or not area.size:
        return f"{here}  hidden: part of the page, not of the chunk"
    more = _nr_starts(chunk, first + MIN_ALLOC_BYTES, off + place.size_bytes)
    text = _area_text(session, chunk, area.offset, area.size)
    return text + (f"  (and {more} more in this cell)" if more else "")


def unknown_bits(session: Session, chunk: Chunk, first: FirstAreas) -> dict[int, int]:
    """Return, by page, the bits of areas that were there before the record began, and still are."""
    found: dict[int, int] = {}
    for bit, nr_bits in first.get(chunk.base_addr, ()):
        known = session.births.last_event(session.timeline, chunk.base_addr, bit * MIN_ALLOC_BYTES)
        if known is not None or chunk.area_bits(bit) != nr_bits:
            continue
        for at in range(bit, bit + nr_bits):
            page, inside = divmod(at, BLOCK_BITS)
            found[page] = found.get(page, 0) | 1 << inside
    return found


def _is_served(chunk: Chunk, off: int) -> bool:
    return chunk.start_offset <= off < (chunk.nr_pages << PAGE_SHIFT) - chunk.end_offset


def _beside(machine: Machine, chunk: Chunk, place: Place, off: int) -> str:
    """Return what a cell wholly outside the served part is, "" for one that is not outside."""
    if off + place.size_bytes > chunk.start_offset and _is_served(
        chunk, max(off, chunk.start_offset)
    ):
        return ""
    at = place.start_bytes
    static = machine.alloc_info.static_size_bytes
    if at < static:
        return f"static +{at:#x}  the kernel's own variables  {percpu_symbol_at(machine, at)}"
    if at < machine.percpu.first_end:
        other = next(
            (each for each in BOOT_NAMES if each != chunk.number and each in machine.percpu.chunks),
            None,
        )
        return f"unit +{at:#x}  served by the {name_of(other)}" if other is not None else "hidden"
    return f"unit +{at:#x}  nobody's: given back to the page allocator at boot"


def _pages_text(chunk: Chunk, off: int, size_bytes: int) -> str:
    page, page_end = max(off, 0) >> PAGE_SHIFT, min(off + size_bytes >> PAGE_SHIFT, chunk.nr_pages)
    nr_pages = page_end - page
    populated = (chunk.populated >> page & (1 << nr_pages) - 1).bit_count()
    nr_used = sum(bits.bit_count() for bits in chunk.alloc_map[page:page_end]) * MIN_ALLOC_BYTES
    nr_areas = _nr_starts(chunk, page << PAGE_SHIFT, page_end << PAGE_SHIFT)
    pages = f"{count(nr_pages, 'page')}, {populated} populated"
    return f"{pages}  {count(nr_areas, 'area')} from here on  {bytes_text(nr_used)} in use"


def _free_text(chunk: Chunk, off: int, page: int) -> str:
    run = area_around(chunk, off)
    size = f"free, {bytes_text(run.size)} from +{run.offset:#x}"
    if not chunk.populated >> page & 1:
        return f"{size}  page {page} is not populated"
    return f"{size}  page {page} is backed" + (" and empty" if chunk.is_empty_page(page) else "")


def _area_text(session: Session, chunk: Chunk, off: int, size_bytes: int) -> str:
    ptr = session.machine.percpu.ptr_of(chunk.base_addr + off)
    facts = dict(birth_facts(session, chunk.base_addr, off))
    site, born = facts.get("call_site"), facts.get("born_step")
    text = f"{name_of(chunk.number)} +{off:#x}  {size_bytes} B  ptr {ptr:#x}  {site}"
    module = module_variable_at(session.machine, ptr)
    if module is not None:
        text += f" of module {module[0].name}"
    if "task" in facts:
        text += f"  {facts['task']}"
    if born is not None:
        text += f"  born at step {born}"
    page = off >> PAGE_SHIFT
    return text if chunk.populated >> page & 1 else f"{text}  NOT BACKED"


def _first_taken(chunk: Chunk, off: int, size_bytes: int) -> int | None:
    """Return the first byte in use in [off, off + size) of one page, None if all is free."""
    page, inside = divmod(off, PAGE_SIZE_BYTES)
    at = inside // MIN_ALLOC_BYTES
    taken = chunk.alloc_map[page] >> at & (1 << size_bytes // MIN_ALLOC_BYTES) - 1
    low = max(chunk.start_offset - off, 0) // MIN_ALLOC_BYTES
    taken = taken >> low << low
    if not taken:
        return None
    return off + ((taken & -taken).bit_length() - 1) * MIN_ALLOC_BYTES


def _nr_starts(chunk: Chunk, low_bytes: int, high_bytes: int) -> int:
    """Return how many areas begin in [low, high)."""
    low, high = max(low_bytes, 0) // MIN_ALLOC_BYTES, high_bytes // MIN_ALLOC_BYTES
    total = 0
    for page in range(low // BLOCK_BITS, min(-(-high // BLOCK_BITS), chunk.nr_pages)):
        starts = chunk.bound_map[page] & chunk.alloc_map[page]
        first, last = low - page * BLOCK_BITS, high - page * BLOCK_BITS
        if last < BLOCK_BITS:
            starts &= (1 << last) - 1
        if first > 0:
            starts = starts >> first << first
        total += starts.bit_count()
    return total
