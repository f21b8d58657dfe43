"""Columns: any list comes back, related ones too; what nobody packed is refused without great cost."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshots.columns import (
    DEPTH_MAX,
    INT_MASK,
    Place,
    little_endian,
    pack_column,
    pack_related,
    unpack_column,
)
from snapshots.errors import RecordingError
from snapshots.state_codec import encode_part

SIGNED = st.integers(-(1 << 63), (1 << 63) - 1)
UNSIGNED = st.integers(0, INT_MASK)
NEAR = st.builds(lambda base, off: base + off, st.sampled_from([0, -(1 << 63), 1 << 40, (1 << 64) - 300]),
                 st.integers(0, 299))  # fmt: skip
SCALARS = st.one_of(
    SIGNED, UNSIGNED, st.booleans(), st.text(max_size=5), st.binary(max_size=5), st.none(),
    st.floats(allow_nan=False),
)  # fmt: skip
NESTED = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
COLUMNS = st.one_of(
    st.lists(SIGNED), st.lists(UNSIGNED), st.lists(NEAR), st.lists(st.integers(-3, 3)),
    st.lists(st.booleans()), st.lists(st.booleans() | st.integers(0, 1)), st.lists(st.text(max_size=4)),
    st.lists(st.sampled_from(["a+0x1", "b+0x2"])), st.lists(st.binary(max_size=4)),
    st.lists(st.none()), st.lists(SCALARS), st.lists(NESTED, max_size=6),
)  # fmt: skip


def nothing(group: int, column: int) -> Sequence[object]:
    raise RecordingError(f"no column {column} of group {group}")


def through_msgpack(packed: object) -> object:
    return msgpack.unpackb(encode_part(packed), strict_map_key=False)


@given(COLUMNS)
def test_any_column_comes_back_with_its_types(values: list[object]) -> None:
    packed = through_msgpack(pack_column(values))
    again = list(unpack_column(packed, len(values), nothing))
    assert encode_part(again) == encode_part(values)
    assert list(map(type, again)) == list(map(type, values))


@given(COLUMNS, st.integers(1, 3))
def test_another_number_of_rows_is_refused_unless_all_are_equal(
    values: list[object], more: int
) -> None:
    packed = through_msgpack(pack_column(values))
    assert isinstance(packed, list)
    if packed[0] != "=":
        with pytest.raises(RecordingError):
            unpack_column(packed, len(values) + more, nothing)


@given(st.data(), st.integers(1, 20))
def test_a_related_column_comes_back_whatever_it_is_told_from(
    data: st.DataObject, nr_rows: int
) -> None:
    rows = st.lists(UNSIGNED, min_size=nr_rows, max_size=nr_rows)
    values = data.draw(rows)
    others = data.draw(st.lists(rows, max_size=3))
    factors = [data.draw(st.sampled_from([1, -1, 2, 7, 1 << 40])) for _ in others]
    sources: list[tuple[Place, Sequence[int], int]] = [
        ((number, 0), column, factor)
        for number, (column, factor) in enumerate(zip(others, factors, strict=True))
    ]
    packed = through_msgpack(pack_related(values, sources))
    assert list(unpack_column(packed, nr_rows, lambda group, _: others[group])) == values


def test_what_a_column_can_be_told_from_costs_next_to_nothing() -> None:
    bases = [(number * 7919) << 12 for number in range(500)]
    values = [(base + 64) & INT_MASK for base in bases]
    assert len(encode_part(pack_column(values))) > 1500
    assert len(encode_part(pack_related(values, [((0, 0), bases, 1)]))) < 20


def test_planes_are_little_endian_in_every_file() -> None:
    packed = pack_column([0, 0x0102, 0xFFFF])
    assert packed == (2, 0, bytes([0, 2, 255, 0, 1, 255]))
    from array import array

    assert little_endian(array("H", [0x0102])).tobytes() == b"\2\1"


HOSTILE: dict[str, object] = {
    "nothing": [], "none": None, "a number": 7, "a text": "=", "unknown kind": ["x", 1],
    "a constant list": ["=", [1]], "bools too short": ["?", b"\1"], "raw too short": ["*", [1]],
    "raw is no list": ["*", 5], "width 3": [3, 0, b"\0" * 9], "planes too short": [2, 0, b"\0"],
    "planes are text": [1, 0, "abc"], "least is a text": [1, "0", b"\0\0\0"],
    "beyond 64 bits": [8, INT_MASK, b"\xff" * 24], "texts are ints": ["d", [1, 2], ["=", 0]],
    "a text below 0": ["d", ["a"], ["=", -1]], "a text beyond": ["d", ["a"], ["=", 1]],
    "texts by text": ["d", ["a"], ["=", "a"]], "texts by bools": ["d", ["a", "b"], ["=", True]],
    "rests on none": ["r", 5, 5, 1, ["=", 0]], "rests are texts": ["r", 0, 0, 1, ["=", "a"]],
    "rests on texts": ["r", 0, 1, 1, ["=", 1]], "rests on fewer": ["r", 0, 2, 1, ["=", 1]],
    "factor is none": ["r", 0, 0, None, ["=", 0]],
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_what_nobody_packs_is_refused(name: str) -> None:
    known = [[1, 2, 3], ["a", "b", "c"], [1]]

    def find(group: int, column: int) -> Sequence[object]:
        return known[column] if group == 0 else nothing(group, column)

    with pytest.raises(RecordingError, match=r"column|rows"):
        unpack_column(HOSTILE[name], 3, find)


def test_a_column_that_rests_on_itself_without_end_is_refused() -> None:
    packed: object = ["=", 0]
    for _ in range(DEPTH_MAX + 1):
        packed = ["r", 0, 0, 1, packed]
    with pytest.raises(RecordingError, match="packed in no way"):
        unpack_column(packed, 1, lambda *_: [0])


@given(st.recursive(SCALARS | st.sampled_from(["=", "?", "d", "r", "*"]),
                    lambda inner: st.lists(inner, max_size=5), max_leaves=20), st.integers(0, 9))  # fmt: skip
def test_any_value_is_a_column_or_refused(packed: object, nr_rows: int) -> None:
    try:
        values = unpack_column(packed, nr_rows, lambda *_: list(range(nr_rows)))
    except RecordingError as problem:
        assert len(str(problem)) < 300
    else:
        assert len(values) == nr_rows


def test_a_long_column_of_one_value_takes_no_more_than_its_rows() -> None:
    tracemalloc.start()
    try:
        values = unpack_column(["r", 0, 0, 1, ["d", ["a"], ["=", 0]]][4], 1 << 18, nothing)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(values) == 1 << 18 and peak_bytes < 40 << 18
