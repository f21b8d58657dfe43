"""Everything that counts in two states side by side: clock, work, the allocator's figures, CPUs, TLBs.

And what is under way: calls of CPUs, and the lines that the kernel has printed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias, cast

from kernel_sim.mm.paging import flag_names
from kernel_sim.mm.tlb_profiles import TLB_PROFILES
from kernel_sim.percpu.state import PERCPU_SCALARS, STATISTICS
from snapshots.diff.rows import (
    BORN,
    CALLS,
    CHANGED,
    CHUNKS,
    COUNTERS,
    CPUS,
    DIED,
    LOG,
    TLBS,
    DiffRow,
    Kept,
    change_word,
    field_rows,
    keyed_rows,
    leaf_rows,
    order_rows,
    shown,
)
from snapshots.diff.state_delta import is_equal

Fields: TypeAlias = "tuple[object, ...]"
State: TypeAlias = "Mapping[str, object]"
CLOCK = ("step", "scheduler", "kworker queued on cpu", "work requests", "fault")
SCHEDULER = ("last cpu", "lowest priority", "priorities", "random state")
PERCPU = ("scalars", "statistics", "chunks", "lists", "pcpu_lock holder", "pcpu_alloc_mutex holder")
CPU_FIELDS = ("online", "hotplug_state", "stack_pfn")
LINES_OF_CALLS = ("on the CPU", "waiting", "interrupts")
CALL_FIELDS = (
    "name", "args", "context", "resumed", "waits for", "park_at", "parked", "call stack",
)  # fmt: skip
NOT_THERE: State = {}


def clock_rows(name: str, was: object, now: object) -> Iterator[DiffRow]:
    """Yield what is not the same in part `clock`."""
    old, new = cast("Fields", was or ()), cast("Fields", now or ())
    if not len(old) == len(new) == len(CLOCK):
        yield from leaf_rows(COUNTERS, "clock", was, now)
        return
    for field, before, after in zip(CLOCK, old, new, strict=True):
        if field == "scheduler":
            yield from field_rows(COUNTERS, "scheduler", SCHEDULER, before, after)
        elif not is_equal(before, after):
            cells = (None if side == () else shown(side) for side in (before, after))
            yield DiffRow(COUNTERS, CHANGED, field, "", *cells)


def percpu_rows(name: str, was: object, now: object) -> Iterator[DiffRow]:
    """Yield what is not the same in part `percpu`: all but the chunks themselves."""
    old, new = cast("Fields", was or ()), cast("Fields", now or ())
    if not len(old) == len(new) == len(PERCPU):
        yield from leaf_rows(COUNTERS, "per-CPU allocator", was, now)
        return
    yield from field_rows(COUNTERS, "per-CPU allocator", PERCPU_SCALARS, old[0], new[0])
    yield from field_rows(COUNTERS, "percpu_stats", STATISTICS, old[1], new[1])
    if not is_equal(old[2], new[2]):
        cells = shown(old[2]), shown(new[2])
        yield DiffRow(CHUNKS, CHANGED, "chunks in order of birth", "", *cells)
    yield from _slot_rows(*(cast("Sequence[object]", side[3]) for side in (old, new)))
    yield from field_rows(CALLS, "per-CPU allocator", PERCPU[4:], old[4:], new[4:])


def _slot_rows(was: Sequence[object], now: Sequence[object]) -> Iterator[DiffRow]:
    """Yield the lists of chunks that differ; a machine with other units has another number of them."""
    for slot in range(max(len(was), len(now))):
        before = was[slot] if slot < len(was) else None
        after = now[slot] if slot < len(now) else None
        if not is_equal(before, after):
            yield DiffRow(
                CHUNKS, CHANGED, f"list {slot}", "chunks by free space", shown(before), shown(after)
            )


def log_rows(name: str, was: object, now: object) -> Iterator[DiffRow]:
    """Yield the lines that were printed on one side only, and those that are not the same."""
    old, new = cast("Sequence[object]", was or ()), cast("Sequence[object]", now or ())
    for number in range(max(len(old), len(new))):
        before = old[number] if number < len(old) else None
        after = new[number] if number < len(new) else None
        if before is after or is_equal(before, after):
            continue
        word = BORN if before is None else DIED if after is None else CHANGED
        yield DiffRow(LOG, word, f"line {number + 1}", "", _line(before), _line(after))


def _line(line: object) -> str | None:
    if line is None:
        return None
    level, text = cast("tuple[int, str]", line)
    return str(shown(f"<{level}>{text}"))


# -- CPUs ------------------------------------------------------------------------------------------

KEPT_CPUS = Kept(
    CPUS, CPU_FIELDS,
    what=lambda key, row: f"cpu {key}",
    where=lambda key, row: "",
    brief=lambda row: f"online {row[0]}, step {row[1]} of hotplug",
)  # fmt: skip


def cpu_rows(name: str, was: object, now: object) -> Iterator[DiffRow]:
    """Yield what is not the same in part `cpus`: who is online, and how far up."""
    old, new = cast("Fields", was or ((), (), ())), cast("Fields", now or ((), (), ()))
    sides = [
        {row[0]: tuple(row[1:]) for row in cast("Sequence[Fields]", side[0])} for side in (old, new)
    ]
    yield from keyed_rows(KEPT_CPUS, *sides)
    yield from order_rows(CPUS, "CPUs", *sides)
    yield from leaf_rows(CPUS, "nodes that are not there yet", old[1], new[1])
    yield from leaf_rows(CPUS, "told to fail: cpu and step", old[2], new[2])


def call_rows(name: str, was: object, now: object) -> Iterator[DiffRow]:
    """Yield the calls that are under way on one side only, and where the others stand."""
    old, new = (_calls(cast("Sequence[Fields]", side or ())) for side in (was, now))
    for key in {**old, **new}:
        before, after = old.get(key), new.get(key)
        if is_equal(before, after):
            continue
        if before is None or after is None:
            word = BORN if before is None else DIED
            where = f"cpu {key[0]}, {key[1]}"
            yield DiffRow(CALLS, word, f"call {key[2]}", where, _call(before), _call(after))
        else:
            title = f"{_call(after)} of cpu {key[0]}"
            yield from field_rows(CALLS, title, CALL_FIELDS, before, after)


def _calls(rows: Sequence[Fields]) -> dict[tuple[int, str, int], Fields]:
    """Return the calls by CPU, where they stand in line, and their number there."""
    return {
        (cast("int", cpu), where, number): call
        for cpu, *lines in rows
        for where, line in zip(LINES_OF_CALLS, lines, strict=False)
        for number, call in enumerate(cast("Sequence[Fields]", line))
    }


def _call(call: Fields | None) -> str | None:
    if call is None:
        return None
    frames = cast("Sequence[str]", call[-1]) if call else ()
    return " > ".join(map(str, frames)) or str(call[0])


# -- TLBs ------------------------------------------------------------------------------------------


def tlb_rows(name: str, was: object, now: object) -> Iterator[DiffRow]:
    """Yield what is not the same in a CPU's TLB: translations that came, went or changed; counters."""
    cpu = f"cpu {name.partition('.')[2]}"
    old, new = cast("State", was or NOT_THERE), cast("State", now or NOT_THERE)
    arrays = _array_names(new.get("profile", old.get("profile")))
    old_entries, new_entries = (_translations(side) for side in (old, new))
    for at in {**old_entries, **new_entries}:
        before, after = old_entries.get(at), new_entries.get(at)
        if before != after:
            where = f"{cpu} {arrays.get(at[0], f'array {at[0]}')}, set {at[1]}"
            cells = _translation(before), _translation(after)
            yield DiffRow(TLBS, change_word(*cells), f"{at[2]:#x}", where, *cells)
    yield from order_rows(TLBS, f"translations of {cpu}", old_entries, new_entries)
    yield from _tlb_counter_rows(f"TLB of {cpu}", old.get("counters"), new.get("counters"))
    for key in {**old, **new}:
        if key not in ("sets", "counters"):
            yield from leaf_rows(TLBS, f"{key} of {cpu}", old.get(str(key)), new.get(str(key)))


def _array_names(profile: object) -> dict[int, str]:
    known = TLB_PROFILES.get(str(profile))
    return {number: each.name for number, each in enumerate(known.arrays)} if known else {}


def _translation(entry: tuple[int, int] | None) -> str | None:
    if entry is None:
        return None
    return f"pfn {entry[0]:#x} {'|'.join(flag_names(entry[1], is_pte=True))}"


def _tlb_counter_rows(title: str, was: object, now: object) -> Iterator[DiffRow]:
    old, new = cast("State", was or NOT_THERE), cast("State", now or NOT_THERE)
    if list(old) == list(new):
        values = tuple(old.values()), tuple(new.values())
        yield from field_rows(COUNTERS, title, tuple(old), *values)
    else:
        yield from leaf_rows(COUNTERS, title, was, now)


def _translations(tlb: State) -> dict[tuple[int, int, int, int], tuple[int, int]]:
    sets = cast(
        "Sequence[tuple[int, int, Sequence[tuple[int, int, int, int]]]]", tlb.get("sets", ())
    )
    return {
        (level, index, virt, shift): (pfn, flags)
        for level, index, entries in sets
        for virt, shift, pfn, flags in entries
    }
