"""Rows for what has no words of its own: every place that differs, by its path."""

from __future__ import annotations

from hypothesis import given, settings

from kernel_sim.machine_state import dump_parts
from snapshots.diff.rows import (
    DiffRow,
    DiffSide,
    Kept,
    each_part,
    field_rows,
    keyed_rows,
    leaf_rows,
    order_rows,
    pairs_of,
    runs_of,
    shown,
)
from snapshots.diff.state_delta import is_equal
from tests.kernel_sim.whole_machines import Whole
from tests.snapshots.diff.test_state_delta import TREES

THINGS = Kept(
    "slab", ("size", "node"),
    what=lambda key, row: f"thing {key}", where=lambda key, row: f"node {row[1]}",
    brief=lambda row: f"{row[0]} bytes",
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(TREES, TREES)
def test_there_is_a_leaf_row_just_if_two_values_differ(was: object, now: object) -> None:
    assert bool(list(leaf_rows("other", "it", was, now))) == (not is_equal(was, now))


def test_leaf_rows_name_the_place() -> None:
    was = {"zones": ({"name": "x" * 80, "pages": (1, 2)},), "gone": 1}
    now = {"zones": ({"name": "x" * 80, "pages": (1, 3, 4)},), "fresh": b"\x01"}
    rows = [row[1:] for row in leaf_rows("zones", "it", was, now)]
    assert ("died", "it", "gone", 1, None) in rows
    assert ("born", "it", "fresh", None, "01") in rows
    assert any(place.endswith("pages") for _, _, place, _, _ in rows)


def test_fields_are_named_and_a_row_of_another_length_goes_by_places() -> None:
    rows = list(field_rows("counters", "cpu 1", ("a", "b"), (1, 2), (1, 3)))
    assert rows == [DiffRow("counters", "changed", "b", "cpu 1", 2, 3)]
    assert [row.where for row in field_rows("counters", "cpu 1", ("a", "b"), (1,), (1, 3))] == [
        "[1]"
    ]


def test_kept_things_are_born_die_and_change() -> None:
    rows = list(keyed_rows(THINGS, {1: (8, 0), 2: (16, 0)}, {2: (32, 0), 3: (64, 1)}))
    assert rows == [
        DiffRow("slab", "died", "thing 1", "node 0", "8 bytes", None),
        DiffRow("slab", "changed", "size", "thing 2 node 0", 16, 32),
        DiffRow("slab", "born", "thing 3", "node 1", None, "64 bytes"),
    ]


def test_an_order_differs_only_if_the_members_are_the_same() -> None:
    assert list(order_rows("slab", "slabs", [1, 2], [2, 1])) == [
        DiffRow("slab", "changed", "order of slabs", "", "(1, 2)", "(2, 1)")
    ]
    assert not list(order_rows("slab", "slabs", [1, 2], [1]))
    assert not list(order_rows("slab", "slabs", [1, 2], [1, 2]))


def test_numbers_that_follow_one_another_are_one_run() -> None:
    assert list(runs_of([5, 1, 2, 3, 9])) == [(1, 3), (5, 5), (9, 9)]
    assert list(runs_of([0, 8, 4, 16], 4)) == [(0, 8), (16, 16)]
    assert not list(runs_of([]))
    assert pairs_of(((1, 2), (3, 4))) == {1: 2, 3: 4}
    assert pairs_of(None) == {}


def test_cells_are_numbers_and_short_texts() -> None:
    assert [shown(each) for each in (None, 7, True, "x", b"\xff", [1, (2,)])] == [
        None, 7, "True", "x", "ff", "(1, (2,))",
    ]  # fmt: skip
    assert shown(1 << 63) == str(1 << 63), "too long for JSON readers"
    assert len(str(shown("x" * 500))) == 72


def test_an_absent_part_is_what_boot_made_it() -> None:
    whole = Whole()
    side = DiffSide.of(whole.machine, dump_parts(whole.machine))
    assert "cpus" not in side.parts
    assert side.part("cpus") == whole.machine.boot_parts["cpus"]
    assert side.part("tlb.1") == whole.machine.boot_parts["tlb."]
    assert side.part("chunk.77") is None
    rows = each_part(lambda name, was, now: leaf_rows("other", name, was, now))
    assert [name for name, _ in rows(side, side, ["cpus", "log"])] == []
