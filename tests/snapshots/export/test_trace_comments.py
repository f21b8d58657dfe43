"""Statements in comments: any value comes back, anything damaged is told with line and column."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_sim.inputs import Input
from snapshots.errors import TraceError
from snapshots.export import trace_comments
from snapshots.export.trace_comments import (
    PIECE_CHARS,
    CommentReader,
    Statement,
    input_from_row,
    input_row,
    statement_lines,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
ARG = st.one_of(st.integers(-(1 << 63), (1 << 64) - 1), st.booleans(), TEXT, st.binary())
NUMBER = st.integers(0, (1 << 62) - 1)
INPUTS = st.builds(Input, NUMBER, TEXT, NUMBER, st.lists(ARG, max_size=6).map(tuple), NUMBER, TEXT)


def read(lines: list[str]) -> list[Statement]:
    reader = CommentReader("log")
    found = [reader.take(line, line_no) for line_no, line in enumerate(lines, 1)]
    return [each for each in [*found, reader.finish()] if each is not None]


@given(st.lists(st.tuples(st.sampled_from(["head", "input"]), JSON), max_size=4))
def test_statements_come_back_in_order(told: list[tuple[str, object]]) -> None:
    lines = [line for word, value in told for line in statement_lines(word, value)]
    assert [(each.word, each.value) for each in read(lines)] == told


def test_a_long_value_goes_on_in_further_lines() -> None:
    value = "x" * (3 * PIECE_CHARS)
    lines = list(statement_lines("origin", value))
    assert len(lines) == 4
    assert all(line.isascii() and len(line) < PIECE_CHARS + 40 for line in lines)
    assert lines[1].startswith("# kmemscope origin+ ")
    assert read(lines) == [Statement("origin", value, 1)]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["# kmemscope input [1, x]\n"], "line 1, column 23: no JSON: Expecting value"),
        (["# kmemscope head [\n", "# kmemscope head+ 1,,]\n"], "line 2, column 21: no JSON"),
        (["# kmemscope input\n"], "line 1, column 12: .*expected a word and a value"),
        (["# kmemscope  {}\n"], "line 1, column 12"),
        (["# kmemscope head+ {}\n"], "line 1, column 1: a piece of 'head' that nothing precedes"),
        (["# kmemscope a 1\n", "# kmemscope b+ 1\n"], "line 2, column 1: a piece of 'b'"),
        (["# kmemscope a NaN\n"], "line 1, column 15: .*NaN is no number"),
        (["# kmemscope a " + "[" * 100_000 + "\n"], "line 1, column 15: .*nested too deeply"),
        (["# kmemscope a " + "1" * 5000 + "\n"], "line 1, column 15: .*digits"),
    ],
)
def test_a_damaged_statement_is_named_with_line_and_column(lines: list[str], said: str) -> None:
    with pytest.raises(TraceError, match=f"log: {said}"):
        read(lines)


def test_an_endless_statement_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_comments, "STATEMENT_CHARS_MAX", 1000)
    lines = list(statement_lines("origin", "x" * 900))
    assert len(read(lines)) == 1
    with pytest.raises(TraceError, match="more than 1000 characters"):
        read(list(statement_lines("origin", "x" * 1100)))


@given(INPUTS)
def test_every_input_comes_back(given_input: Input) -> None:
    [statement] = read(list(statement_lines("input", input_row(given_input))))
    back = input_from_row(statement.value)
    assert back == given_input
    assert list(map(type, back.args)) == list(map(type, given_input.args))


GOOD: list[object] = [1, "free_percpu", 0, [8], 0, "ip-1"]


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, -1), (0, 1.5), (0, True), (0, 1 << 62), (0, "1"), (1, 3), (1, "\ud800"), (2, None),
        (3, {}), (3, [None]), (3, [1.5]), (3, [1 << 64]), (3, [-(1 << 63) - 1]), (3, [[1]]),
        (3, [{"base64": "!"}]), (3, [{"base64": 1}]), (3, [{"base64": "", "x": 1}]), (3, [0] * 65),
        (4, -1), (5, 7),
    ],
)  # fmt: skip
def test_a_row_that_is_no_input_is_refused(place: int, value: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        input_from_row([*GOOD[:place], value, *GOOD[place + 1 :]])


@pytest.mark.parametrize("row", [None, {}, [], GOOD[:5], [*GOOD, 1]])
def test_a_row_of_another_length_is_refused(row: object) -> None:
    with pytest.raises(ValueError, match="expected \\[step, call"):
        input_from_row(row)
