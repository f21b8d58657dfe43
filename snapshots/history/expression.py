"""From typed text to a tree of frozen nodes, and back to text. Never Python's own evaluation.

    or < and < not < == != <  <= >  >= < | < & < << >> < + - < * < -x < x.field x[index]

    chunk[1].free_bytes < 4K     Binary("<", Field(Index(Name chunk, 1), free_bytes), 4096)

A comparison does not chain: `a < b < c` is refused, where C and Python would silently differ. What the names
mean is told in fields.py, and what a tree is worth at a moment in compiled.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, TypeAlias

from snapshots.history.expression_words import (
    END,
    NAME,
    NUMBER,
    OPERATOR,
    TEXT,
    ExpressionError,
    Word,
    words_of,
)

DEPTH_MAX: Final = 40
HEX_FROM: Final = 1 << 16  # such a number is an address more often than a count
INDEXES_MAX: Final = 3
COMPARISONS: Final = ("==", "!=", "<", "<=", ">", ">=")
LEVELS: Final = (("or",), ("and",), COMPARISONS, ("|",), ("&",), ("<<", ">>"), ("+", "-"), ("*",))
"""Binary operators, weakest first; `not` stands between `and` and the comparisons."""
COMPARING: Final = LEVELS.index(COMPARISONS)
NOT_LEVEL: Final = COMPARING
UNARY_LEVEL: Final = len(LEVELS)
KEYWORDS: Final = ("and", "or", "not", "true", "false")
OPERAND: Final = "expected a number, a name, '(', '-' or not"


@dataclass(frozen=True, slots=True)
class Number:
    """A number as typed."""

    value: int
    column: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Flag:
    """true or false."""

    value: bool
    column: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Text:
    """A quoted text."""

    value: str
    column: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Name:
    """A component, a symbol, or as an index what a component calls a part of its own."""

    name: str
    column: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Field:
    """A field of something; column is that of the field's name."""

    base: Node
    name: str
    column: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Index:
    """A part of a component, by number, name or address."""

    base: Node
    indexes: tuple[Node, ...]
    column: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Unary:
    """`-` or `not` of something."""

    operator: str
    operand: Node
    column: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Binary:
    """Two things and what stands between them; column is the operator's."""

    operator: str
    left: Node
    right: Node
    column: int = field(default=0, compare=False)


Node: TypeAlias = Number | Flag | Text | Name | Field | Index | Unary | Binary


def parse(text: str) -> Node:
    """Return the tree of an expression. Raises ExpressionError, naming the column."""
    parser = _Parser(words_of(text))
    tree = parser.binary(0)
    if parser.word.kind != END:
        raise parser.unexpected("expected an operator or the end")
    return tree


def text_of(tree: Node) -> str:
    """Return an expression with no more parentheses than it needs; parse() of it gives the same tree."""
    return _text(tree, 0)


class _Parser:
    """Recursive descent over the words; word is the next one to be taken."""

    def __init__(self, words: list[Word]) -> None:
        self.words = words
        self.at = 0
        self.depth = 0

    @property
    def word(self) -> Word:
        """The word that comes next."""
        return self.words[self.at]

    def unexpected(self, expected: str) -> ExpressionError:
        """Return the error about the next word."""
        return ExpressionError(self.word.column, f"{self.word.shown}: {expected}")

    def is_next(self, *texts: str) -> bool:
        """Say whether one of these operators or words of ours comes next."""
        return self.word.kind in (OPERATOR, NAME) and self.word.text in texts

    def take(self) -> Word:
        """Go on behind the next word and return it."""
        word = self.word
        self.at += 1
        return word

    def expect(self, text: str) -> None:
        """Go on behind an operator. Raises ExpressionError if another word is there."""
        if self.word.kind != OPERATOR or self.word.text != text:
            raise self.unexpected(f"expected {text!r}")
        self.at += 1

    def binary(self, level: int) -> Node:
        """Take operators of a level and all stronger ones."""
        if level == UNARY_LEVEL:
            return self.unary()
        if level == NOT_LEVEL and self.is_next("not"):
            return self.negated(level)
        tree = self.binary(level + 1)
        while self.is_next(*LEVELS[level]):
            word = self.take()
            tree = Binary(word.text, tree, self.binary(level + 1), word.column)
            if level == COMPARING and self.is_next(*COMPARISONS):
                raise self.unexpected(
                    "comparisons do not chain; expected `and` between two of them"
                )
        return tree

    def negated(self, level: int) -> Node:
        """Take `not` and what it negates."""
        word = self.take()
        self.deeper(word)
        tree = Unary("not", self.binary(level), word.column)
        self.depth -= 1
        return tree

    def unary(self) -> Node:
        """Take a sign, or what has none."""
        if not self.is_next("-"):
            return self.part_of(self.atom())
        word = self.take()
        self.deeper(word)
        tree = Unary("-", self.unary(), word.column)
        self.depth -= 1
        return tree

    def part_of(self, tree: Node) -> Node:
        """Take what stands behind: .field and [index], any number of them."""
        parts = 0
        while self.is_next(".", "["):
            word = self.take()
            parts += 1
            if parts > DEPTH_MAX:
                raise ExpressionError(word.column, f"expected at most {DEPTH_MAX} parts of a thing")
            if word.text == ".":
                if self.word.kind != NAME or self.word.text in KEYWORDS:
                    raise self.unexpected("expected a field's name")
                name = self.take()
                tree = Field(tree, name.text, name.column)
            else:
                tree = Index(tree, self.indexes(word), word.column)
        return tree

    def indexes(self, bracket: Word) -> tuple[Node, ...]:
        """Take what is in brackets, the closing one too."""
        self.deeper(bracket)
        found = [self.binary(0)]
        while self.is_next(","):
            comma = self.take()
            if len(found) == INDEXES_MAX:
                raise ExpressionError(comma.column, f"expected at most {INDEXES_MAX} in brackets")
            found.append(self.binary(0))
        self.expect("]")
        self.depth -= 1
        return tuple(found)

    def atom(self) -> Node:
        """Take a number, a text, a name or something in parentheses."""
        word = self.word
        if word.kind == NUMBER:
            return Number(self.take().value, word.column)
        if word.kind == TEXT:
            return Text(self.take().text, word.column)
        if self.is_next("true", "false"):
            return Flag(self.take().text == "true", word.column)
        if word.kind == NAME and word.text not in KEYWORDS:
            return Name(self.take().text, word.column)
        if not self.is_next("("):
            raise self.unexpected(OPERAND)
        self.deeper(self.take())
        tree = self.binary(0)
        self.expect(")")
        self.depth -= 1
        return tree

    def deeper(self, word: Word) -> None:
        """Count one level of nesting. Raises ExpressionError for too many."""
        self.depth += 1
        if self.depth > DEPTH_MAX:
            raise ExpressionError(word.column, f"nested too deep; expected {DEPTH_MAX} levels")


def _text(tree: Node, weakest: int) -> str:
    """Return a tree as text, in parentheses if its operator is weaker than its surroundings want."""
    match tree:
        case Number(value):
            return str(value) if value < HEX_FROM else hex(value)
        case Flag(value):
            return "true" if value else "false"
        case Text(value):
            quote = "'" if '"' in value else '"'
            return f"{quote}{value}{quote}"
        case Name(name):
            return name
        case Field(base, name):
            return f"{_text(base, UNARY_LEVEL + 1)}.{name}"
        case Index(base, indexes):
            inside = ", ".join(_text(index, 0) for index in indexes)
            return f"{_text(base, UNARY_LEVEL + 1)}[{inside}]"
        case Unary("not", operand):
            return _wrapped(f"not {_text(operand, NOT_LEVEL)}", NOT_LEVEL, weakest)
        case Unary(operator, operand):
            return _wrapped(f"{operator}{_text(operand, UNARY_LEVEL)}", UNARY_LEVEL, weakest)
        case Binary(operator, left, right):
            level = next(n for n, operators in enumerate(LEVELS) if operator in operators)
            # Comparisons do not chain, so that both sides of one must be stronger.
            left_text = _text(left, level + 1 if level == COMPARING else level)
            text = f"{left_text} {operator} {_text(right, level + 1)}"
            return _wrapped(text, level, weakest)


def _wrapped(text: str, level: int, weakest: int) -> str:
    return f"({text})" if level < weakest else text
