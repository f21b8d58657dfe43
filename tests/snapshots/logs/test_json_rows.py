from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshots.errors import InputError
from snapshots.logs.json_rows import JsonRow, json_rows


def row(text: str) -> JsonRow:
    (found,) = json_rows([text], "a.jsonl")
    return found


def test_rows_are_read_with_their_place() -> None:
    rows = list(json_rows(['{"a": 1}\n', "\n", '{"a": 2}'], "a.jsonl"))
    assert [(found.place, found.integer("a")) for found in rows] == [
        ("a.jsonl: line 1", 1),
        ("a.jsonl: line 3", 2),
    ]


def test_each_type_is_read() -> None:
    found = row(
        '{"n": 3, "t": "x", "a": "0xff", "as": ["10"], "ns": [1, 2], "ts": [[1, 2]], "none": null,'
        ' "rs": [{"n": 4}], "r": {"n": 5}}'
    )
    assert found.integer("n") == 3
    assert found.optional_integer("n") == 3
    assert found.optional_integer("none") is None
    assert found.text("t", "x", "y") == "x"
    assert (found.address("a"), found.addresses("as")) == (255, (16,))
    assert (found.integers("ns"), found.tuples("ts", 2)) == ((1, 2), ((1, 2),))
    assert [inner.integer("n") for inner in found.rows("rs")] == [4]
    assert found.row("r").integer("n") == 5


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("{}", lambda found: found.integer("k")),
        ('{"k": null}', lambda found: found.integer("k")),
        ('{"k": -1}', lambda found: found.integer("k")),
        ('{"k": 18446744073709551616}', lambda found: found.integer("k")),
        ('{"k": true}', lambda found: found.integer("k")),
        ('{"k": 1.0}', lambda found: found.integer("k")),
        ('{"k": NaN}', lambda found: found.integer("k")),
        ('{"k": "x"}', lambda found: found.optional_integer("k")),
        ('{"k": 1}', lambda found: found.text("k")),
        ('{"k": "z"}', lambda found: found.text("k", "x", "y")),
        ('{"k": "xyz"}', lambda found: found.address("k")),
        ('{"k": "-1"}', lambda found: found.address("k")),
        ('{"k": "1_0"}', lambda found: found.address("k")),
        ('{"k": 1}', lambda found: found.address("k")),
        ('{"k": "' + "1" * 17 + '"}', lambda found: found.address("k")),
        ('{"k": 1}', lambda found: found.integers("k")),
        ('{"k": [[1]]}', lambda found: found.tuples("k", 2)),
        ('{"k": [1]}', lambda found: found.tuples("k", 2)),
        ('{"k": [1]}', lambda found: list(found.rows("k"))),
        ('{"k": [1]}', lambda found: found.row("k")),
    ],
)
def test_anything_else_is_refused_with_place_and_key(
    text: str, read: Callable[[JsonRow], object]
) -> None:
    with pytest.raises(InputError, match=r"^a.jsonl: line 1: 'k.*; expected "):
        read(row(text))


@pytest.mark.parametrize("text", ["[]", "3", "{", "x", "[" * 100_000, "9" * 10_000, '"\\ud800'])
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"^a.jsonl: line 1: (?s:.*)expected (one|a) JSON object"):
        row(text)


@given(st.text())
def test_any_text_is_rows_or_an_input_error(text: str) -> None:
    try:
        for found in json_rows([text], "any"):
            found.integer("k")
    except InputError:
        return
