from __future__ import annotations

import pytest

from snapshots.first_difference import NESTING_MAX, Difference, first_difference


@pytest.mark.parametrize(
    ("one", "other", "place", "sides"),
    [
        (1, 2, "", ("1", "2")),
        ([1, [2, 3]], (1, (2, 4)), "[1][1]", ("3", "4")),
        ([1, 2], [1], "", ("2 items", "1 items")),
        ([(1, 2), 3], [[1, 2], 4], "[1]", ("3", "4")),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, "['b']", ("2", "3")),
        ({"a": 1}, {}, "['a']", ("1", "nothing")),
        ({}, {7: 1}, "[7]", ("nothing", "1")),
        (b"\x00\x01", b"\x00\x02", " byte 0x1", ("0x01", "0x02")),
        (b"\x00", b"", "", ("b'\\x00'", "b''")),
        ({"a": [{"b": b"x"}]}, {"a": [{"b": None}]}, "['a'][0]['b']", ("b'x'", "None")),
    ],
)
def test_the_first_place_is_named(
    one: object, other: object, place: str, sides: tuple[str, str]
) -> None:
    assert first_difference(one, other) == Difference(place, *sides)


def test_what_is_deep_or_long_is_cut_short() -> None:
    deep_one: object = 1
    deep_other: object = 2
    for _ in range(5000):
        deep_one, deep_other = [deep_one], [deep_other]
        if isinstance(deep_one, list) and len(str(deep_one)) > 400:
            break
    found = first_difference(deep_one, deep_other)
    assert found.place.count("[0]") <= NESTING_MAX
    assert len(first_difference("x" * 500, "y").one) <= 60
