"""A delta leads from one state to the other and back, whatever the states are."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_sim.config import MachineConfig
from kernel_sim.machine_state import Parts, dump_parts
from snapshots.diff.state_delta import (
    Delta,
    Edits,
    Inside,
    Patch,
    PatchRun,
    Splice,
    Swap,
    apply_delta,
    change_of,
    delta_of,
    is_equal,
)
from snapshots.errors import InputError
from snapshots.state_codec import encode_part
from tests.snapshots.conftest import BUSY, CONFIGS, SCHEDULES, Action, recorded, small_config

INTS = st.integers(-(1 << 63), (1 << 64) - 1)
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(0, 2), INTS, st.text(max_size=4), st.binary(max_size=40)
)
KEYS = st.one_of(st.integers(0, 3), st.sampled_from("abc"))
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=6),
        st.lists(inner, max_size=6).map(tuple),
        st.dictionaries(KEYS, inner, max_size=4),
    ),
    max_leaves=20,
)
STATES = st.dictionaries(st.sampled_from(["clock", "log", "chunk.1", "frame.2"]), TREES)
NUMBERS = st.lists(st.integers(0, 12), max_size=40)


def encoded(parts: Parts) -> dict[str, bytes]:
    return {name: encode_part(part) for name, part in parts.items()}


def check_laws(a: Parts, b: Parts) -> Delta:
    before = encoded(a)
    delta = delta_of(a, b)
    assert encoded(apply_delta(a, delta)) == encoded(b)
    assert encoded(apply_delta(b, delta.inverse())) == encoded(a)
    assert encoded(a) == before, "a is left alone"
    assert bool(delta) == (encoded(a) != encoded(b))
    assert delta.inverse().inverse() == delta
    return delta


@settings(max_examples=400, deadline=None)
@given(STATES, STATES)
def test_a_delta_leads_there_and_back(a: Parts, b: Parts) -> None:
    check_laws(a, b)
    assert not delta_of(a, dict(a))


@settings(max_examples=300, deadline=None)
@given(NUMBERS, NUMBERS)
def test_rows_of_numbers_are_spliced_rightly(was: list[int], now: list[int]) -> None:
    check_laws({"tables": was}, {"tables": now})


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.binary(min_size=70, max_size=80), max_size=4), max_size=6), st.data())
def test_large_members_are_changed_within(rows: list[list[bytes]], data: st.DataObject) -> None:
    now = [list(row) for row in rows]
    for row in now:
        if row and data.draw(st.booleans()):
            row[0] = bytes([row[0][0] ^ 1]) + row[0][1:]
    check_laws({"slab": rows}, {"slab": now})


@settings(max_examples=25, deadline=None)
@given(CONFIGS, SCHEDULES, st.data())
def test_real_states_obey_the_laws(
    config: MachineConfig, actions: list[Action], data: st.DataObject
) -> None:
    timeline = recorded(config, actions)
    steps = st.integers(0, timeline.end_step)
    timeline.seek(data.draw(steps))
    a = dump_parts(timeline.machine)
    timeline.seek(data.draw(steps))
    check_laws(a, dump_parts(timeline.machine))


def test_a_number_and_a_truth_are_different_and_a_list_and_a_tuple_are_not() -> None:
    assert change_of(1, True) == Swap(1, True)
    assert change_of((0,), (False,)) is not None
    assert change_of([1, (2,)], (1, [2])) is None
    assert change_of({"a": 1, "b": 2}, {"b": 2, "a": 1}) is not None, "the order of a map counts"
    assert is_equal([], ())
    assert not is_equal([], {})


def test_a_row_tells_numbers_from_truths() -> None:
    check_laws({"cpus": (0, True, 5)}, {"cpus": (False, 1, 5)})


def test_a_delta_that_contradicts_itself_is_refused() -> None:
    wrong = Edits("row", (Splice(1, 0, (2,), ()),))
    with pytest.raises(InputError, match="log: the delta"):
        apply_delta({"log": (1, 2)}, Delta(changed={"log": wrong}))


def test_a_page_is_given_as_the_bytes_that_changed() -> None:
    was = bytes(4096)
    now = was[:16] + b"\x01" + was[17:20] + b"\x02" + was[21:4095] + b"\x03"
    runs = (PatchRun(16, bytes(5), b"\x01\0\0\0\x02"), PatchRun(4095, b"\0", b"\x03"))
    assert change_of(was, now) == Patch(runs)


def test_a_row_is_given_as_the_members_that_changed() -> None:
    assert change_of((1, 2, 3, 4), (1, 9, 3, 4, 5)) == Edits(
        "row", (Splice(1, 1, (2,), (9,)), Splice(4, 4, (), (5,)))
    )
    long = tuple(range(1000))
    assert change_of(long, (*long[:500], *long[501:], 7777)) == Edits(
        "row", (Splice(500, 500, (500,), ()), Splice(1000, 999, (), (7777,)))
    )
    was = {"name": "x" * 80, "frames": bytes(100)}
    within = Inside(1, 1, Edits("row", (Inside(1, 1, Patch((PatchRun(0, b"\0", b"\1"),))),)))
    assert change_of(was, was | {"frames": b"\1" + bytes(99)}) == Edits("map", (within,))


def test_parts_that_are_the_same_object_are_not_looked_at() -> None:
    unspeakable = object()  # no msgpack could hold it
    assert not delta_of({"x": unspeakable}, {"x": unspeakable})


def test_a_delta_of_moments_that_are_alike_is_small() -> None:
    timeline = recorded(small_config(), BUSY)
    timeline.seek(timeline.end_step - 1)
    a = dump_parts(timeline.machine)
    timeline.seek(timeline.end_step)
    delta = check_laws(a, dump_parts(timeline.machine))
    assert len(repr(delta)) < 1500


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"log": (1, 2)},
        {"log": (1, 9, 3), "clock": 1},
        {"log": 5, "clock": 1},
        {"log": (1, 2, 3), "clock": 1, "percpu": 0},
    ],
)
def test_a_delta_is_refused_by_another_state(other: Parts) -> None:
    delta = delta_of({"log": (1, 2, 3), "clock": 1}, {"log": (1, 8, 3, 4), "percpu": 2})
    with pytest.raises(InputError, match="delta"):
        apply_delta(other, delta)
