"""Chunks of two states side by side: areas, pages, hints, figures.

    areas        a live area by its place (chunk, offset, size)           born, died
    moved        the same allocation at another place, only between two runs: the area whose birth has the
                 same call site and size and is the how-manieth of these since the runs parted
    chunk pages  runs of populated pages                                  populated, depopulated
    hints        chunk_md and the blocks, one row each, with the fields that differ

A state does not say who made an area. So between two moments of one run an area that was freed and allocated
again at the same place is no difference; between two runs area_names tells them apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import NamedTuple, cast

from kernel_sim.mm.page import PAGE_SHIFT
from kernel_sim.percpu.chunk import RESERVED, Chunk
from kernel_sim.percpu.md_block import MIN_ALLOC_BYTES, MdBlock
from kernel_sim.percpu.state import CHUNK_SCALARS, FRESH_ROW, Dump, load_chunk
from snapshots.diff.rows import (
    AREAS,
    BORN,
    CHANGED,
    CHUNKS,
    COUNTERS,
    DEPOPULATED,
    DIED,
    HINTS,
    MOVED,
    POPULATED,
    POPULATION,
    AreaName,
    DiffRow,
    DiffSide,
    NamedRow,
    change_word,
    field_rows,
    leaf_rows,
    runs_of,
    shown,
)
from snapshots.diff.state_delta import is_equal

PREFIX = "chunk."
HINT_NAMES = tuple(each.name for each in fields(MdBlock))[: len(FRESH_ROW)]
ALLOC_MAP, BOUND_MAP, DATA = 4, 5, 6  # of a chunk's dump
OF_CHUNK = ("base_addr", "nr_pages", "start_offset", "end_offset", "immutable", "isolated", "slot")


class Area(NamedTuple):
    """An area of one side: chunk, offset and size in bytes, and its address in unit 0."""

    chunk: int
    offset: int
    size_bytes: int
    addr: int


def chunk_rows(one: DiffSide, other: DiffSide, names: Sequence[str]) -> Iterator[NamedRow]:
    """Yield what is not the same in chunks; names are those of the parts that differ."""
    loaded = [_load_sides(one, other, name) for name in names]
    has_areas: dict[int, None] = {}  # numbers of chunks in which areas differ
    yield from _area_rows(one, other, loaded, has_areas)
    for name, (was, now) in zip(names, loaded, strict=True):
        number = int(name.removeprefix(PREFIX))
        for row in _rows_of_one(number, was, now):
            yield name, row
        if was is not None and now is not None:
            for row in _bitmap_rows(number, one.parts[name], other.parts[name], has_areas):
                yield name, row


def _load_sides(one: DiffSide, other: DiffSide, name: str) -> tuple[Chunk | None, Chunk | None]:
    was, now = one.parts.get(name), other.parts.get(name)
    return (
        load_chunk(cast("Dump", was)) if was is not None else None,
        load_chunk(cast("Dump", now)) if now is not None else None,
    )


def _name_of(number: int) -> str:
    return {0: "the first chunk", RESERVED: "the reserved chunk"}.get(number, f"chunk {number}")


# -- areas -----------------------------------------------------------------------------------------


def _area_rows(
    one: DiffSide,
    other: DiffSide,
    loaded: list[tuple[Chunk | None, Chunk | None]],
    has_areas: dict[int, None],
) -> Iterator[NamedRow]:
    if one.area_names or other.area_names:
        names = [name for name in {**one.parts, **other.parts} if name.startswith(PREFIX)]
        loaded = [_load_sides(one, other, name) for name in names]
    was = _objects([sides[0] for sides in loaded], one.area_names)
    now = _objects([sides[1] for sides in loaded], other.area_names)
    for key, area in was.items():
        if key not in now:
            has_areas[area.chunk] = None
            yield _named(area, DIED, _where(area), _brief(one, area), None)
    for key, area in now.items():
        before = was.get(key)
        if before is None:
            has_areas[area.chunk] = None
            yield _named(area, BORN, _where(area), None, _brief(other, area))
        elif before[:3] != area[:3]:
            has_areas[area.chunk] = has_areas[before.chunk] = None
            yield _named(area, MOVED, _brief(other, area), _where(before), _where(area))


def _objects(
    chunks: Sequence[Chunk | None], area_names: Mapping[int, AreaName]
) -> dict[object, Area]:
    """Return the areas by what makes them the same on both sides: their name, else their place."""
    found: dict[object, Area] = {}
    for chunk in chunks:
        if chunk is None:
            continue
        for bit, nr_bits in chunk.areas():
            offset, size_bytes = bit * MIN_ALLOC_BYTES, nr_bits * MIN_ALLOC_BYTES
            area = Area(chunk.number, offset, size_bytes, chunk.base_addr + offset)
            name = area_names.get(area.addr)
            found[name if name is not None else area[:3]] = area
    return found


def _named(area: Area, word: str, where: str, was: str | None, now: str | None) -> NamedRow:
    what = f"area of {area.size_bytes} bytes"
    return f"{PREFIX}{area.chunk}", DiffRow(AREAS, word, what, where, was, now)


def _where(area: Area) -> str:
    return f"{_name_of(area.chunk)} +{area.offset:#x}"


def _brief(side: DiffSide, area: Area) -> str:
    name = side.area_names.get(area.addr)
    return (
        f"{area.addr:#x} in unit 0"
        if name is None
        else f"from {name.call_site}, its #{name.ordinal}"
    )


# -- one chunk -------------------------------------------------------------------------------------


def _rows_of_one(number: int, was: Chunk | None, now: Chunk | None) -> Iterator[DiffRow]:
    title = _name_of(number)
    if was is None or now is None:
        word = change_word(was, now)
        yield DiffRow(CHUNKS, word, title, _base(was or now), _chunk_brief(was), _chunk_brief(now))
    yield from _population_rows(title, was.populated if was else 0, now.populated if now else 0)
    if was is None or now is None:
        return
    yield from _scalar_rows(title, was, now)
    yield from _hint_rows("chunk_md", title, was.md, now.md)
    for index, (before, after) in enumerate(zip(was.blocks, now.blocks, strict=False)):
        yield from _hint_rows(f"block {index}", title, before, after)


def _bitmap_rows(
    number: int, was: object, now: object, has_areas: dict[int, None]
) -> Iterator[DiffRow]:
    """Yield what areas do not tell of: where memory comes from, and bits outside of areas."""
    title = _name_of(number)
    old, new = cast("Dump", was), cast("Dump", now)
    if number not in has_areas:
        yield from leaf_rows(CHUNKS, f"alloc map of {title}", old[ALLOC_MAP], new[ALLOC_MAP])
        yield from leaf_rows(CHUNKS, f"bound map of {title}", old[BOUND_MAP], new[BOUND_MAP])
    yield from leaf_rows(CHUNKS, f"memory of {title}", old[DATA], new[DATA])


def _base(chunk: Chunk | None) -> str:
    return f"{chunk.base_addr:#x}" if chunk is not None else ""


def _chunk_brief(chunk: Chunk | None) -> str | None:
    if chunk is None:
        return None
    return f"{chunk.nr_pages} pages a unit, {chunk.free_bytes} bytes free"


def _population_rows(title: str, was: int, now: int) -> Iterator[DiffRow]:
    for word, bits in ((POPULATED, now & ~was), (DEPOPULATED, was & ~now)):
        pages = [page for page in range(bits.bit_length()) if bits >> page & 1]
        for first, last in runs_of(pages):
            what = f"page {first}" if first == last else f"pages {first}-{last}"
            where = (
                f"{title} +{first << PAGE_SHIFT:#x}-{(last + 1 << PAGE_SHIFT) - 1:#x}, every unit"
            )
            count = last - first + 1
            figures = (None, count) if word == POPULATED else (count, None)
            yield DiffRow(POPULATION, word, what, where, *figures)


def _scalar_rows(title: str, was: Chunk, now: Chunk) -> Iterator[DiffRow]:
    for name in CHUNK_SCALARS:
        old, new = getattr(was, name), getattr(now, name)
        if is_equal(old, new):
            continue
        if name == "base_addr":
            yield DiffRow(CHUNKS, MOVED, title, name, f"{old:#x}", f"{new:#x}")
            continue
        group = CHUNKS if name in OF_CHUNK else COUNTERS
        yield DiffRow(group, CHANGED, name, title, shown(old), shown(new))


def _hint_rows(what: str, title: str, was: MdBlock, now: MdBlock) -> Iterator[DiffRow]:
    """Yield one row with the hints that differ, in bits of 4 bytes."""
    rows = list(field_rows(HINTS, "", HINT_NAMES, was.row(), now.row()))
    if rows:
        old = ", ".join(f"{row.what} {row.was}" for row in rows)
        new = ", ".join(f"{row.what} {row.now}" for row in rows)
        yield DiffRow(HINTS, CHANGED, what, title, old, new)
