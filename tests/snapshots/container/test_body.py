"""Bodies: whatever is built was bounded before, and what is written can be read."""

from __future__ import annotations

import datetime
import re

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshots.container import limits
from snapshots.container.body import pack_body, unpack_body
from snapshots.errors import RecordingError

ints = st.integers(-(2**63), 2**64 - 1)
scalars = st.none() | st.booleans() | ints | st.floats(allow_nan=False) | st.text() | st.binary()
builtin_values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=8) | ints | st.binary(max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)


def nested(nr_levels: int) -> object:
    value: object = 0
    for _ in range(nr_levels):
        value = [value]
    return value


def nr_items_of(value: object) -> int:
    if isinstance(value, dict):
        return 1 + sum(nr_items_of(k) + nr_items_of(v) for k, v in value.items())
    if isinstance(value, list):
        return 1 + sum(map(nr_items_of, value))
    return 1


def check_refused(packed: bytes, reason: str) -> None:
    with pytest.raises(RecordingError, match=re.escape(reason)):
        unpack_body(packed)


@given(builtin_values)
def test_every_builtin_value_comes_back(value: object) -> None:
    assert unpack_body(pack_body(value)) == value


def test_a_tuple_comes_back_as_a_list() -> None:
    assert unpack_body(pack_body((1, (2, 3)))) == [1, [2, 3]]


@given(st.binary(max_size=200))
def test_garbage_raises_nothing_but_a_recording_error(packed: bytes) -> None:
    try:
        value = unpack_body(packed)
    except RecordingError:
        return
    assert nr_items_of(value) <= len(packed)


def test_the_deepest_nesting_that_is_allowed_is_read_and_one_more_is_refused() -> None:
    deepest = nested(limits.BODY_NESTING_MAX)
    assert unpack_body(pack_body(deepest)) == deepest
    for nr_levels in (limits.BODY_NESTING_MAX + 1, 900, 5000):
        check_refused(b"\x91" * nr_levels + b"\x00", "nest" if nr_levels < 1000 else "not msgpack")
    with pytest.raises(RecordingError, match="nests deeper than 16"):
        pack_body(nested(limits.BODY_NESTING_MAX + 1))


@pytest.mark.parametrize("packed", [b"\xd4\x05\x00", b"\xc7\x03\x01abc", b"\x91\xc7\x00\x7f"])
def test_an_ext_type_is_refused(packed: bytes) -> None:
    check_refused(packed, "ext type")


def test_a_timestamp_is_refused_though_msgpack_knows_it() -> None:
    moment = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    check_refused(msgpack.packb([moment], datetime=True), "Timestamp")


@pytest.mark.parametrize(
    "packed",
    [b"\xdd\xff\xff\xff\xff", b"\xdf\x7f\xff\xff\xff\x00", b"\xc6\xff\xff\xff\xff", b"\x91", b""],
)
def test_a_claim_beyond_the_bytes_that_are_there_is_refused(packed: bytes) -> None:
    check_refused(packed, "the body is not msgpack")


@pytest.mark.parametrize("packed", [b"\x81\x90\x00", b"\x81\x81\x00\x00\x00", b"\xa1\xff", b"\xc1"])
def test_what_is_no_builtin_value_is_refused(packed: bytes) -> None:
    check_refused(packed, "the body is not")


@pytest.mark.parametrize(
    "packed", [b"\x81\xc0\x00", b"\x81\xc2\x00", b"\x81\xca\x00\x00\x00\x00\x00"]
)
def test_a_map_key_is_a_str_an_int_or_bytes(packed: bytes) -> None:
    check_refused(packed, "as a map key")


def test_bytes_behind_the_value_are_refused() -> None:
    check_refused(b"\x01\x02", "the body has 2 bytes, its value ends after 1")


@pytest.mark.parametrize("value", [{1, 2}, 2**64, [object()], {"a": 1j}, {(1, 2): 3}, bytearray(2)])
def test_what_could_not_be_read_back_is_not_written(value: object) -> None:
    with pytest.raises(RecordingError):
        pack_body(value)


def test_a_lone_surrogate_is_not_written() -> None:
    with pytest.raises(RecordingError, match="cannot carry"):
        pack_body("\udc80")


@given(builtin_values)
def test_items_are_counted_as_a_slow_walk_counts_them(value: object) -> None:
    packed = pack_body(value)
    nr_items = nr_items_of(value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "BODY_ITEMS_MAX", nr_items)
        assert unpack_body(packed) == value
        patch.setattr(limits, "BODY_ITEMS_MAX", nr_items - 1)
        check_refused(packed, f"more than {nr_items - 1} items")


def test_a_million_empty_maps_are_refused_before_one_is_built(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nr_items = limits.BODY_ITEMS_MAX + 1
    packed = b"\xdd" + nr_items.to_bytes(4, "big") + b"\x80" * nr_items
    monkeypatch.setattr(msgpack, "unpackb", lambda *_, **__: pytest.fail("something was built"))
    check_refused(packed, "more than 1048576 items")


def test_a_body_longer_than_its_limit_is_neither_written_nor_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    packed = pack_body(b"x" * 100)
    monkeypatch.setattr(limits, "BODY_BYTES_MAX", len(packed) - 1)
    check_refused(packed, "a record holds at most 101")
    with pytest.raises(RecordingError, match="a record holds at most 101"):
        pack_body(b"x" * 100)
