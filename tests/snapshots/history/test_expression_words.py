from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshots.history.expression_words import CHARS_MAX, END, NUMBER, ExpressionError, words_of


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("12", 12), ("0x1f", 31), ("0XfF", 255), ("4K", 4096), ("4k", 4096), ("2M", 2 << 20),
     ("18446744073709551615", (1 << 64) - 1)],
)  # fmt: skip
def test_a_number_is_decimal_hex_or_has_a_suffix(text: str, value: int) -> None:
    word = words_of(text)[0]
    assert (word.kind, word.value) == (NUMBER, value)


def test_every_word_knows_its_column() -> None:
    words = words_of(' chunk[1].free_bytes<= "a b"')
    assert [(word.text, word.column) for word in words] == [
        ("chunk", 2), ("[", 7), ("1", 8), ("]", 9), (".", 10), ("free_bytes", 11), ("<=", 21),
        ("a b", 24), ("", 29),
    ]  # fmt: skip
    assert words[-1].kind == END


@pytest.mark.parametrize(
    ("text", "column", "part"),
    [
        ("1 + $", 5, "expected a number, a name or an operator"),
        ("a == 'x", 6, "expected another '"),
        ("12ab", 1, "expected 12, 0x1f"),
        ("0x", 1, "no number"),
        ("0x1K", 1, "no number"),
        ("1 + 18446744073709551616", 5, "too large"),
        ("'a\tb'", 1, "do not print"),
        ("²", 1, "means nothing"),
        ("٣", 1, "means nothing"),
        ("x" * (CHARS_MAX + 1), CHARS_MAX + 1, "at most"),
    ],
)
def test_what_is_no_word_is_named_with_its_column(text: str, column: int, part: str) -> None:
    with pytest.raises(ExpressionError, match=part.replace("(", ".")) as refused:
        words_of(text)
    assert refused.value.column == column
    assert str(refused.value).startswith(f"column {column}: ")


@given(st.text(max_size=80))
def test_any_text_gives_words_or_an_error_with_a_column(text: str) -> None:
    try:
        words = words_of(text)
    except ExpressionError as problem:
        assert 1 <= problem.column <= len(text) + 1
        return
    assert words[-1].kind == END
    assert all(1 <= word.column <= len(text) + 1 for word in words)
