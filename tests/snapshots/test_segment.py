"""Segments: what is packed comes back, what is no segment is refused."""

from __future__ import annotations

import zlib
from typing import get_type_hints

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_sim.events import EVENT_NAMES, EventAt
from kernel_sim.inputs import Input
from snapshots import segment as segment_module
from snapshots.errors import RecordingError
from snapshots.segment import Mark, SegmentBody, marks_of, pack_segment, unpack_segment

STEPS = st.lists(st.integers(0, 1 << 40), max_size=12).map(sorted)
VALUES: dict[type, st.SearchStrategy[object]] = {
    int: st.integers(0, (1 << 64) - 1),
    str: st.text(max_size=9),
    bool: st.booleans(),
}
EVENTS = st.one_of(
    *(
        st.builds(row, *(VALUES[kind] for kind in get_type_hints(row).values()))
        for row in EVENT_NAMES
    )
)
ARGS = st.lists(
    st.one_of(st.integers(-(1 << 63), (1 << 64) - 1), st.text(max_size=9), st.binary(max_size=9)),
    max_size=5,
).map(tuple)


def packed_rows(inputs: object, events: object) -> bytes:
    return zlib.compress(msgpack.packb((inputs, events)))


@given(STEPS, STEPS, st.data())
def test_what_is_packed_comes_back(
    input_steps: list[int], event_steps: list[int], data: st.DataObject
) -> None:
    names = st.text(max_size=12)
    inputs = [
        Input(step, data.draw(names), cpu, data.draw(ARGS), cpu * 3, data.draw(names))
        for cpu, step in enumerate(input_steps)
    ]
    events = [EventAt(step, cpu, data.draw(EVENTS)) for cpu, step in enumerate(event_steps)]
    body = SegmentBody(inputs, events)
    again = unpack_segment(pack_segment(body))
    assert again == body
    assert [type(at.event) for at in again.events] == [type(at.event) for at in events]


def test_equal_bodies_give_equal_bytes() -> None:
    bodies = [SegmentBody([Input(3, "purge_vmap", 0)], []) for _ in range(2)]
    assert pack_segment(bodies[0]) == pack_segment(bodies[1])


def test_marks_are_chunks_that_came_and_went_and_failures() -> None:
    steps = range(len(EVENT_NAMES))
    events = [
        EventAt(step, 0, row(*([0] * len(row.__annotations__))))
        for step, row in zip(steps, EVENT_NAMES, strict=True)
    ]
    marks = {
        name: mark.kind
        for mark in marks_of(events)
        for name in [EVENT_NAMES[type(events[mark.step].event)]]
    }
    assert marks == {
        "percpu_create_chunk": "c",
        "percpu_destroy_chunk": "d",
        "percpu_alloc_percpu_fail": "f",
        "percpu_add_block": "c",
        "percpu_free_block": "d",
    }
    assert marks_of([]) == []
    assert all(isinstance(mark, Mark) for mark in marks_of(events))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no zlib",
        pack_segment(SegmentBody([], []))[:-3],
        pack_segment(SegmentBody([], []))[:5],
        zlib.compress(b""),
        zlib.compress(b"\xc1"),
        zlib.compress(msgpack.packb(7)),
        zlib.compress(msgpack.packb(([], [], []))),
        zlib.compress(msgpack.packb({"inputs": []})),
        packed_rows(7, []),
        packed_rows([7], []),
        packed_rows([(0, "purge_vmap", 0, [], 0)], []),
        packed_rows([("0", "purge_vmap", 0, [], 0, "")], []),
        packed_rows([(0, 9, 0, [], 0, "")], []),
        packed_rows([(0, "purge_vmap", "0", [], 0, "")], []),
        packed_rows([(0, "purge_vmap", 0, 5, 0, "")], []),
        packed_rows([(0, "purge_vmap", 0, [], 0, None)], []),
        packed_rows([], [(0, 0, 99, [])]),
        packed_rows([], [(0, 0, 0, [1])]),
        packed_rows([], [(None, 0, 1, [1, 2, 3])]),
        packed_rows([], [(0, 0, "1", [1, 2, 3])]),
        packed_rows([], [(0, 0, 1, 5)]),
    ],
)
def test_what_is_no_segment_is_refused(data: bytes) -> None:
    with pytest.raises(RecordingError, match=r"segment|body"):
        unpack_segment(data)


def test_a_segment_that_inflates_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_module, "SEGMENT_BYTES_MAX", 1 << 12)
    with pytest.raises(RecordingError, match="more than 4096 bytes"):
        unpack_segment(zlib.compress(b"\0" * (1 << 16)))


@given(st.binary(max_size=60))
def test_random_bytes_raise_nothing_but_an_error_of_ours(data: bytes) -> None:
    for packed in (data, zlib.compress(data)):
        with pytest.raises(RecordingError):
            unpack_segment(packed)
