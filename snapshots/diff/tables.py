"""Page tables and memory of two states side by side: which entries, which bytes.

    frame of a table   ►  a row for every entry that differs, with the address it serves and its flags
    any other frame    ►  a row for every run of bytes that differ, with the address they are mapped at

Which frames are tables, and which addresses an entry serves, is found by walking each side's tables from
the root. A frame that is in one state only was never written in the other: it reads as zeros there.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, cast

from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.mm.paging import PRESENT, PSE, flag_names
from kernel_sim.mm.paging_modes import PagingLevel, PagingMode
from snapshots.diff.rows import (
    BORN,
    CHANGED,
    DIED,
    MEMORY,
    PTES,
    DiffRow,
    DiffSide,
    NamedRow,
    leaf_rows,
    order_rows,
    shown,
)
from snapshots.diff.state_delta import Patch, change_of

PREFIX = "frame."
ZEROS = bytes(PAGE_SIZE_BYTES)
RUNS_MAX = 16  # of one frame; the rest is counted


class TableAt(NamedTuple):
    """A page table: its level, and the first address it serves."""

    level: PagingLevel
    virt: int


def tables_of(side: DiffSide) -> dict[int, TableAt]:
    """Return every table that hangs under the root, by its pfn."""
    levels = side.mode.levels
    found: dict[int, TableAt] = {}
    pending = [(side.root_pfn, 0, 0)]
    while pending:
        pfn, depth, virt = pending.pop()
        if pfn in found or depth >= len(levels):
            continue
        level = levels[depth]
        found[pfn] = TableAt(level, virt)
        if level.shift == PAGE_SHIFT:
            continue
        for index, entry in enumerate(_entries(side, pfn, level)):
            if entry and not entry & PSE:
                lower = (entry & side.mode.pfn_mask) >> PAGE_SHIFT
                pending.append((lower, depth + 1, virt + (index << level.shift)))
    return found


def _entries(side: DiffSide, pfn: int, level: PagingLevel) -> tuple[int, ...]:
    frame = cast("bytes", side.parts.get(f"{PREFIX}{pfn}", ZEROS))
    return _unpacked(frame, level, side.mode)


def _unpacked(frame: bytes, level: PagingLevel, mode: PagingMode) -> tuple[int, ...]:
    return struct.unpack_from(f"<{level.nr_entries}{'Q' if mode.is_wide else 'I'}", frame)


def mapped_at(side: DiffSide, tables: Mapping[int, TableAt], pfns: Sequence[int]) -> dict[int, int]:
    """Return the highest address at which each of these frames is mapped, if any is.

    Frames of per-CPU units, areas and modules are in the direct map besides, which lies below.
    """
    wanted = sorted(pfns)
    found: dict[int, int] = {}
    for table_pfn, (level, base) in tables.items() if wanted else ():
        for index, entry in enumerate(_entries(side, table_pfn, level)):
            if not entry & PRESENT or (level.shift > PAGE_SHIFT and not entry & PSE):
                continue
            first = (entry & side.mode.pfn_mask & -(1 << level.shift)) >> PAGE_SHIFT
            last = first + (1 << level.shift - PAGE_SHIFT) - 1
            for pfn in wanted[bisect_left(wanted, first) : bisect_right(wanted, last)]:
                virt = base + (index << level.shift) + (pfn - first << PAGE_SHIFT)
                found[pfn] = max(found.get(pfn, 0), canonical(virt, side.mode))
    return found


def frame_rows(one: DiffSide, other: DiffSide, names: Sequence[str]) -> Iterator[NamedRow]:
    """Yield what is not the same in frames: entries of tables, bytes of all others."""
    was_tables, now_tables = tables_of(one), tables_of(other)
    known = {**was_tables, **now_tables}
    data = [pfn for pfn in map(_pfn_of, names) if pfn not in known]
    virts = mapped_at(one, was_tables, data) | mapped_at(other, now_tables, data)
    for name in sorted(names, key=_pfn_of):
        pfn = _pfn_of(name)
        was, now = one.parts.get(name), other.parts.get(name)
        table = now_tables.get(pfn) or was_tables.get(pfn)
        pages = (cast("bytes", was or ZEROS), cast("bytes", now or ZEROS))
        if table is not None and _reads_as_table(pfn, pages, (was_tables, now_tables)):
            rows = list(_entry_rows(pfn, table, pages, other.mode))
        else:
            rows = []
        for row in rows or _byte_rows(pfn, was, now, virts.get(pfn)):
            yield name, row


def _pfn_of(name: str) -> int:
    return int(name.removeprefix(PREFIX))


def _reads_as_table(
    pfn: int, pages: tuple[bytes, bytes], tables: tuple[dict[int, TableAt], dict[int, TableAt]]
) -> bool:
    """Say whether a page is a table on both sides; where it is none, it may also be empty."""
    return all(
        len(page) == PAGE_SIZE_BYTES and (pfn in known or page == ZEROS)
        for page, known in zip(pages, tables, strict=True)
    )


def _entry_rows(
    pfn: int, table: TableAt, pages: tuple[bytes, bytes], mode: PagingMode
) -> Iterator[DiffRow]:
    level, base = table
    was, now = (_unpacked(page, level, mode) for page in pages)
    for index, (old, new) in enumerate(zip(was, now, strict=True)):
        if old != new:
            word = BORN if not old else DIED if not new else CHANGED
            virt = canonical(base + (index << level.shift), mode)
            where = f"{virt:#x}, entry {index} of table {pfn:#x}"
            yield DiffRow(
                PTES, word, level.name, where, *(entry_text(e, level, mode) for e in (old, new))
            )
    used = level.nr_entries * mode.entry_bytes
    if pages[0][used:] != pages[1][used:]:
        rest = [bytes(used) + page[used:] for page in pages]
        yield from _byte_rows(pfn, rest[0], rest[1])


def canonical(virt: int, mode: PagingMode) -> int:
    """Return an address as the CPU writes it, its sign bits and all."""
    if not mode.sign_top or not virt >> mode.sign_bit & 1:
        return virt
    return virt | mode.sign_top << mode.sign_bit


def entry_text(entry: int, level: PagingLevel, mode: PagingMode) -> str | None:
    """Return an entry as people read it: its value, the pfn and the names of its flags; None for 0."""
    if not entry:
        return None
    pfn = (entry & mode.pfn_mask) >> PAGE_SHIFT
    flags = "|".join(flag_names(entry, is_pte=level.shift == PAGE_SHIFT))
    return f"{entry:#x} pfn {pfn:#x} {flags}".rstrip()


def _byte_rows(pfn: int, was: object, now: object, virt: int | None = None) -> Iterator[DiffRow]:
    old, new = was if was is not None else ZEROS, now if now is not None else ZEROS
    change = change_of(old, new)
    title = f"page {pfn:#x}"
    if change is None:
        yield DiffRow(
            MEMORY, BORN if was is None else DIED, title, "written, and zeros as before", None, None
        )
        return
    if not isinstance(change, Patch):
        yield from leaf_rows(MEMORY, title, old, new)
        return
    for run in change.runs[:RUNS_MAX]:
        where = f"{title} +{run.at:#x}"
        if virt is not None:
            where = f"{virt + run.at:#x}, {where}"
        what = f"{len(run.now)} byte{'s' if len(run.now) > 1 else ''}"
        yield DiffRow(MEMORY, CHANGED, what, where, shown(run.was), shown(run.now))
    rest = change.runs[RUNS_MAX:]
    if rest:
        nr_bytes = sum(len(run.now) for run in rest)
        where = f"{title} +{rest[0].at:#x} and on"
        yield DiffRow(
            MEMORY, CHANGED, f"{nr_bytes} bytes", where, None, f"in {len(rest)} more runs"
        )


def table_rows(one: DiffSide, other: DiffSide, names: Sequence[str]) -> Iterator[NamedRow]:
    """Yield which pages became page tables and which are none any more."""
    sides = [
        cast("Sequence[int]", side.part(name)) or () for name in names for side in (one, other)
    ]
    for name, was, now in zip(names, sides[::2], sides[1::2], strict=True):
        for word, mine, yours, side in ((DIED, was, now, one), (BORN, now, was, other)):
            known = tables_of(side)
            gone = dict.fromkeys(yours)
            for pfn in (pfn for pfn in mine if pfn not in gone):
                at = known.get(pfn)
                what = f"{at.level.name} table" if at else "page table"
                where = f"for {canonical(at.virt, side.mode):#x}" if at else ""
                cells = (f"page {pfn:#x}", None) if word == DIED else (None, f"page {pfn:#x}")
                yield name, DiffRow(PTES, word, what, where, *cells)
        for row in order_rows(PTES, "page tables", was, now):
            yield name, row
