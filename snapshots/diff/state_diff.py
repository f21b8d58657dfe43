"""The structural diff of two states: a row for each thing that is not the same, what matters first.

    one, other ──► parts that differ ──► a reader for each kind of part ──► rows ──► a line that sums them up

Every difference is in some row: a part of which its reader had nothing to say gets the row "part X differs",
place by place. There are no rows just if the two states are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from snapshots.diff.chunks import chunk_rows
from snapshots.diff.figures import (
    call_rows,
    clock_rows,
    cpu_rows,
    log_rows,
    percpu_rows,
    tlb_rows,
)
from snapshots.diff.mappings import fixmap_rows, module_rows, vmalloc_rows
from snapshots.diff.pages import held_rows, page_list_rows, page_rows, slab_rows
from snapshots.diff.rows import (
    AREAS,
    BORN,
    CALLS,
    CHANGED,
    CHUNKS,
    COUNTERS,
    DIED,
    GROUPS,
    HINTS,
    LOG,
    MEMORY,
    MODULES,
    OTHER,
    POPULATION,
    PTES,
    SLAB,
    SYSTEM,
    TLBS,
    VMALLOC,
    ZONES,
    DiffRow,
    DiffSide,
    Reader,
    each_part,
    leaf_rows,
    shown,
)
from snapshots.diff.state_delta import is_equal
from snapshots.diff.system import system_rows
from snapshots.diff.tables import frame_rows, table_rows

READERS: dict[str, Reader] = {
    "chunk": chunk_rows,
    "system": system_rows,
    "tables": table_rows,
    "frame": frame_rows,
    "pages": each_part(page_rows),
    "page_lists": each_part(page_list_rows),
    "held_pages": each_part(held_rows),
    "slab": each_part(slab_rows),
    "vmalloc": each_part(vmalloc_rows),
    "module_space": each_part(vmalloc_rows),
    "modules": each_part(module_rows),
    "fixmap": each_part(fixmap_rows),
    "cpus": each_part(cpu_rows),
    "calls": each_part(call_rows),
    "percpu": each_part(percpu_rows),
    "clock": each_part(clock_rows),
    "tlb": each_part(tlb_rows),
    "log": each_part(log_rows),
}
"""By what stands before the point in a part's name; rows of one group come in this order."""

NOUNS = {
    AREAS: "area", CHUNKS: "chunk", SYSTEM: "part of the system", POPULATION: "page",
    PTES: "PTE", MEMORY: "run of bytes",
    ZONES: "block of pages", VMALLOC: "vmalloc area", SLAB: "slab", MODULES: "module",
    CALLS: "call", HINTS: "hint block", COUNTERS: "counter", TLBS: "translation", LOG: "line",
}  # fmt: skip
"""What one row of a group tells of."""
SINGLY_CHANGED = (SYSTEM, PTES, MEMORY, HINTS, COUNTERS, TLBS, LOG)
"""Groups in which a changed row is a changed noun; in others it is one of its many figures."""
WORDS = {(ZONES, BORN): "taken", (ZONES, DIED): "given back", (LOG, BORN): "printed"}


def diff_slices(one: DiffSide, other: DiffSide) -> Iterator[DiffRow | None]:
    """Yield the rows as they are found, None wherever the one who asks may breathe.

    Context: pure; the machines may go on meanwhile.
    """
    by_kind: dict[str, list[str]] = {}
    for name in {**one.parts, **other.parts}:
        if not _is_same(one, other, name):
            by_kind.setdefault(name.partition(".")[0], []).append(name)
        yield None
    for kind in (*READERS, *(each for each in by_kind if each not in READERS)):
        if kind in by_kind:
            yield from _rows_of_kind(one, other, kind, by_kind[kind])


def _is_same(one: DiffSide, other: DiffSide, name: str) -> bool:
    if name not in one.parts or name not in other.parts:
        return False
    return is_equal(one.parts[name], other.parts[name])


def _rows_of_kind(
    one: DiffSide, other: DiffSide, kind: str, names: Sequence[str]
) -> Iterator[DiffRow | None]:
    told: dict[str, None] = {}
    reader = READERS.get(kind)
    if reader is not None:
        for name, row in reader(one, other, names):
            told[name] = None
            yield row
    for name in names:
        if name not in told:
            yield from _rest_of(one, other, name)
        yield None


def _rest_of(one: DiffSide, other: DiffSide, name: str) -> Iterator[DiffRow]:
    was, now = one.parts.get(name), other.parts.get(name)
    what = f"part {name}"
    rows = list(leaf_rows(OTHER, what, was, now))
    yield from rows
    if not rows:  # it is there on one side only, and None
        yield DiffRow(OTHER, CHANGED, what, "is there on one side only", shown(was), shown(now))


def diff_states(one: DiffSide, other: DiffSide) -> tuple[DiffRow, ...]:
    """Return all rows, in order; none if the two states are the same."""
    return in_order(row for row in diff_slices(one, other) if row is not None)


def in_order(rows: Iterable[DiffRow]) -> tuple[DiffRow, ...]:
    """Return rows by their groups, what matters first; within one as they were found."""
    return tuple(sorted(rows, key=lambda row: GROUPS.index(row.group)))


def summary_of(rows: Sequence[DiffRow]) -> str:
    """Return `3 areas born, 1 area died, 2 pages populated, 7 counters changed`, or `the same`."""
    counts: dict[tuple[str, str], int] = {}
    for row in rows:
        key = (row.group, row.change)
        counts[key] = counts.get(key, 0) + _weight(row)
    return ", ".join(_counted(number, *key) for key, number in counts.items()) or "the same"


def _weight(row: DiffRow) -> int:
    """Return what a row counts for: a run of pages for as many pages."""
    if row.group != POPULATION:
        return 1
    return int(row.was or row.now or 0)


def _counted(number: int, group: str, change: str) -> str:
    noun = NOUNS.get(group)
    if noun is None or (change == CHANGED and group not in SINGLY_CHANGED):
        return f"{number} difference{'' if number == 1 else 's'} in {group}"
    first, *rest = noun.split(" ", 1) if " of " in noun else [noun]
    plural = noun if number == 1 else " ".join((f"{first}s", *rest))
    return f"{number} {plural} {WORDS.get((group, change), change)}"
