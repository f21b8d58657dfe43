"""The page allocator of two states side by side: zones, free lists, CPUs' lists, who holds pages, slabs.

free pages      of a zone, and how many free blocks of each order
blocks          taken (born) or given back (died); neighbours of one order are one row
order of …      the same blocks in another order: what is given out next differs all the same
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias, cast

from snapshots.diff.rows import (
    BORN,
    CHANGED,
    COUNTERS,
    DIED,
    PAGE_LISTS,
    SLAB,
    ZONES,
    DiffRow,
    Kept,
    keyed_rows,
    leaf_rows,
    order_rows,
    pairs_of,
    runs_of,
    shown,
)
from snapshots.diff.state_delta import is_equal

State: TypeAlias = "Mapping[str, object]"
Rows: TypeAlias = "Sequence[tuple[int, ...]]"
NODE_COUNTERS = ("numa_hit", "numa_miss", "numa_foreign")
SLAB_FIELDS = ("class", "node", "order", "objects in use", "free list")
NOT_THERE: State = {}

SLABS = Kept(
    SLAB, SLAB_FIELDS,
    what=lambda key, row: f"slab of {1 << cast('int', row[2])} pages",
    where=lambda key, row: f"page {key:#x}",
    brief=lambda row: f"class {row[0]}, node {row[1]}, {row[3]} objects in use",
)  # fmt: skip
PARTIAL = Kept(
    SLAB, ("slabs",),
    what=lambda key, row: "partial list",
    where=lambda key, row: f"class, node {shown(key)}",
    brief=lambda row: str(shown(row[0])),
)  # fmt: skip


def page_rows(name: str, was: object, now: object) -> Iterator[DiffRow]:
    """Yield what is not the same in part `pages`."""
    old, new = cast("State", was or NOT_THERE), cast("State", now or NOT_THERE)
    old_zones, new_zones = _zones(old), _zones(new)
    if list(old_zones) != list(new_zones):
        yield from leaf_rows(ZONES, "zones", old.get("zones"), new.get("zones"))
    else:
        for title, zone in old_zones.items():
            yield from _zone_rows(title, zone, new_zones[title])
    for key in NODE_COUNTERS:
        yield from _by_number(COUNTERS, key, "node", old.get(key), new.get(key))
    for key in _other_keys(old, new, ("zones", *NODE_COUNTERS)):
        yield from leaf_rows(ZONES, key, old.get(key), new.get(key))


def _other_keys(old: State, new: State, known: tuple[str, ...]) -> Iterable[str]:
    return (key for key in {**old, **new} if key not in known)


def _zones(pages: State) -> dict[str, State]:
    zones = cast("Sequence[Mapping[str, State]]", pages.get("zones", ()))
    return {f"node {zone['node']} zone {zone['name']}": zone["buddy"] for zone in zones}


def _zone_rows(title: str, was: State, now: State) -> Iterator[DiffRow]:
    old_free, new_free = _nr_free_pages(was), _nr_free_pages(now)
    if old_free != new_free:
        yield DiffRow(ZONES, CHANGED, "free pages", title, old_free, new_free)
    old_lists, new_lists = (cast("Rows", side["free_lists"]) for side in (was, now))
    if len(old_lists) == len(new_lists):
        for order, (before, after) in enumerate(zip(old_lists, new_lists, strict=True)):
            yield from _free_list_rows(order, title, before, after)
    else:
        yield from leaf_rows(ZONES, f"free lists of {title}", old_lists, new_lists)
    yield from _block_rows(title, was, now)
    for key in _other_keys(was, now, ("free_lists", "allocated")):
        yield from leaf_rows(ZONES, f"{key} pages of {title}", was.get(key), now.get(key))


def _nr_free_pages(buddy: State) -> int:
    untouched = cast("Rows", buddy["untouched"])
    listed = sum(len(pfns) << order for order, pfns in enumerate(cast("Rows", buddy["free_lists"])))
    return listed + sum(end - start for start, end in untouched)


def _free_list_rows(
    order: int, title: str, was: Sequence[int], now: Sequence[int]
) -> Iterator[DiffRow]:
    what = f"free blocks of order {order}"
    if len(was) != len(now):
        yield DiffRow(ZONES, CHANGED, what, title, len(was), len(now))
        return
    old, new = dict.fromkeys(was), dict.fromkeys(now)
    left = [pfn for pfn in was if pfn not in new]
    came = [pfn for pfn in now if pfn not in old]
    if left:
        yield DiffRow(ZONES, CHANGED, what, title, _pfns(left), _pfns(came))
        return
    yield from order_rows(ZONES, f"{what}, {title}", was, now)


def _pfns(pfns: Iterable[int]) -> str:
    return str(shown(", ".join(f"{pfn:#x}" for pfn in pfns)))


def _block_rows(title: str, was: State, now: State) -> Iterator[DiffRow]:
    """Yield the blocks taken and given back, and those that were split or grew."""
    old, new = (_orders(side["allocated"]) for side in (was, now))
    for word, mine, yours in ((DIED, old, new), (BORN, new, old)):
        by_order: dict[int, list[int]] = {}
        for pfn, order in mine.items():
            if yours.get(pfn) != order:
                by_order.setdefault(order, []).append(pfn)
        for order, pfns in sorted(by_order.items()):
            for first, last in runs_of(pfns, 1 << order):
                yield _block_row(word, order, first, last, title)
    yield from order_rows(ZONES, f"taken blocks, {title}", old.items(), new.items())
    if list(old.items()) == list(new.items()):
        yield from leaf_rows(ZONES, f"taken blocks of {title}", was["allocated"], now["allocated"])


def _orders(blocks: object) -> dict[int, int]:
    """Return the order of each block by its first page."""
    return cast("dict[int, int]", pairs_of(blocks))


def _block_row(word: str, order: int, first: int, last: int, title: str) -> DiffRow:
    nr_blocks = (last - first >> order) + 1
    end = last + (1 << order) - 1
    pages = f"page {first:#x}" if first == end else f"pages {first:#x}-{end:#x}"
    what = "taken block" if nr_blocks == 1 else f"{nr_blocks} taken blocks"
    text = f"order {order}"
    cells = (text, None) if word == DIED else (None, text)
    return DiffRow(ZONES, word, f"{what} of order {order}", f"{pages}, {title}", *cells)


def _by_number(group: str, what: str, noun: str, was: object, now: object) -> Iterator[DiffRow]:
    """Yield counters that differ, of lists with one for each node, zone or CPU."""
    old, new = (cast("Sequence[object]", side or ()) for side in (was, now))
    if len(old) != len(new):
        yield from leaf_rows(group, what, was, now)
        return
    for number, (before, after) in enumerate(zip(old, new, strict=True)):
        if not is_equal(before, after):
            yield DiffRow(group, CHANGED, what, f"{noun} {number}", shown(before), shown(after))


# -- lists of pages --------------------------------------------------------------------------------


def page_list_rows(name: str, was: object, now: object) -> Iterator[DiffRow]:
    """Yield what is not the same in part `page_lists`: the pages that CPUs keep for themselves."""
    old, new = cast("State", was or NOT_THERE), cast("State", now or NOT_THERE)
    old_lists, new_lists = (_cpu_lists(side) for side in (old, new))
    for place in {**old_lists, **new_lists}:
        was_list, now_list = (side.get(place, ((), 0)) for side in (old_lists, new_lists))
        yield from _cpu_list_rows(place, was_list, now_list)
    if old_lists == new_lists:
        yield from leaf_rows(PAGE_LISTS, "lists", old.get("lists"), new.get("lists"))
    old_numa, new_numa = (cast("Sequence[object]", side.get("numa", ())) for side in (old, new))
    yield from _by_number(COUNTERS, "numa counters", "zone", old_numa, new_numa)
    for key in _other_keys(old, new, ("lists", "numa")):
        yield from leaf_rows(PAGE_LISTS, key, old.get(key), new.get(key))


def _cpu_lists(state: State) -> dict[tuple[int, int, int], tuple[Sequence[int], int]]:
    zones = cast(
        "Sequence[Sequence[tuple[int, Sequence[tuple[Sequence[int], int]]]]]",
        state.get("lists", ()),
    )
    return {
        (zone, cpu, kind): (tuple(pages), free_factor)
        for zone, cpus in enumerate(zones)
        for cpu, lists in cpus
        for kind, (pages, free_factor) in enumerate(lists)
    }


def _cpu_list_rows(
    key: tuple[int, int, int], was: tuple[Sequence[int], int], now: tuple[Sequence[int], int]
) -> Iterator[DiffRow]:
    zone, cpu, kind = key
    where = f"cpu {cpu}, zone {zone}, list {kind}"
    if len(was[0]) != len(now[0]):
        yield DiffRow(PAGE_LISTS, CHANGED, "pages on a CPU's list", where, len(was[0]), len(now[0]))
    elif was[0] != now[0]:
        yield DiffRow(
            PAGE_LISTS, CHANGED, "pages on a CPU's list", where, _pfns(was[0]), _pfns(now[0])
        )
    if not is_equal(was[1], now[1]):
        yield DiffRow(PAGE_LISTS, CHANGED, "free_factor", where, was[1], now[1])


# -- who has pages ---------------------------------------------------------------------------------


def held_rows(name: str, was: object, now: object) -> Iterator[DiffRow]:
    """Yield what is not the same in part `held_pages`: blocks that alloc_pages() calls keep."""
    yield from _holding_rows(ZONES, "block kept by its caller", was, now)


def _holding_rows(group: str, what: str, was: object, now: object) -> Iterator[DiffRow]:
    old, new = (_orders(side) for side in (was, now))
    for pfn in {**old, **new}:
        before, after = old.get(pfn), new.get(pfn)
        if not is_equal(before, after):
            word = BORN if before is None else DIED if after is None else CHANGED
            texts = (None if order is None else f"order {order}" for order in (before, after))
            yield DiffRow(group, word, what, f"page {pfn:#x}", *texts)
    yield from order_rows(group, f"each {what}", old, new)


def slab_rows(name: str, was: object, now: object) -> Iterator[DiffRow]:
    """Yield what is not the same in part `slab`."""
    old, new = cast("State", was or NOT_THERE), cast("State", now or NOT_THERE)
    sides = [
        {row[0]: tuple(row[1:]) for row in cast("Rows", side.get("slabs", ()))}
        for side in (old, new)
    ]
    yield from keyed_rows(SLABS, *cast("list[dict[object, tuple[object, ...]]]", sides))
    yield from order_rows(SLAB, "slabs", *sides)
    partial = [
        {tuple(row[:-1]): (row[-1],) for row in cast("Rows", side.get("partial", ()))}
        for side in (old, new)
    ]
    yield from keyed_rows(PARTIAL, *cast("list[dict[object, tuple[object, ...]]]", partial))
    yield from _holding_rows(SLAB, "large object", old.get("large"), new.get("large"))
    for key in _other_keys(old, new, ("slabs", "partial", "large")):
        yield from leaf_rows(SLAB, key, old.get(key), new.get(key))
