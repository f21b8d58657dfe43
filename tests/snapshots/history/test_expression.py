from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snapshots.history.expression import (
    COMPARISONS,
    KEYWORDS,
    LEVELS,
    Binary,
    Field,
    Flag,
    Index,
    Name,
    Node,
    Number,
    Text,
    Unary,
    parse,
    text_of,
)
from snapshots.history.expression_words import CHARS_MAX, ExpressionError

NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,6}", fullmatch=True).filter(
    lambda word: word not in KEYWORDS
)
ATOMS = st.one_of(
    st.integers(0, (1 << 64) - 1).map(Number),
    st.booleans().map(Flag),
    st.text("abc 'é<", max_size=5).map(Text),
    NAMES.map(Name),
)
ARITHMETIC = [word for level in LEVELS for word in level if word not in COMPARISONS]


def _grown(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    things = st.one_of(
        NAMES.map(Name),
        st.builds(Field, NAMES.map(Name), NAMES),
        st.builds(Index, NAMES.map(Name), st.lists(inner, min_size=1, max_size=3).map(tuple)),
    )
    return st.one_of(
        st.builds(Unary, st.sampled_from(["-", "not"]), inner),
        st.builds(Binary, st.sampled_from([*ARITHMETIC, *COMPARISONS]), inner, inner),
        st.builds(Field, things, NAMES),
        things,
    )


TREES: st.SearchStrategy[Node] = st.recursive(ATOMS, _grown, max_leaves=12)
PIECES = [
    "chunk", "[", "]", "(", ")", "1", "0x1f", "4K", ".", "free_bytes", "<", "<=", "==", "!=", "and", "or",
    "not", "-", "+", "*", "&", "|", "<<", ">>", '"a"', "'", ",", "true", " ", "é", "zone", "\x00",
]  # fmt: skip


@settings(max_examples=400)
@given(TREES)
def test_a_printed_tree_reads_as_the_same_tree(tree: Node) -> None:
    text = text_of(tree)
    if len(text) <= CHARS_MAX:
        assert parse(text) == tree
        assert text_of(parse(text)) == text


@settings(max_examples=500)
@given(
    st.one_of(st.text(max_size=60), st.lists(st.sampled_from(PIECES), max_size=25).map(" ".join))
)
def test_any_text_gives_a_tree_or_an_error_with_a_column(text: str) -> None:
    try:
        tree = parse(text)
    except ExpressionError as problem:
        assert 1 <= problem.column <= len(text) + 1
        return
    assert parse(text_of(tree)) == tree


@pytest.mark.parametrize(
    ("text", "same_as"),
    [
        ("a or b and c", "a or (b and c)"),
        ("not a and b", "(not a) and b"),
        ("not a == b", "not (a == b)"),
        ("a == b | c", "a == (b | c)"),  # unlike C
        ("a | b & c << d + e * -f", "a | (b & (c << (d + (e * (-f)))))"),
        ("a - b - c", "(a - b) - c"),
        ("-a.b[1].c", "-(a.b[1].c)"),
    ],
)
def test_operators_bind_as_the_table_says(text: str, same_as: str) -> None:
    tree = parse(same_as) if ").c" not in same_as else parse("-(a.b[1].c)")
    assert parse(text) == tree
    assert text_of(parse(text)) == text


@pytest.mark.parametrize(
    ("text", "column", "part"),
    [
        ("", 1, "the end: expected a number"),
        ("a <", 4, "the end: expected a number"),
        ("a < b < c", 7, "do not chain"),
        ("a == b != c", 8, "do not chain"),
        ("chunk[1", 8, "expected ']'"),
        ("chunk[]", 7, "expected a number"),
        ("chunk[1,2,3,4]", 12, "at most 3"),
        ("(a", 3, "expected ')'"),
        ("a.", 3, "a field's name"),
        ("a.and", 3, "a field's name"),
        ("a b", 3, "an operator or the end"),
        ("a and", 6, "expected a number"),
        ("1 + not a", 5, "expected a number"),
        ("(" * 41 + "1" + ")" * 41, 41, "nested too deep"),
        ("-" * 60 + "1", 41, "nested too deep"),
    ],
)
def test_what_is_no_expression_is_told_with_column_and_what_was_expected(
    text: str, column: int, part: str
) -> None:
    with pytest.raises(ExpressionError) as refused:
        parse(text)
    assert refused.value.column == column
    assert part in str(refused.value)


def test_the_longest_expressions_do_no_harm() -> None:
    for text in (
        "+".join("1" * 250),
        "a" + ".a" * 249,
        "not " * 39 + "a",
        "(" * 39 + "a" + ")" * 39,
    ):
        try:
            assert text_of(parse(text))
        except ExpressionError as problem:
            assert "expected" in str(problem)
