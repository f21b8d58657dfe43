"""The index: the same table as a scan finds, or refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshots.container import limits
from snapshots.container.record_index import (
    TRAILER_BYTES,
    RecordTable,
    Trailer,
    decode_trailer,
    encode_trailer,
)
from snapshots.container.records import encode_key
from snapshots.errors import RecordingError

START_BYTES = 50
rows = st.lists(
    st.tuples(
        st.sampled_from(["Events", "Keyframe", "note"]),
        st.integers(17, 2**20),
        st.none() | st.integers(0, 2**40),
    ),
    max_size=30,
)


def table_of(some_rows: list[tuple[str, int, int | None]]) -> RecordTable:
    table = RecordTable(START_BYTES)
    for kind, length_bytes, step in some_rows:
        key_packed = encode_key(None if step is None else {"step": step})
        table.add(kind, length_bytes=length_bytes, key_packed=key_packed)
    return table


def body_of_three() -> dict[str, Any]:
    return table_of([("Events", 20, 1), ("Keyframe", 30, 2), ("Events", 40, None)]).to_body()


def check_refused(body: object, reason: str, end_bytes: int = START_BYTES + 90) -> None:
    with pytest.raises(RecordingError, match=rf"byte {end_bytes}: the index.*{reason}"):
        RecordTable.from_body(body, start_bytes=START_BYTES, end_bytes=end_bytes)


@given(rows)
def test_a_table_comes_back(some_rows: list[tuple[str, int, int | None]]) -> None:
    table = table_of(some_rows)
    again = RecordTable.from_body(
        table.to_body(), start_bytes=START_BYTES, end_bytes=table.end_bytes
    )
    assert list(again.entries()) == list(table.entries())
    assert again.end_bytes == START_BYTES + sum(length for _, length, _ in some_rows)


@given(rows, st.sampled_from(["Events", "Keyframe", "note", "absent"]))
def test_the_entries_of_one_kind_are_those_among_all(
    some_rows: list[tuple[str, int, int | None]], kind: str
) -> None:
    table = table_of(some_rows)
    assert list(table.entries(kind)) == [e for e in table.entries() if e.kind == kind]


@given(rows, st.integers(0, 2**25))
def test_records_before_an_offset_are_those_that_end_there(
    some_rows: list[tuple[str, int, int | None]], offset_bytes: int
) -> None:
    table = table_of(some_rows)
    ends = [entry.offset_bytes + entry.length_bytes for entry in table.entries()]
    assert table.nr_records_before(offset_bytes) == sum(end <= offset_bytes for end in ends)


def test_an_index_that_does_not_end_at_its_own_place_is_refused() -> None:
    check_refused(body_of_three(), "does not cover", end_bytes=START_BYTES + 91)


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("kinds", "Events", "no list"),
        ("kinds", ["Events", 7], "7, which is no kind"),
        ("kinds", ["Events", "Key frame"], "no kind of record"),
        ("kinds", ["Events", "Events"], "twice"),
        ("kinds", ["Events"], "names a kind that it does not list"),
        ("kinds", [f"k{i}" for i in range(257)], "at most 256"),
        ("kind_numbers", [0, 1, 0], "no column 'kind_numbers'"),
        ("kind_numbers", b"\x00\x01", "different lengths"),
        ("lengths", b"\x00\x00\x00\x14", "different lengths"),
        ("lengths", b"\x00\x00\x00\x10" + b"\x00\x00\x00\x25" * 2, "does not cover"),
        ("key_lengths", b"\x00\x00\x00", "bytes of keys"),
        ("keys", None, "no column 'keys'"),
    ],
)
def test_an_index_with_a_wrong_column_is_refused(column: str, value: object, reason: str) -> None:
    check_refused(body_of_three() | {column: value}, reason)


@pytest.mark.parametrize("body", [None, [], {}, b"index"])
def test_what_is_no_index_at_all_is_refused(body: object) -> None:
    check_refused(body, "no list")


def test_a_newer_index_may_say_more() -> None:
    body = body_of_three() | {"branches": [1, 2]}
    table = RecordTable.from_body(body, start_bytes=START_BYTES, end_bytes=START_BYTES + 90)
    assert len(table) == 3


def test_a_file_has_no_more_kinds_than_one_byte_tells() -> None:
    table = RecordTable(0)
    for number in range(limits.KINDS_MAX):
        table.add(f"k{number}", length_bytes=20, key_packed=b"")
    with pytest.raises(RecordingError, match="'k256' is one kind too many"):
        table.add("k256", length_bytes=20, key_packed=b"")
    assert len(table) == limits.KINDS_MAX


@given(
    st.builds(
        Trailer, st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)
    )
)
def test_a_trailer_always_has_the_same_length_and_comes_back(trailer: Trailer) -> None:
    packed = encode_trailer(trailer)
    assert len(packed) == TRAILER_BYTES
    assert decode_trailer(packed) == trailer


def test_what_is_no_trailer_is_none() -> None:
    packed = encode_trailer(Trailer(1, 2, 3))
    for bit in range(8 * len(packed)):
        changed = bytearray(packed)
        changed[bit // 8] ^= 1 << bit % 8
        assert decode_trailer(bytes(changed)) is None
    for length_bytes in range(len(packed)):
        assert decode_trailer(packed[:length_bytes]) is None
