"""One unit of a chunk as stretches: its areas, and between them what is free or has no pages.

areas        [ static ][ area ]        [ area ]
populated     page 0    page 1   page 2   -       -
stretches    [ static ][ area ][free ][ area ][ hole …  ]
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.percpu.stretch import FREE, HOLE, Stretch


@dataclass(frozen=True, slots=True)
class UnitArea:
    """An area of a unit, by its offset in the unit; ptr 0 for what nobody asked for."""

    offset_bytes: int
    size_bytes: int
    kind: str
    what: str
    ptr: int = 0


def unit_stretches(
    unit: Stretch, areas: Iterable[UnitArea], populated: int, first_offset_bytes: int = 0
) -> Iterator[Stretch]:
    """Yield the stretches of a unit, ascending and without a gap.

    unit: the whole unit, of which strip, cpu, node and owns_pages are taken. areas: ascending. populated: bit
    i is set if page i is backed. first_offset_bytes: where the part that is described begins.
    """
    at = first_offset_bytes
    for area in areas:
        if area.offset_bytes > at:
            yield from _gap(unit, at, area.offset_bytes, populated)
        yield replace(
            unit,
            addr=unit.addr + area.offset_bytes,
            size_bytes=area.size_bytes,
            kind=area.kind,
            what=area.what,
            ptr=area.ptr,
        )
        at = area.offset_bytes + area.size_bytes
    if at < unit.size_bytes:
        yield from _gap(unit, at, unit.size_bytes, populated)


def _gap(unit: Stretch, start: int, end: int, populated: int) -> Iterator[Stretch]:
    """Yield a free stretch in pieces, one for each run of pages that are backed or not."""
    at = start
    while at < end:
        backed = populated >> (at >> PAGE_SHIFT) & 1
        upto = (at >> PAGE_SHIFT) + 1
        while upto << PAGE_SHIFT < end and populated >> upto & 1 == backed:
            upto += 1
        stop = min(upto * PAGE_SIZE_BYTES, end)
        kind, what = (FREE, "free") if backed else (HOLE, "no pages yet")
        yield replace(unit, addr=unit.addr + at, size_bytes=stop - at, kind=kind, what=what, ptr=0)
        at = stop
