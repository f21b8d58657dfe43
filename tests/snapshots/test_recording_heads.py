"""Segments as their keys promise them: one follows the other, or the file is refused."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshots.container.recording_file import RecordEntry, RecordingReader
from snapshots.errors import RecordingError
from snapshots.recording_heads import (
    BranchRecords,
    end_of,
    heads_of,
    records_by_branch,
    set_marks,
)
from snapshots.segment import Mark, SegmentHead
from tests.snapshots.conftest import JUNK

PATH = Path("run.kms")
LENGTHS = st.lists(
    st.tuples(st.integers(0, 50), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=8
)


def entry(kind: str, number: int, key: dict[str, object]) -> RecordEntry:
    return RecordEntry(
        number=number, kind=kind, key=key, offset_bytes=100 * number, length_bytes=100
    )


def records_of(lengths: list[tuple[int, int, int]], first: int = 0) -> BranchRecords:
    """What a writer leaves of segments of so many steps, inputs and events."""
    records = BranchRecords()
    step = nr_inputs = nr_events = 0
    for number, (steps, inputs, events) in enumerate(lengths, first):
        records.take(entry("Keyframe", 2 * number, {"b": 0, "n": number, "s": step, "f": True}))
        key = {
            "b": 0,
            "n": number,
            "s": step,
            "i": nr_inputs,
            "e": nr_events,
            "ni": inputs,
            "ne": events,
        }
        step, nr_inputs, nr_events = step + steps, nr_inputs + inputs, nr_events + events
        records.take(entry("Segment", 2 * number + 1, {**key, "l": step}))
    return records


@given(LENGTHS)
def test_each_segment_begins_where_the_one_before_ends(lengths: list[tuple[int, int, int]]) -> None:
    heads = heads_of(PATH, records_of(lengths), [])
    assert [
        (head.last_step - head.first_step, head.nr_inputs, head.nr_events) for head in heads
    ] == lengths
    for before, after in pairwise(heads):
        begin = end_of(before)
        assert (begin.first_step, begin.first_input, begin.first_event) == (
            after.first_step, after.first_input, after.first_event,
        )  # fmt: skip


@given(LENGTHS, st.data())
def test_a_keyframe_without_its_segment_begins_an_empty_one(
    lengths: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    records = records_of(lengths)
    whole = heads_of(PATH, records_of(lengths), [])
    records.segments.pop()
    heads = heads_of(PATH, records, [])
    assert heads[:-1] == whole[:-1]
    last = heads[-1]
    assert (last.first_step, last.last_step) == (whole[-1].first_step,) * 2
    assert (last.nr_inputs, last.nr_events) == (0, 0)


@given(LENGTHS, st.data())
def test_no_number_may_be_another(lengths: list[tuple[int, int, int]], data: st.DataObject) -> None:
    records = records_of(lengths)
    rows = data.draw(st.sampled_from([records.keyframes, records.segments]))
    at = data.draw(st.integers(0, len(rows) - 1))
    name = data.draw(st.sampled_from(sorted(set(rows[at].key) - {"b", "f"})))
    value = data.draw(st.sampled_from([each for each in JUNK if each != rows[at].key[name]]))
    rows[at] = entry(rows[at].kind, rows[at].number, {**rows[at].key, name: value})
    true = heads_of(PATH, records_of(lengths), [])
    try:
        heads = heads_of(PATH, records, [])
    except RecordingError as problem:
        assert str(problem).startswith("run.kms: ") and len(str(problem)) < 200
        return
    # only what the last segment says of its own length can be believed, or where the first begins
    assert (at == len(rows) - 1 and name in ("ni", "ne", "l")) or len(heads) == 1
    assert len(heads) == len(true)


def test_a_keyframe_or_segment_that_is_missing_is_missed() -> None:
    for kind in ("keyframes", "segments"):
        for at in range(3):
            records = records_of([(5, 1, 1)] * 3)
            del getattr(records, kind)[at]
            if kind == "segments" and at == 2:
                assert len(heads_of(PATH, records, [])) == 3
                continue
            with pytest.raises(RecordingError, match=r"one for each segment|begin where"):
                heads_of(PATH, records, [])


def test_no_record_at_all_is_nothing_to_show() -> None:
    with pytest.raises(RecordingError, match="nothing to show"):
        heads_of(PATH, BranchRecords(), [])


def test_a_branch_goes_on_where_what_it_shares_ends() -> None:
    shared = heads_of(PATH, records_of([(5, 1, 1), (7, 2, 3)]), [])
    own = BranchRecords()
    own.take(entry("Keyframe", 9, {"b": 1, "n": 2, "s": 12, "f": True}))
    heads = heads_of(PATH, own, shared)
    assert len(heads) == 3 and heads[2] == SegmentHead(12, 3, 4, last_step=12)
    for number, step in ((1, 12), (3, 12), (2, 11), (2, 13)):
        own = BranchRecords()
        own.take(entry("Keyframe", 9, {"b": 1, "n": number, "s": step, "f": True}))
        with pytest.raises(RecordingError):
            heads_of(PATH, own, shared)


def test_of_two_records_of_one_number_the_later_one_counts() -> None:
    records = records_of([(5, 1, 1)])
    again = {**records.segments[0].key, "l": 9, "ni": 4}
    records.take(entry("Segment", 7, again))
    (head,) = heads_of(PATH, records, [])
    assert (head.last_step, head.nr_inputs) == (9, 4)


def test_records_of_no_branch_are_refused(tmp_path: Path) -> None:
    from snapshots.container.records import encode_header, encode_record

    for key in ({}, {"b": -1}, {"b": "0"}, {"b": True}, {"b": None}):
        data = encode_header({}) + encode_record("Segment", b"", key=key)
        (tmp_path / "run.kms").write_bytes(data)
        with (
            RecordingReader.open(tmp_path / "run.kms", understood=("Segment",)) as reader,
            pytest.raises(RecordingError, match="a Segment of branch"),
        ):
            records_by_branch(reader)


@given(st.lists(st.integers(0, 60), max_size=12).map(sorted))
def test_every_mark_goes_to_the_segment_in_which_it_is(steps: list[int]) -> None:
    heads = heads_of(PATH, records_of([(20, 1, 1)] * 3), [])
    set_marks(PATH, heads, [[step, "c"] for step in steps])
    assert [mark for head in heads for mark in head.marks] == [Mark(step, "c") for step in steps]
    for number, head in enumerate(heads):
        low = -1 if number == 0 else head.first_step
        assert all(mark.step > low for mark in head.marks)
        assert number == 2 or all(mark.step <= head.last_step for mark in head.marks)


@pytest.mark.parametrize(
    "rows", [None, 7, {}, "c", [7], [[]], [[1]], [["1", "c"]], [[1, 2]], [[1, "c", 3]]]
)
def test_marks_that_are_none_are_refused(rows: object) -> None:
    with pytest.raises(RecordingError, match=r"run\.kms: (the marks|a mark)"):
        set_marks(PATH, heads_of(PATH, records_of([(5, 1, 1)]), []), rows)
