"""Zones, lists, holders and slabs side by side."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_sim.mm.buddy import Buddy
from kernel_sim.mm.gfp import GFP_KERNEL
from snapshots.diff.pages import held_rows, page_list_rows, page_rows, slab_rows
from snapshots.diff.rows import DiffRow
from snapshots.diff.state_delta import is_equal
from tests.kernel_sim.whole_machines import Whole


def pages_of(*buddies: Buddy, **more: object) -> dict[str, object]:
    zones = [{"name": "Normal", "node": n, "buddy": each.dump()} for n, each in enumerate(buddies)]
    return {"zones": zones, "numa_hit": [1, 2], "fail_after": -1} | more


def told(rows: list[DiffRow]) -> list[tuple[object, ...]]:
    return [row[1:] for row in rows]


def test_a_block_that_is_taken_is_told_with_what_it_left() -> None:
    one, other = Buddy(((0, 16),)), Buddy(((0, 16),))
    pfn = other.alloc(1)
    rows = told(list(page_rows("pages", pages_of(one), pages_of(other))))
    zone = "node 0 zone Normal"
    assert rows[0] == ("changed", "free pages", zone, 16, 14)
    assert ("changed", "free blocks of order 4", zone, 1, 0) in rows
    assert ("changed", "free blocks of order 1", zone, 0, 1) in rows
    where = f"pages {pfn:#x}-{pfn + 1:#x}, {zone}" if pfn is not None else ""
    assert rows[-1] == ("born", "taken block of order 1", where, None, "order 1")
    back = told(list(page_rows("pages", pages_of(other), pages_of(one))))
    assert back[-1] == ("died", "taken block of order 1", where, "order 1", None)


def test_neighbours_of_one_order_are_one_row() -> None:
    one, other = Buddy(((0, 16),)), Buddy(((0, 16),))
    for _ in range(4):
        other.alloc(0)
    rows = told(list(page_rows("pages", pages_of(one), pages_of(other))))
    assert [row[1] for row in rows if row[0] == "born"] == ["4 taken blocks of order 0"]


def test_the_same_blocks_in_another_order_are_told() -> None:
    state: dict[str, Any] = Buddy(((0, 3), (8, 11))).dump()  # type: ignore[assignment]
    turned = state | {"free_lists": [each[::-1] for each in state["free_lists"]]}
    zones = [[{"name": "DMA", "node": 0, "buddy": each}] for each in (state, turned)]
    rows = list(page_rows("pages", {"zones": zones[0]}, {"zones": zones[1]}))
    assert [row.what for row in rows] == [
        f"order of free blocks of order {order}, node 0 zone DMA" for order in (0, 1)
    ]


def test_blocks_that_were_taken_in_another_order_are_told() -> None:
    state: dict[str, Any] = Buddy(((0, 4),)).dump()  # type: ignore[assignment]
    zones = [
        [{"name": "DMA", "node": 0, "buddy": state | {"allocated": blocks}}]
        for blocks in ([(8, 0), (9, 0)], [(9, 0), (8, 0)])
    ]
    (row,) = list(page_rows("pages", {"zones": zones[0]}, {"zones": zones[1]}))
    assert row.what == "order of taken blocks, node 0 zone DMA"


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=8), st.lists(st.integers(0, 3), max_size=8))
def test_zones_have_rows_just_if_they_differ(was: list[int], now: list[int]) -> None:
    buddies = []
    for orders in (was, now):
        buddy = Buddy(((0, 64),))
        for order in orders:
            buddy.alloc(order)
        buddies.append(pages_of(buddy))
    rows = list(page_rows("pages", *buddies))
    assert bool(rows) == (not is_equal(*buddies))
    free = [sum(1 << order for order in orders) for orders in (was, now)]
    figures = [row for row in rows if row.what == "free pages"]
    assert bool(figures) == (free[0] != free[1])


def test_counters_and_what_has_no_words_are_told() -> None:
    buddy = Buddy(((0, 16),))
    other = pages_of(buddy, numa_hit=[1, 5], fail_after=7)
    assert told(list(page_rows("pages", pages_of(buddy), other))) == [
        ("changed", "numa_hit", "node 1", 2, 5),
        ("changed", "fail_after", "", -1, 7),
    ]
    assert list(page_rows("pages", pages_of(buddy), pages_of(buddy, buddy)))


def test_lists_of_cpus_are_told_by_cpu_zone_and_list() -> None:
    def lists(*pages: int, factor: int = 0) -> dict[str, object]:
        return {"lists": [[(2, [(list(pages), factor)])]], "numa": [[1, 2]], "profile": "6.1"}

    where = "cpu 2, zone 0, list 0"
    name = "page_lists"
    assert told(list(page_list_rows(name, lists(7), lists(7, 8)))) == [
        ("changed", "pages on a CPU's list", where, 1, 2)
    ]
    assert told(list(page_list_rows(name, lists(7), lists(8, factor=1)))) == [
        ("changed", "pages on a CPU's list", where, "0x7", "0x8"),
        ("changed", "free_factor", where, 0, 1),
    ]
    assert told(list(page_list_rows(name, lists(7), lists(7) | {"profile": "plain"}))) == [
        ("changed", "profile", "", "6.1", "plain")
    ]
    assert told(list(page_list_rows(name, lists(), lists() | {"numa": [[1, 3]]}))) == [
        ("changed", "numa counters", "zone 0", "(1, 2)", "(1, 3)")
    ]


def test_blocks_that_callers_keep() -> None:
    rows = told(list(held_rows("held_pages", ((16, 1), (32, 0)), ((16, 2), (64, 0)))))
    what = "block kept by its caller"
    assert rows == [
        ("changed", what, "page 0x10", "order 1", "order 2"),
        ("died", what, "page 0x20", "order 0", None),
        ("born", what, "page 0x40", None, "order 0"),
    ]
    assert [row.what for row in held_rows("held_pages", ((1, 0), (2, 0)), ((2, 0), (1, 0)))] == [
        f"order of each {what}"
    ]


def test_a_slab_is_born_and_filled() -> None:
    whole = Whole()
    states = [whole.machine.slab.dump()]
    for _ in range(2):
        whole.call("kmalloc_node", 100, GFP_KERNEL, 0)
        states.append(whole.machine.slab.dump())
    born = [row for row in slab_rows("slab", states[0], states[1]) if row.change == "born"]
    assert [row.what for row in born][:1] == ["slab of 1 pages"]
    filled = list(slab_rows("slab", states[1], states[2]))
    assert ("objects in use", 1, 2) in [(row.what, row.was, row.now) for row in filled]
    assert next(iter(slab_rows("slab", states[0], dict(states[0]) | {"large": [(8, 3)]})))[1:] == (
        "born", "large object", "page 0x8", None, "order 3",
    )  # fmt: skip
