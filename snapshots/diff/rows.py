"""What a structural diff is made of: two sides, and a row for everything that is not the same on both.

    group     change   what            where                     was    now
    areas     born     64-byte area    chunk 1 +0x140            -      pcpu_alloc from f+0x1
    zones     changed  free pages      node 0 zone Normal        31020  31004

A reader (diff_chunks.py, diff_tables.py, …) knows one kind of part and yields such rows. What it has no
words for goes through leaf_rows(), which names the place in the part and never misses a difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias, cast

from kernel_sim.machine import Machine
from kernel_sim.machine_state import Parts
from kernel_sim.mm.paging_modes import PagingMode
from kernel_sim.optional_parts import TLB_PREFIX
from snapshots.diff.state_delta import (
    MAP,
    Change,
    Inside,
    Patch,
    Swap,
    change_of,
    is_equal,
    members_of,
)

BORN, DIED, MOVED, CHANGED = "born", "died", "moved", "changed"
POPULATED, DEPOPULATED = "populated", "depopulated"

AREAS, CHUNKS, SYSTEM = "areas", "chunks", "per-CPU system"
POPULATION, PTES = "chunk pages", "page tables"
MEMORY, ZONES, PAGE_LISTS, SLAB = "memory", "zones", "page lists", "slab"
VMALLOC, MODULES, CPUS, CALLS = "vmalloc", "modules", "CPUs", "calls"
HINTS, COUNTERS, TLBS, LOG, OTHER = "hints", "counters", "TLBs", "kernel log", "other"
GROUPS = (
    AREAS, CHUNKS, SYSTEM, POPULATION, PTES, MEMORY, ZONES, PAGE_LISTS, SLAB, VMALLOC, MODULES, CPUS, CALLS,
    HINTS, COUNTERS, TLBS, LOG, OTHER,
)  # fmt: skip
"""In the order in which rows are shown: what people look for first."""

SHOWN_BYTES = 16
SHOWN_CHARS = 72
Shown: TypeAlias = "int | str | None"


class DiffRow(NamedTuple):
    """One thing that is not the same on both sides; was and now are None where there is nothing."""

    group: str
    change: str
    what: str
    where: str
    was: Shown
    now: Shown


class AreaName(NamedTuple):
    """What makes an allocation the same one in two runs: who asked, for how much, the how-manieth time."""

    call_site: str
    size_bytes: int
    ordinal: int


@dataclass(frozen=True, slots=True)
class DiffSide:
    """One of two states, and what is fixed about the machine it is of.

    boot_parts: what stands for an optional part that is absent. area_names: by address in unit 0, of
    areas born after the two runs parted; empty if the two sides are of one run. live_areas, first_copies: of
    a system without the bitmap allocator's chunks, by ptr: size, and where the first CPU's copy is.
    """

    parts: Parts
    boot_parts: Mapping[str, object]
    root_pfn: int
    mode: PagingMode
    area_names: Mapping[int, AreaName] = field(default_factory=dict)
    live_areas: Mapping[int, int] = field(default_factory=dict)
    first_copies: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls, machine: Machine, parts: Parts, area_names: Mapping[int, AreaName] | None = None
    ) -> DiffSide:
        """Return the side for a machine's state; what is kept does not change when the machine goes on."""
        space = machine.space
        boot_parts = dict(machine.boot_parts)
        system = machine.system
        areas = dict(system.live_areas()) if machine.bitmap is None else {}
        cpu = machine.topology.possible[0]
        copies = {ptr: system.copy_addr(ptr, cpu) or 0 for ptr in areas}
        return cls(parts, boot_parts, space.root_pfn, space.mode, area_names or {}, areas, copies)

    def part(self, name: str) -> object:
        """Return a part; for an absent optional one what boot made it, for any other None."""
        key = TLB_PREFIX if name.startswith(TLB_PREFIX) else name
        return self.parts[name] if name in self.parts else self.boot_parts.get(key)


NamedRow: TypeAlias = tuple[str, DiffRow]
Reader: TypeAlias = Callable[[DiffSide, DiffSide, Sequence[str]], Iterator[NamedRow]]
"""Reads the parts of these names, all of which differ; each row comes with the part it is about."""


def each_part(read: Callable[[str, object, object], Iterable[DiffRow]]) -> Reader:
    """Return the reader that reads each part for itself."""

    def reader(one: DiffSide, other: DiffSide, names: Sequence[str]) -> Iterator[NamedRow]:
        for name in names:
            for row in read(name, one.part(name), other.part(name)):
                yield name, row

    return reader


# -- values ----------------------------------------------------------------------------------------


def shown(value: object) -> Shown:
    """Return a value as a cell: numbers and short texts as they are, all else as a short text."""
    if value is None or (type(value) is int and abs(value) < 1 << 63):
        return value
    if isinstance(value, bytes):
        dots = "…" if len(value) > SHOWN_BYTES else ""
        return value[:SHOWN_BYTES].hex(" ") + dots
    text = value if isinstance(value, str) else repr(_as_tuples(value))
    return text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 1] + "…"


def _as_tuples(value: object) -> object:
    return tuple(map(_as_tuples, value)) if isinstance(value, list | tuple) else value


def change_word(was: object, now: object) -> str:
    """Return born, died or changed for a thing that is None where it is not."""
    if was is None:
        return BORN
    return DIED if now is None else CHANGED


# -- rows ------------------------------------------------------------------------------------------


def leaf_rows(group: str, what: str, was: object, now: object) -> Iterator[DiffRow]:
    """Yield a row for every place within a value that differs: the reader for what has no words."""
    change = change_of(was, now)
    if change is not None:
        yield from _leaves(group, what, (was, now), change, "")


def _leaves(
    group: str, what: str, sides: tuple[object, object], change: Change, where: str
) -> Iterator[DiffRow]:
    if isinstance(change, Swap):
        word = change_word(*change)
        yield DiffRow(group, word, what, where, shown(change.was), shown(change.now))
        return
    if isinstance(change, Patch):
        for run in change.runs:
            yield DiffRow(
                group, CHANGED, what, f"{where}+{run.at:#x}", shown(run.was), shown(run.now)
            )
        return
    was, now = (members_of(side) or ("", ()) for side in sides)
    for edit in change.edits:
        if isinstance(edit, Inside):
            inner = (was[1][edit.at_was], now[1][edit.at_now])
            yield from _leaves(group, what, inner, edit.change, f"{where}[{edit.at_was}]")
            continue
        place = f"{where}[{edit.at_was}]"
        yield from _member_rows(group, what, place, change.kind, edit.was, edit.now)


def _member_rows(
    group: str, what: str, where: str, kind: str, was: tuple[object, ...], now: tuple[object, ...]
) -> Iterator[DiffRow]:
    """Yield the rows of members that were replaced: a map's by their keys."""
    if kind != MAP:
        texts = tuple(
            None if not each else shown(each[0] if len(each) == 1 else each) for each in (was, now)
        )
        word = BORN if not was else DIED if not now else CHANGED
        yield DiffRow(group, word, what, where, *texts)
        return
    old, new = pairs_of(was), pairs_of(now)
    for key in {**old, **new}:
        was_value, now_value = old.get(key), new.get(key)
        if not is_equal(was_value, now_value) or (key in old) != (key in new):
            word = BORN if key not in old else DIED if key not in new else CHANGED
            yield DiffRow(group, word, what, str(key), shown(was_value), shown(now_value))
    if list(old) != list(new) and sorted(map(str, old)) == sorted(map(str, new)):
        yield DiffRow(group, CHANGED, what, f"{where} order", shown(list(old)), shown(list(new)))


def field_rows(
    group: str, where: str, names: Sequence[str], was: object, now: object
) -> Iterator[DiffRow]:
    """Yield a row for every field that differs, by its name; a row of another length by its places."""
    old, new = members_of(was), members_of(now)
    if old is None or new is None or not len(old[1]) == len(new[1]) == len(names):
        yield from leaf_rows(group, where, was, now)
        return
    for name, was_field, now_field in zip(names, old[1], new[1], strict=True):
        if not is_equal(was_field, now_field):
            word = change_word(was_field, now_field)
            yield DiffRow(group, word, name, where, shown(was_field), shown(now_field))


class Kept(NamedTuple):
    """How the things of a keyed list read: fields by name, what one is called, and where it is."""

    group: str
    names: tuple[str, ...]
    what: Callable[[object, tuple[object, ...]], str]
    where: Callable[[object, tuple[object, ...]], str]
    brief: Callable[[tuple[object, ...]], str]


def keyed_rows(
    kept: Kept, was: Mapping[object, tuple[object, ...]], now: Mapping[object, tuple[object, ...]]
) -> Iterator[DiffRow]:
    """Yield what was born, what died, and the fields that changed of what stayed, by key."""
    for key, row in was.items():
        if key not in now:
            what, where = kept.what(key, row), kept.where(key, row)
            yield DiffRow(kept.group, DIED, what, where, kept.brief(row), None)
    for key, row in now.items():
        what, where = kept.what(key, row), kept.where(key, row)
        if key not in was:
            yield DiffRow(kept.group, BORN, what, where, None, kept.brief(row))
        elif not is_equal(was[key], row):
            place = f"{what} {where}".strip()
            yield from field_rows(kept.group, place, kept.names, was[key], row)


def pairs_of(rows: object) -> dict[object, object]:
    """Return what a list of (key, value) rows says, by key; nothing for no list."""
    pairs = cast("Iterable[tuple[object, object]]", rows or ())
    return {key: value for key, value in pairs}  # noqa: C416 - dict() does not type-check here


def order_rows(
    group: str, what: str, was: Iterable[object], now: Iterable[object]
) -> Iterator[DiffRow]:
    """Yield a row if the same members stand in another order."""
    old, new = list(was), list(now)
    if old != new and sorted(map(repr, old)) == sorted(map(repr, new)):
        yield DiffRow(group, CHANGED, f"order of {what}", "", shown(old), shown(new))


def runs_of(numbers: Iterable[int], step: int = 1) -> Iterator[tuple[int, int]]:
    """Yield (first, last) of each run of numbers that follow one another, lowest first."""
    first = last = None
    for number in sorted(numbers):
        if last is not None and number == last + step:
            last = number
            continue
        if first is not None and last is not None:
            yield first, last
        first = last = number
    if first is not None and last is not None:
        yield first, last
