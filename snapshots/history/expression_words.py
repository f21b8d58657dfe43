"""The words of an expression: numbers, quoted texts, names, operators; each knows its column.

    chunk[1].free_bytes < 4K      name [ number ] . name < number

Columns count from 1, as people do. Nothing here or in the parser runs what was typed as code.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from kernel_sim.errors import KernelSimError

CHARS_MAX: Final = 500
NUMBER_MAX: Final = (1 << 64) - 1
SHOWN_CHARS: Final = 20
NUMBER, TEXT, NAME, OPERATOR, END = "number", "text", "name", "operator", "end"
OPERATORS: Final = (
    "==", "!=", "<=", ">=", "<<", ">>", "<", ">", "+", "-", "*", "&", "|", "(", ")", "[", "]", ",", ".",
)  # fmt: skip
SUFFIXES: Final = {"K": 1 << 10, "M": 1 << 20}
QUOTES: Final = "\"'"


class ExpressionError(KernelSimError):
    """What was typed is no expression; the text names the column and what was expected there."""

    def __init__(self, column: int, text: str) -> None:
        super().__init__(f"column {column}: {text}")
        self.column = column


class Word(NamedTuple):
    """One word; value is a number's, else 0. column is that of its first character, from 1."""

    kind: str
    text: str
    value: int
    column: int

    @property
    def shown(self) -> str:
        """How an error calls it."""
        return "the end" if self.kind == END else repr(self.text[:SHOWN_CHARS])


def words_of(text: str) -> list[Word]:
    """Return the words of a text, the END word last. Raises ExpressionError."""
    if len(text) > CHARS_MAX:
        raise ExpressionError(
            CHARS_MAX + 1, f"{len(text)} characters; expected at most {CHARS_MAX}"
        )
    words: list[Word] = []
    at = 0
    while at < len(text):
        if text[at] in " \t":
            at += 1
            continue
        word, at = _word_at(text, at)
        words.append(word)
    words.append(Word(END, "", 0, len(text) + 1))
    return words


def _word_at(text: str, at: int) -> tuple[Word, int]:
    """Return the word that begins at an index, and the index behind it."""
    letter = text[at]
    if _is_of_name(letter):
        end = at
        while end < len(text) and _is_of_name(text[end]):
            end += 1
        word = text[at:end]
        if letter in "0123456789":
            return Word(NUMBER, word, _number(word, at + 1), at + 1), end
        return Word(NAME, word, 0, at + 1), end
    if letter in QUOTES:
        end = text.find(letter, at + 1)
        if end < 0:
            raise ExpressionError(at + 1, f"the text has no end; expected another {letter}")
        quoted = text[at + 1 : end]
        if not quoted.isprintable():
            raise ExpressionError(at + 1, "a text holds characters that do not print")
        return Word(TEXT, quoted, 0, at + 1), end + 1
    for operator in OPERATORS:
        if text.startswith(operator, at):
            return Word(OPERATOR, operator, 0, at + 1), at + len(operator)
    raise ExpressionError(
        at + 1, f"{letter!r} means nothing here; expected a number, a name or an operator"
    )


def _is_of_name(letter: str) -> bool:
    return letter.isascii() and (letter.isalnum() or letter == "_")


def _number(word: str, column: int) -> int:
    """Return what 12, 0x1f or 4K stands for. Raises ExpressionError."""
    is_hex = word[:2] in ("0x", "0X")
    factor = 1 if is_hex else SUFFIXES.get(word[-1].upper(), 1)
    digits = word[2:] if is_hex else word[:-1] if factor > 1 else word
    allowed = "0123456789abcdefABCDEF" if is_hex else "0123456789"
    if not digits or any(digit not in allowed for digit in digits):
        raise ExpressionError(
            column, f"{word[:SHOWN_CHARS]!r} is no number; expected 12, 0x1f, 4K or 2M"
        )
    value = int(digits, 16 if is_hex else 10) * factor
    if value > NUMBER_MAX:
        raise ExpressionError(column, f"{word[:SHOWN_CHARS]!r} is too large; expected up to 2^64-1")
    return value
